from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops_local.errors import AgentOpsLocalError
from agentops_sync.policy import POLICIES, Policies, Policy, WrongPolicy

ID = "2b4ef3a1-6c5e-4a52-8a0f-0d9a3c7f1e11"
HASH = "0123456789abcdef"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The path of a database that need not be there."""
    return tmp_path / "agentops.db"


def load(database: Path, text: str | None = None, environment: str | None = None) -> Policies:
    """The policies of a file with this text, and of the environment."""
    if text is not None:
        database.with_name("sync.toml").write_text(text, encoding="utf-8")
    return Policies.load(database, {} if environment is None else {"AGENTOPS_LOCAL_UPLOAD": environment})


def name(policies: Policies, id: str = ID, tags: tuple[str, ...] = (), key_hash: str | None = None) -> str:
    """The policy of a session."""
    return policies.for_session(id, tags, key_hash).name


def test_without_a_file_everything_travels(database: Path) -> None:
    """A project that says nothing uploads everything."""
    assert name(load(database)) == "full"
    assert name(load(database, "")) == "full"
    assert name(load(database, "[upload]\n")) == "full"


@pytest.mark.parametrize("policy", POLICIES)
def test_the_project_has_a_policy(database: Path, policy: str) -> None:
    """The policy of the project holds for every session that no rule matches; "never" alone forbids all."""
    found = load(database, f'[upload]\npolicy = "{policy}"').for_session(ID, ["x"], HASH)
    assert (found.name, found.uploads) == (policy, policy != "never")


def test_a_session_is_chosen_by_tag_id_or_key(database: Path) -> None:
    """A rule matches the sessions with its tag, its id in any spelling, or a key whose hash begins so."""
    policies = load(
        database,
        f"""
        [upload]
        [[upload.rule]]
        tag = "private"
        policy = "never"
        [[upload.rule]]
        session = "{ID.upper()}"
        policy = "metadata"
        [[upload.rule]]
        key = "01234567"
        policy = "masked"
        """,
    )
    other = str(uuid4())
    assert name(policies, other) == "full"
    assert name(policies, other, ("a", "private")) == "never"
    assert name(policies, other, ("privately",)) == "full"
    assert name(policies, ID) == "metadata"
    assert name(policies, other, (), HASH) == "masked"
    assert name(policies, other, (), "1" + HASH[1:]) == "full"
    assert name(policies, ID, (), HASH) == "metadata"
    assert name(policies, ID, ("private",), HASH) == "never"


def test_every_criterion_of_a_rule_must_be_met(database: Path) -> None:
    """A rule with two criteria matches where both do."""
    policies = load(database, '[[upload.rule]]\ntag = "a"\nkey = "01234567"\npolicy = "never"')
    assert name(policies, tags=("a",), key_hash=HASH) == "never"
    assert name(policies, tags=("a",)) == name(policies, key_hash=HASH) == "full"


def test_a_rule_may_open_what_is_closed(database: Path) -> None:
    """Where the project uploads nothing, a rule lets the sessions through that it names, and no other."""
    policies = load(database, '[upload]\npolicy = "never"\n[[upload.rule]]\ntag = "share"\npolicy = "full"')
    assert name(policies, tags=("share",)) == "full"
    assert name(policies) == "never"


@given(
    default=st.sampled_from(POLICIES), environment=st.one_of(st.none(), st.sampled_from(POLICIES)),
    rules=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(POLICIES)), max_size=4),
    tags=st.lists(st.sampled_from("abc"), unique=True),
)  # fmt: skip
def test_the_strictest_wins(
    tmp_path_factory: pytest.TempPathFactory, default: str, environment: str | None,
    rules: list[tuple[str, str]], tags: list[str],
) -> None:  # fmt: skip
    """Of the rules that match the strictest holds, and nothing is looser than the environment."""
    text = f'[upload]\npolicy = "{default}"\n'
    text += "".join(f'[[upload.rule]]\ntag = "{tag}"\npolicy = "{policy}"\n' for tag, policy in rules)
    got = name(load(tmp_path_factory.mktemp("policy") / "agentops.db", text, environment), tags=tuple(tags))
    matching = [policy for tag, policy in rules if tag in tags]
    assert POLICIES.index(got) == max(map(POLICIES.index, [environment or "full", *(matching or [default])]))


def test_masked_redacts_as_init_does(database: Path) -> None:
    """Under "masked" the rules are those that init(redact=...) takes, and patterns after the word regex."""
    secret = "sk-" + "a1" * 16
    assert load(database, '[upload]\npolicy = "masked"').for_session(ID, [], None).payload(secret) == "[redacted]"
    text = '[upload]\npolicy = "masked"\nredact = ["customer", \'regex CUST-\\d+\']'
    policy = load(database, text).for_session(ID, [], None)
    assert policy.payload({"customer": "x", "text": f"CUST-12 {secret}"}) == {
        "customer": "[redacted]",
        "text": f"[redacted] {secret}",
    }
    assert policy.label("CUST-1") == "[redacted]"


def test_full_keeps_and_metadata_drops() -> None:
    """A payload travels as it is under "full" and not at all under "metadata", where names do."""
    value = {"a": 1}
    assert Policy("full").payload(value) is value
    assert Policy("metadata").payload(value) is None
    assert Policy("metadata").label("search") == "search"
    assert Policy("masked").payload(value) is None  # rules that were lost must not open the door


BROKEN = {
    "[upload\n": "line 1",
    "[upload]\npolicy = full": "line 2",
    '[upload]\npolicy = "some"': "'some'",
    "[upload]\npolicy = 1": "1",
    '[upload]\npolicies = "full"': "'policies'",
    '[uploads]\npolicy = "never"': "'uploads'",
    "upload = 1": "table",
    '[upload]\nredact = "secrets"': "redact",
    "[upload]\nredact = []": "redact",
    "[upload]\nredact = [[]]": "redact",
    "[upload]\nredact = [1]": "redact",
    "[upload]\nredact = ['regex (']": "redact",
    "[upload]\nredact = ['regex .*']": "redact",
    "[upload]\nredact = [{ pattern = 'x' }]": "redact",
    '[upload.rule]\ntag = "a"\npolicy = "never"': "[[upload.rule]]",
    '[[upload.rule]]\npolicy = "never"': "rule 1",
    '[[upload.rule]]\ntag = "a"': "rule 1",
    '[[upload.rule]]\ntag = "a"\npolicy = "never"\n[[upload.rule]]\ntags = "a"\npolicy = "never"': "rule 2",
    '[[upload.rule]]\ntag = ["a"]\npolicy = "never"': "tag",
    '[[upload.rule]]\ntag = ""\npolicy = "never"': "tag",
    '[[upload.rule]]\nsession = "2b4ef3a1"\npolicy = "never"': "session",
    '[[upload.rule]]\nkey = "2b4e"\npolicy = "never"': "key",
    f'[[upload.rule]]\nkey = "{ID}"\npolicy = "never"': "key",
    '[upload]\nrule = ["a"]': "rule 1",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_slip_in_the_file_is_told(database: Path, text: str) -> None:
    """A file that cannot be understood is an error that names the file and the place: nothing is uploaded by guess."""
    with pytest.raises(WrongPolicy, match=re.escape(BROKEN[text])) as told:
        load(database, text)
    assert "sync.toml" in str(told.value)
    assert isinstance(told.value, AgentOpsLocalError)
    assert ID not in str(told.value)  # it might have been the key


def test_a_file_of_other_bytes_is_told(database: Path) -> None:
    """A file that is no text, or cannot be read, is an error as well, not an absent file."""
    file = database.with_name("sync.toml")
    file.write_bytes(b"[upload]\n# \xff\n")
    with pytest.raises(WrongPolicy, match=r"sync\.toml"):
        load(database)
    file.unlink()
    file.mkdir()
    with pytest.raises(WrongPolicy, match=r"sync\.toml"):
        load(database)


def test_a_slip_in_the_environment_is_told(database: Path) -> None:
    """A word that is no policy is refused in the variable too; an empty variable is none."""
    with pytest.raises(WrongPolicy, match="AGENTOPS_LOCAL_UPLOAD"):
        load(database, environment="nothing")
    assert name(load(database, environment="")) == "full"


def test_an_edit_is_noticed_without_reading(database: Path) -> None:
    """The stamp changes when the file does: when it appears, when it is edited to the same size, when it goes."""
    before = load(database)
    assert before.stamp is None
    after = load(database, '[upload]\npolicy = "full"')
    assert after.stamp == Policies.stamp_of(database) != before.stamp
    file = database.with_name("sync.toml")
    os.utime(file, ns=(1, 1))
    assert Policies.stamp_of(database) != after.stamp
    file.unlink()
    assert Policies.stamp_of(database) is None
