from __future__ import annotations

import json
import re
import subprocess
import tracemalloc
from contextlib import closing
from hashlib import blake2b
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from agentops_local.analytics import erase as erasing
from agentops_local.analytics.censor import Censor
from agentops_local.analytics.erase import Erased, unfinished
from agentops_local.analytics.index import opened, words
from agentops_local.analytics.reading import reading
from agentops_local.analytics.scrub import NoSuchEvent, Scrubbed, Scrubber, look
from agentops_local.analytics.traces import Change
from agentops_local.errors import WrongUse
from agentops_local.recovery.contents import altered
from tests.analytics.recording import LONG, SECRET, Book, erase, folder_holds, secretive, start

VIEWS = ("llms", "tools", "actions", "errors")


def scrub(book: Book, pattern: str = SECRET, *sessions: str, replacement: str = "[erased]") -> tuple[Scrubbed, Erased]:
    """Scrubs a database, from beginning to end."""
    numbers = frozenset(book.rows("SELECT seq FROM sessions WHERE id = ?", name)[0][0] for name in sessions)
    with closing(Scrubber(book.path)) as scrubber:
        found = scrubber.scrub(Censor(pattern, replacement), numbers or None)
        return found, scrubber.finish()


def told(book: Book) -> str:
    """All that the views tell."""
    return json.dumps([book.rows(f"SELECT * FROM {view} ORDER BY seq") for view in VIEWS])


def sound(book: Book) -> None:
    """The database is sound: every payload is JSON, and every message and blob is found by what it holds."""
    book.check()
    with reading(book.path) as connection:
        assert not altered(connection)
    for (text,) in book.rows("SELECT params FROM payloads UNION ALL SELECT returns FROM payloads UNION ALL "
                             "SELECT logs FROM payloads UNION ALL SELECT details FROM payloads UNION ALL "
                             "SELECT extra FROM payloads UNION ALL SELECT text FROM message_texts UNION ALL "
                             "SELECT tags FROM sessions UNION ALL SELECT moment FROM sessions"):  # fmt: skip
        assert text is None or json.loads(text) is not ...
    for text, found_by in book.rows("SELECT t.text, m.hash FROM messages m JOIN message_texts t USING (id)"):
        assert found_by is None or blake2b(text.encode(), digest_size=16).digest() == found_by
    for text, found_by in book.rows("SELECT text, hash FROM blobs WHERE hash <> x''"):
        assert blake2b(text.encode(), digest_size=16).digest() == found_by


@pytest.mark.parametrize("open_", [False, True])
def test_nothing_of_it_stays_in_any_file(book: Book, open_: bool) -> None:
    """A text that was taken out stands in no file beside the database, and all else is as before, prompts whole."""
    kept = book.session("kept")
    book.llm(kept, "a system prompt", "kept " * 600, completion="kept")
    book.tool(kept, params={"n": 1.50, "text": 'schön \u2028 \\ " kept'}, returns="kept " * 700)
    secretive(book, 20)
    for table, values in (
        ("losses (at_us, pid, events, reason)", (1, 1, 1, SECRET)),
        ("environments (fingerprint, host_env)", ("x", json.dumps({SECRET: [SECRET]}))),
        ("about (key, value)", ("salvaged x", json.dumps([SECRET]))),
    ):
        book.change(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", *values)
    book.change("UPDATE owners SET program = ?", SECRET)
    book.change("UPDATE events SET extra = ?, thread_id = ?, code = ?", json.dumps({SECRET: 1}), SECRET, SECRET)
    before = told(book)
    if not open_:
        book.close()
    with opened(book.path, words.catch_up):
        pass
    assert set(folder_holds(book, SECRET)) >= {"agentops.db", "agentops.db-index"} - (
        {"agentops.db"} if open_ else set()
    )
    found, done = scrub(book)
    assert (done.wal_emptied, done.rewritten) == (True, True)
    assert folder_holds(book, SECRET) == []
    assert told(book) == before.replace(SECRET, "[erased]")
    assert found.sessions == {1, 2}
    sound(book)
    with opened(book.path, words.catch_up):
        pass
    assert folder_holds(book, SECRET) == []
    with reading(book.path) as connection:
        assert unfinished(connection) == set()
        assert connection.execute("SELECT count(*) FROM about WHERE key = 'scrubbing'").fetchone()[0] == 0
        assert [row[0] for row in connection.execute("SELECT session FROM changes ORDER BY 1")] == [1, 2]


def test_a_price_stays_with_its_model(book: Book) -> None:
    """Where two models come to have one name, the price of one does not become that of the other."""
    state = book.session()
    for model in (f"{SECRET}-1", f"{SECRET}-2"):
        book.llm(state, "hello", model=model)
    book.change(
        "INSERT INTO prices (id, provider, model, from_us, rates, kind, source, looked_us) "
        "VALUES (1, '', ?, 0, '{\"input\": 1}', 'overridden', 'prices.toml', 5)", f"{SECRET}-1",
    )  # fmt: skip
    book.change("UPDATE events SET price = 1, cost_pusd = 7, cost_source = 'overridden' WHERE seq = 1")
    scrub(book, rf"{SECRET}-\d")
    assert book.rows("SELECT model, ended_us FROM prices") == [("[erased]", 5)]
    book.recorder.price(state.id)
    assert book.rows("SELECT model, cost_pusd FROM events ORDER BY seq") == [("[erased]", 7), ("[erased]", None)]
    assert folder_holds(book, SECRET) == []


def test_what_is_shared_is_shared_still(book: Book) -> None:
    """Messages that become equal stay two, and are read as before; a text that is no longer long stands in its row."""
    state = book.session()
    for word in ("one", "two", "six"):
        book.llm(state, f"{SECRET}-{word}", "and then", completion=word)
        book.llm(state, "shared", f"{SECRET}-{word} {LONG}", LONG + word, completion=word)
    book.tool(state, params=LONG)
    scrub(book, rf"{SECRET}-\w+")
    prompts = [json.loads(row[0]) for row in book.rows("SELECT prompt FROM llms ORDER BY seq")]
    assert [prompt[0]["content"] for prompt in prompts[::2]] == ["[erased]"] * 3
    assert [prompt[1]["content"] for prompt in prompts[1::2]] == [f"[erased] {LONG}"] * 3
    assert [row[0] for row in book.rows("SELECT completion FROM llms ORDER BY seq")] == [
        "one", "one", "two", "two", "six", "six",
    ]  # fmt: skip
    sound(book)
    scrub(book, rf"({SECRET} )+")
    assert book.rows("SELECT params, typeof(params) FROM events WHERE kind = 'tools'") == [('"[erased]"', "text")]
    assert book.rows("SELECT count(*) FROM blobs WHERE hash <> x''") == [(0,)]
    sound(book)


RECORDER = f"""
import sys
s = ao.init(instrument_llm_calls=False)
turns = [{{"role": "system", "content": "{SECRET} " * 300}}, {{"role": "user", "content": "one {SECRET}"}}]
def call():
    s.record(ao.LLMEvent(prompt=turns, completion="yes {SECRET}"))
    print(len(turns), flush=True)
call()
for line in sys.stdin:
    turns += [{{"role": "assistant", "content": "yes {SECRET}"}}, {{"role": "user", "content": line}}]
    call()
"""


def test_a_process_that_records_on_brings_nothing_back(book: Book) -> None:
    """A process that goes on with a conversation that it remembers, text and all, stores what is new alone: the text
    does not come back, and the prompt is whole with the marker in its place."""
    with start(RECORDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "2\n"
        scrub(book)
        for number in (4, 6):
            program.stdin.write("two\n")
            program.stdin.flush()
            assert program.stdout.readline() == f"{number}\n"
        program.stdin.close()
        assert program.wait(60) == 0
    prompts = [json.loads(row[0]) for row in book.rows("SELECT prompt FROM llms ORDER BY seq")]
    assert [len(prompt) for prompt in prompts] == [2, 4, 6]
    assert prompts[-1][:2] == prompts[0]
    assert prompts[0][1]["content"] == "one [erased]"
    # What was said in between was new to the recorder, but for the first answer, below which it went on.
    assert prompts[1][2]["content"] == "yes [erased]"


def test_a_cut_scrubbing_is_finished_by_the_next(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrubbing that is cut short leaves a sound database that says so; the same again finishes it, and then every
    session counts as changed, for nobody knows to which the first had come."""
    book.llm(book.session("other"), "kept")
    secretive(book, 10)
    book.change("DELETE FROM changes")
    monkeypatch.setattr(erasing, "_BATCH", 0.0)
    turns = []
    real = Scrubber._turn

    def cut(scrubber: Scrubber) -> object:
        turns.append(1)
        if len(turns) == 15:
            raise KeyboardInterrupt
        return real(scrubber)

    with monkeypatch.context() as patch:
        patch.setattr(Scrubber, "_turn", cut)
        with pytest.raises(KeyboardInterrupt):
            scrub(book)
    sound(book)
    with reading(book.path) as connection:
        assert {"erasing", "scrubbing"} <= unfinished(connection)
    assert SECRET in told(book)
    erase(book)  # what `rm` does: it does not know what was to be taken out
    with reading(book.path) as connection:
        assert "scrubbing" in unfinished(connection)
    scrub(book)
    assert folder_holds(book, SECRET) == []
    assert book.rows("SELECT session FROM changes ORDER BY 1") == [(1,), (2,)]
    sound(book)


def test_what_is_recorded_meanwhile_goes_as_well(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process records while the rest is gone through is gone through as well, also what comes when its own table
    is done with."""
    state = book.session(SECRET)
    for number in range(10):
        book.llm(state, LONG, f"{SECRET} {number}")
    monkeypatch.setattr(erasing, "_BATCH", 0.0)
    came: list[str] = []
    real = Scrubber._change

    def change(scrubber: Scrubber, piece: list[Change], *args: Any) -> int:
        for one in piece[:1]:
            if len(came) < 20:
                came.append(one.table)
                book.llm(state, LONG, f"{SECRET} at {one.table}", f"{LONG} {len(came)}")
        return real(scrubber, piece, *args)

    monkeypatch.setattr(Scrubber, "_change", change)
    scrub(book)
    assert {"messages", "events", "sessions"} <= set(came)
    assert len(book.rows("SELECT 1 FROM llms")) == 10 + len(came)
    assert folder_holds(book, SECRET) == []
    sound(book)


def test_of_a_session_alone(book: Book) -> None:
    """Of one session, what stands in other sessions alone stays; what they share with it goes there as well."""
    one, other = book.session("one"), book.session("other")
    for state in (one, other):
        book.llm(state, f"shared {SECRET}", f"{state.tags[0]} {SECRET}")
        book.tool(state, params=SECRET)
    found, _ = scrub(book, SECRET, one.id)
    prompts = [json.loads(row[0]) for row in book.rows("SELECT prompt FROM llms ORDER BY seq")]
    assert [[message["content"] for message in prompt] for prompt in prompts] == [
        ["shared [erased]", "one [erased]"], ["shared [erased]", f"other {SECRET}"],
    ]  # fmt: skip
    assert book.rows("SELECT params FROM tools ORDER BY seq") == [("[erased]",), (SECRET,)]
    assert found.sessions == {1, 2}
    sound(book)


def test_looking_changes_nothing(book: Book) -> None:
    """To look finds the same as to scrub, and writes nothing."""
    secretive(book, 3)
    book.close()
    before = book.rows("SELECT * FROM events"), book.rows("SELECT * FROM messages"), book.rows("SELECT * FROM about")
    seen: list[str] = []
    with reading(book.path) as connection:
        found = look(connection, Censor(SECRET), tell=lambda change: seen.append(change.table))
    assert before == (
        book.rows("SELECT * FROM events"), book.rows("SELECT * FROM messages"), book.rows("SELECT * FROM about")
    )  # fmt: skip
    assert seen.count("events") == 12
    assert found == scrub(book)[0]
    with reading(book.path) as connection:
        assert look(connection, Censor(SECRET)).matches == 0


def test_what_was_uploaded_is_told(book: Book) -> None:
    """What had left this machine before is told: which events, where to, when, and under which policy."""
    secretive(book)
    book.change("INSERT INTO targets (id, url, last_error) VALUES (1, 'http://127.0.0.1:1', ?)", SECRET)
    book.change("INSERT INTO deliveries (target, session, revision_sent, reason) VALUES (1, 1, 1, ?)", SECRET)
    book.change(
        "INSERT INTO batches (id, target, session, kind, policy, events, bytes, sent_us, sent_mono_us, boot, outcome) "
        "VALUES (1, 1, 1, 'tools', 'full', '[2]', 1, 77, 1, 'b', ?)", SECRET,
    )  # fmt: skip
    book.change("INSERT INTO uploads (target, event, session, kind, state, batch) VALUES (1, 2, 1, 'tools', 'done', 1)")
    book.change("INSERT INTO dead_letters (target, event, at_us, reason, words) VALUES (1, 2, 1, ?, ?)", SECRET, SECRET)
    found, _ = scrub(book)
    assert [(one.kind, one.target, one.sent_us, one.policy) for one in found.uploads] == [
        ("tools", "http://127.0.0.1:1", 77, "full"), ("session", "http://127.0.0.1:1", None, None),
    ]  # fmt: skip
    assert folder_holds(book, SECRET) == []
    assert book.rows("SELECT revision FROM sessions")[0][0] > 1  # so that the row is sent anew


def test_an_event_goes(book: Book) -> None:
    """An event that is erased is gone with all that belongs to it alone; its number is never given again."""
    state = book.session()
    book.llm(state, "shared", "kept")
    gone = book.llm(state, "shared", SECRET, LONG)
    with closing(Scrubber(book.path)) as scrubber:
        scrubber.erase_event(gone.id)
        done = scrubber.finish()
    assert (done.events, done.messages, done.blobs) == (1, 3, 1)
    assert folder_holds(book, SECRET) == []
    assert book.rows("SELECT session FROM changes") == [(1,)]
    book.tool(state)
    assert book.rows("SELECT max(seq) > 2 FROM events") == [(1,)]
    assert len(book.rows("SELECT * FROM session_stats")) == 1
    book.check()
    with closing(Scrubber(book.path)) as scrubber, pytest.raises(NoSuchEvent, match=str(UUID(int=7))):
        scrubber.erase_event(UUID(int=7))


@pytest.mark.parametrize(
    ("pattern", "why"),
    [("(", "no regular expression"), ("x*", "empty text"), ("", "empty text"), ("erased", "would take its place")],
)
def test_wrong_patterns(pattern: str, why: str) -> None:
    """A pattern that is none, that matches everything, or what would take its place, is refused."""
    with pytest.raises(WrongUse, match=why):
        Censor(pattern)


@pytest.mark.parametrize(
    ("pattern", "before", "after"),
    [
        ("hunter2", '{"hunter2":["hunter2x",1.50,true]}', '{"[erased]":["[erased]x",1.50,true]}'),
        (r"\d{16}", '{"card":4111111111111111,"n":12}', '{"card":"[erased]","n":12}'),
        ("schön", '["sch\\u00f6n","schön"]', '["[erased]","[erased]"]'),
        ("^a$", '["a","ab",{"a":"b a"}]', '["[erased]","ab",{"[erased]":"b a"}]'),
        ('p"w', r'["{\"key\":\"p\\\"w\"}"]', r'["{\"key\":\"[erased]\"}"]'),
        ("ab", '"aabb"', '"a[erased]b"'),
        ("(?=q)", '"bq"', '"bq"'),
        ("true", "[true,null]", "[true,null]"),
    ],
)
def test_json(pattern: str, before: str, after: str) -> None:
    """A pattern is held against each text and each number as the program gave it; what does not match stays to the
    letter, and JSON stays JSON."""
    scrubbed = Censor(pattern).json(before)
    assert scrubbed == after
    json.loads(scrubbed)


@given(
    st.lists(st.sampled_from(["a", "b", "[^b]", "a+", "(?:ab)?", "1", r"\d", r"\w{2}", ".", '"', r"\b", "$", "(?i:B)"]),
             min_size=1, max_size=4),
    st.recursive(
        st.text("abB1\"\\\n", max_size=6) | st.integers(0, 99), lambda inner: st.lists(inner, max_size=3), max_leaves=8
    ),
)  # fmt: skip
@example(parts=["a", "$"], value="ba")
@example(parts=[r"\b", "a"], value=["a"])
def test_the_short_cut_changes_nothing(parts: list[str], value: object) -> None:
    """Whether a payload need be looked at text by text is told from its JSON, and rightly."""
    pattern, text = "".join(parts), json.dumps(value)
    assume(not re.search(pattern, "") and not re.search(pattern, "Ö"))
    slow = Censor(pattern, "Ö")
    slow._looks_around = True
    assert Censor(pattern, "Ö").json(text) == slow.json(text)


def test_what_replacing_puts_together(book: Book) -> None:
    """No text matches any more when it is scrubbed, whatever the replacement makes of its surroundings."""
    assert re.search("ab", Censor("ab", "").plain("aabb")) is None
    assert re.search(r"a\[", Censor(r"x|a\[").plain("a" + "ax")) is None


def test_memory_is_flat(book: Book) -> None:
    """To look through a database takes memory for a piece of it, not for all that it holds."""
    state = book.session()
    for number in range(60):
        book.tool(state, params=[f"{number} " * 200_000, SECRET])
    book.close()
    assert book.path.stat().st_size > 30 << 20
    with reading(book.path) as connection:
        tracemalloc.start()
        assert look(connection, Censor(SECRET)).matches == 60
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20 << 20
