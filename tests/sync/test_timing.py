from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_sync.client import Outcome, Verdict
from agentops_sync.timing import SECOND, Moment, Timing, left_us, pause_us
from agentops_sync.tokens import Tokens
from tests.sync.driving import DAY

ID = "2b4ef3a1-6c5e-4a52-8a0f-0d9a3c7f1e11"
SENT = Moment(1_000 * SECOND, 500 * SECOND, "a boot")


def after(wall: float, mono: float | None = None, boot: str = "a boot") -> Moment:
    """A moment so many seconds after `SENT`."""
    return Moment(
        SENT.wall_us + round(wall * SECOND), SENT.mono_us + round((wall if mono is None else mono) * SECOND), boot
    )


def answer(life: float, server_time: float | None = 0.0, **more: object) -> Outcome:
    """An answer with a token that lives so long by the server's clock."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": life, **more}).encode()).rstrip(b"=").decode()
    return Outcome(Verdict.OK, 200, {"jwt": f"head.{claims}.signature"}, server_time=server_time)


def test_a_wait_is_over_when_its_time_has_passed() -> None:
    """What is left of a wait is what has not passed of it, and never less than nothing."""
    assert left_us(SENT, SENT, 60) == 60 * SECOND
    assert left_us(SENT, after(59), 60) == SECOND
    assert left_us(SENT, after(60), 60) == 0
    assert left_us(SENT, after(3600), 60) == 0


def test_a_clock_set_forwards_shortens_no_wait() -> None:
    """Within one boot the clock that is never set has to have run as well."""
    assert left_us(SENT, after(DAY, mono=10), 60) == 50 * SECOND


def test_another_boot_has_another_clock() -> None:
    """After a restart of the machine only the wall clock can tell."""
    assert left_us(SENT, after(61, mono=-400, boot="the next boot"), 60) == 0
    assert left_us(SENT, after(10, mono=1e6, boot="the next boot"), 60) == 50 * SECOND


def test_a_clock_set_back_tells_nothing() -> None:
    """If the wall clock is behind the moment of sending, the wait has to begin anew."""
    assert left_us(SENT, after(-1, mono=3600), 60) is None


@given(wall=st.floats(-1e6, 1e6), mono=st.floats(0, 1e6), seconds=st.floats(0, 1e4), same=st.booleans())
def test_no_wait_is_shortened(wall: float, mono: float, seconds: float, same: bool) -> None:
    """Whatever is done to the wall clock, within one boot a wait never ends before its time by the other clock."""
    left = left_us(SENT, after(wall, mono, "a boot" if same else "another"), seconds)
    if left is not None and same:
        assert left >= round(seconds * SECOND) - round(mono * SECOND)
    assert left is None or 0 <= left <= round(seconds * SECOND)


@given(failures=st.integers(1, 10_000))
def test_the_pause_is_drawn_below_a_bound_that_doubles(failures: int) -> None:
    """The pause after n failures lies between 0 and backoff * 2^(n-1), and never above the longest."""
    timing = Timing()
    bound = min(timing.longest, timing.backoff * 2.0 ** min(failures - 1, 40))
    assert 0 <= pause_us(failures, timing) <= bound * SECOND


def test_errors_settle_later_than_what_has_an_id() -> None:
    """A wrong guess costs a double where there is no id, so errors wait a quarter of an hour, the rest a minute."""
    timing = Timing()
    assert [timing.settling(kind) for kind in ("llms", "tools", "actions", "errors")] == [60, 60, 60, 900]


# Tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_is_renewed_at_four_fifths_of_its_life() -> None:
    """A token is given out until 80 % of its life have passed."""
    tokens = Tokens()
    assert tokens.put("a", answer(1000), SENT) is not None
    assert tokens.get("a", after(799)) is not None
    assert tokens.get("a", after(800)) is None


def test_the_life_of_a_token_is_told_by_the_server_s_clock() -> None:
    """A local clock that is wrong, or set meanwhile, neither shortens nor lengthens the life of a token."""
    tokens = Tokens()
    tokens.put("a", answer(5_000_000_000 + 1000, server_time=5_000_000_000), SENT)
    assert tokens.get("a", after(1e9, mono=799)) is not None
    assert tokens.get("a", after(-1e2, mono=801)) is None


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.e30.c", "a.bm9wZQ.c", "é.é.é"])
def test_a_token_that_cannot_be_read_lives_a_day(token: str) -> None:
    """A token of a form that we do not know is as good as any, until the server says otherwise."""
    tokens = Tokens()
    got = tokens.put("a", Outcome(Verdict.OK, 200, {"jwt": token}, server_time=1.0), SENT)
    assert got == (token or None)
    assert tokens.get("a", after(0.79 * DAY)) == (token or None)
    assert tokens.get("a", after(0.81 * DAY)) is None


@pytest.mark.parametrize("body", [None, "Success", {}, {"jwt": None}, {"jwt": 5}, ["jwt"]])
def test_an_answer_without_a_token_brings_none(body: object) -> None:
    """Only an answer that holds a token brings one."""
    tokens = Tokens()
    assert tokens.put("a", Outcome(Verdict.OK, 200, body), SENT) is None  # type: ignore[arg-type]  # any JSON at all
    assert tokens.get("a", SENT) is None


def test_a_new_token_that_is_refused_is_not_worth_another_at_once() -> None:
    """Whether a token that was refused was of some age decides whether another is asked for at once."""
    tokens = Tokens()
    tokens.put("a", answer(1000), SENT)
    assert not tokens.drop("a", after(1))
    tokens.put("a", answer(1000), SENT)
    assert tokens.drop("a", after(60))
    assert tokens.get("a", after(60)) is None
