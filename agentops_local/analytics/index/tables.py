"""The tables of the index. Times are in microseconds since 1970 UTC, amounts in 1e-12 US dollars, as in schema.sql."""

from __future__ import annotations

VERSION = 1  # raised with every change below, also of what is counted: an index of another version is made anew
SLOT = 900_000_000  # microseconds: a quarter of an hour, of which the days of every time zone are made

TABLES = f"""
-- 'version'; 'generation' and 'restored_us' of the database that it is of; 'seq', the last event counted, and 'event',
-- its id; 'revision', the last change of stored events that was followed; 'text_seq', the last whose words
-- are known.
CREATE TABLE idx.marks (key TEXT PRIMARY KEY, value ANY) WITHOUT ROWID;

-- What events are called: kind and, of an LLM call its provider and model, of others their name ('' for none).
CREATE TABLE idx.names (
    id       INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    provider TEXT NOT NULL,
    name     TEXT NOT NULL,
    UNIQUE (kind, provider, name)
);

-- The hosts of the processes that recorded; '' where it was not recorded.
CREATE TABLE idx.hosts (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- Events of a session that began in the same slot of time, of the same agent, host and name, summed up. A cell whose
-- sums would not fit into 64 bits goes on in the next `part`.
CREATE TABLE idx.cells (
    session INTEGER NOT NULL,              -- sessions.seq
    slot    INTEGER NOT NULL,              -- init_us // {SLOT}
    agent   INTEGER NOT NULL,              -- agents.seq; 0: none
    host    INTEGER NOT NULL,
    what    INTEGER NOT NULL,              -- names.id
    part    INTEGER NOT NULL,
    events  INTEGER NOT NULL,
    calls   INTEGER NOT NULL,              -- of LLMs
    errors  INTEGER NOT NULL,
    failed  INTEGER NOT NULL,              -- of which an error says that they failed
    us      INTEGER NOT NULL,              -- of those that have an end
    longest_us INTEGER,                    -- the longest of them, NULL: none,
    longest INTEGER,                       -- and which it is: events.seq
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost_pusd INTEGER NOT NULL,            -- of the priced LLM calls
    unpriced INTEGER NOT NULL,             -- the others
    first_us INTEGER NOT NULL,             -- when the first of them began, and the last
    last_us INTEGER NOT NULL,
    times   BLOB NOT NULL,                 -- how long each took, coded (see codes.py)
    PRIMARY KEY (session, slot, agent, host, what, part)
) WITHOUT ROWID;
CREATE INDEX idx.cells_by_slot ON cells (slot);

-- The same over all events by one thing at a time: 'session', 'slot', 'agent', 'host', 'what'. Made of the cells, for
-- questions that are asked of everything. What does not fit into 64 bits is text.
CREATE TABLE idx.sums (
    dimension TEXT NOT NULL,
    key     INTEGER NOT NULL,
    events, calls, errors, failed, us, prompt_tokens, completion_tokens, cache_read_tokens, cache_write_tokens,
    reasoning_tokens, cost_pusd, unpriced,
    PRIMARY KEY (dimension, key)
) WITHOUT ROWID;

-- How many events of a name took how long.
CREATE TABLE idx.spread (
    what   INTEGER NOT NULL,
    code   INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (what, code)
) WITHOUT ROWID;

-- Errors whose failed event was not stored yet.
CREATE TABLE idx.orphans (
    session INTEGER NOT NULL,
    error   INTEGER NOT NULL,              -- events.seq of the error
    failed  BLOB NOT NULL,                 -- events.id of what failed
    PRIMARY KEY (session, error)
) WITHOUT ROWID;

-- Errors that are alike, by what stays the same from one to the next (see fingerprint.py).
CREATE TABLE idx.fingerprints (
    id   INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    error_type TEXT NOT NULL,
    code TEXT,
    text TEXT NOT NULL                     -- what stays the same of their words
);
CREATE TABLE idx.faults (
    seq INTEGER PRIMARY KEY,               -- events.seq of the error
    session INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    agent INTEGER NOT NULL,
    host INTEGER NOT NULL,
    at_us INTEGER NOT NULL
);
CREATE INDEX idx.faults_by_fingerprint ON faults (fingerprint, at_us);
CREATE INDEX idx.faults_by_session ON faults (session);

-- Which calls have which prompt and answer, by their last message: a message occurs in every call that has it, or one
-- that follows it.
CREATE TABLE idx.calls (message INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (message, seq)) WITHOUT ROWID;

-- In which event a message came up first.
CREATE TABLE idx.places (message INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
"""

# Which three characters in a row stand in which message, and in which event; not the words themselves: what is found is
# looked at in the database.
TEXTS = tuple(
    f"CREATE VIRTUAL TABLE idx.{name} USING fts5 (text, content = '', detail = none, tokenize = 'trigram')"
    for name in ("message_words", "event_words")
)
