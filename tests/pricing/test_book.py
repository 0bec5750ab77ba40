"""The price book: filled by those who read, used by those who record, the same for all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agentops_local.event import LLMEvent
from agentops_local.pricing.access import opened
from agentops_local.pricing.catch_up import catch_up
from agentops_local.pricing.overrides import WrongPrices, load
from agentops_local.pricing.reprice import Reprice
from tests.analytics.recording import Book, book
from tests.cli.calling import execute

__all__ = ["book"]

ROWS = "SELECT cost_pusd, cost_source, price FROM events WHERE kind = 'llms' ORDER BY seq"


def call(model: str = "gpt-4o", provider: str | None = "openai", **more: object) -> LLMEvent:
    """A call of 1,000 tokens in and 100 out."""
    return LLMEvent(model=model, provider=provider, prompt_tokens=1000, completion_tokens=100, **more)  # type: ignore[arg-type]


def price(book: Book) -> None:
    """Prices what is not priced."""
    with opened(book.path) as access:
        catch_up(access)


def override(book: Book, text: str) -> None:
    """Writes prices.toml."""
    book.path.with_name("prices.toml").write_text(text)


def test_known_models_are_priced_as_they_are_recorded(book: Book) -> None:
    """A model that the book knows is priced at its insert, without genai-prices; one that it does not know is priced
    when somebody asks, and then counts as known; what was reported stays."""
    state = book.session()
    book.add(state, call())
    book.add(state, call(cost=1))
    book.add(state, call("unheard of"))
    assert book.rows(ROWS) == [(None, None, None), (10**12, "reported", None), (None, None, None)]
    price(book)
    assert book.rows(ROWS) == [(3_500_000_000, "priced", 1), (10**12, "reported", None), (None, None, 2)]
    book.close()
    book.recorder._book.__init__()  # type: ignore[misc]
    book.add(state, call())
    assert book.rows(ROWS)[-1] == (3_500_000_000, "priced", 1)
    assert book.rows("SELECT rates FROM prices WHERE id = 2") == [(None,)]


def test_the_users_prices_come_first(book: Book) -> None:
    """A price of the user's holds for what is priced from then on, and after reprice for all; what was reported stays;
    a model that shares the price of another has it."""
    state = book.session()
    book.add(state, call())
    price(book)
    override(book, '[[price]]\nmodel = "gpt-4o"\ninput = 1\noutput = "2"\n[[price]]\nmodel = "x"\nsame_as = "gpt-4o"\n')
    book.add(state, call("x", None))
    book.add(state, call(cost=1))
    price(book)
    assert book.rows(ROWS)[:2] == [(3_500_000_000, "priced", 1), (1_200_000_000, "overridden", 2)]
    dry = execute("reprice", "--dry-run", "--json").json
    assert book.rows(ROWS)[0] == (3_500_000_000, "priced", 1)
    assert execute("reprice", "--json").json == dry
    assert [row[:2] for row in book.rows(ROWS)] == [
        (1_200_000_000, "overridden"), (1_200_000_000, "overridden"), (10**12, "reported"),
    ]  # fmt: skip
    assert [(one["model"], one["before"], one["after"]) for one in dry] == [
        ("x", 0.0012, 0.0012),
        ("gpt-4o", 0.0035, 0.0012),
    ]


def test_without_genai_prices(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without genai-prices a model is not noted as unknown: installing it later is enough."""
    book.add(book.session(), call())
    monkeypatch.setattr("agentops_local.pricing.lookup.installed", lambda: None)
    price(book)
    assert book.rows("SELECT count(*) FROM prices") == [(0,)]
    monkeypatch.undo()
    price(book)
    assert book.rows(ROWS) == [(3_500_000_000, "priced", 1)]


@pytest.mark.parametrize(
    "text", ["[[price]]\nmodel = 1", "x", "[price]\nmodel = 'm'", "[[price]]\nmodel = 'm'\ninput = -1", "a = 1",
             "[[price]]\nmodel = 'm'", "[[price]]\nmodel='m'\ninput=1\nsound=2"],
)  # fmt: skip
def test_a_wrong_file(book: Book, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Prices that cannot be understood are told of with their place; the program goes on, and nothing new is priced."""
    book.add(book.session(), call())
    override(book, text)
    with pytest.raises(WrongPrices, match=r"prices\.toml"):
        load(book.path)
    price(book)
    assert book.rows(ROWS) == [(None, None, None)]
    with opened(book.path) as access, pytest.raises(WrongPrices):
        Reprice(access).run()
    assert execute("stats").code == 0


def test_recording_loads_no_price_list(project: Path) -> None:
    """A program that records, and reads no cost, never imports genai-prices."""
    import subprocess

    code = (
        "import sys; from pathlib import Path; from agentops_local.recorder.recorder import Recorder\n"
        "from agentops_local.recorder.state import SessionState; from agentops_local.event import LLMEvent\n"
        "r = Recorder(Path('a.db')); s = SessionState('0190a000-0000-7000-8000-0000000000a1'); r.start(s)\n"
        "assert r.record(s, LLMEvent(model='gpt-4o', prompt_tokens=1), None, None)\n"
        "assert not {'genai_prices', 'pydantic', 'tomllib'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=project).returncode == 0
