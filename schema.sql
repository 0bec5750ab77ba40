-- agentops_local: the database of a project, version 1
--
-- One file, .agentops/agentops.db, in WAL mode. This page is the only truth about its tables and views; open the file
-- with any SQLite tool and read along. Three rules hold everywhere:
--
--   * A time is an INTEGER of microseconds since 1970-01-01 UTC and its column ends in _us. The views give ISO 8601.
--   * An amount of money is an INTEGER of 1e-12 US dollars and its column ends in _pusd, so that sums are exact.
--     The views give dollars.
--   * A payload (params, returns, logs, ...) is strict JSON. It stands as TEXT; when it holds a string of 2 kB or more
--     it is a BLOB instead: a recipe, namely a JSON array in which a text stands for itself and a number names the row
--     of `blobs` to put there. The view `payloads` and all views below give payloads back whole.
--
-- Who writes what: the recorder inside the user's processes writes everything up to `losses`, one transaction an event;
-- who judges a run writes `scores`; agentops-sync alone writes the tables under Upload. Nothing but `agentops-local rm`, `prune` and `erase` ever
-- deletes a row of an event or a session, or changes a text in one. Where they delete the row with the highest number
-- or revision of a table, they put an empty row with the next number there, so that a number never means two things:
-- a session whose id is '' with its owner, agent and event, a message without parent and hash, a blob with an empty
-- hash. A number that is gone stays gone: who still holds it meets a foreign key that fails, not another row. The views
-- pass over the empty rows; who reads the tables does so with `WHERE id <> ''` on sessions.

-- What this file is -------------------------------------------------------------------------------------------------

-- Facts about the file itself: 'generation' (a random id made with the file), 'created_us', 'created_by'; 'erasing'
-- while rm, prune or erase is at work, or was cut short; 'scrubbing' while a pattern is being taken out, or that was cut
-- short; 'rewrite_due' while gaps in pages may hold traces of what was erased; 'restored_us', when it was restored from
-- a backup, with 'restored_seq', the last event that it held then; 'salvaged NAME', a JSON object, of each damaged file
-- whose rows were put here: what was found in it, and what is lost.
CREATE TABLE about (
    key   TEXT PRIMARY KEY,
    value ANY
) WITHOUT ROWID;

-- Sessions, the processes that made them, their agents ----------------------------------------------------------------

-- Long strings by content (BLAKE2b, 16 bytes), each once: images, tool outputs, system prompts. `text` is the JSON
-- string literal, quotes and escapes included.
CREATE TABLE blobs (
    id   INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    text TEXT NOT NULL
);

-- Host environments by content: what stays the same from run to run (host, OS, CPU, packages) is stored once.
CREATE TABLE environments (
    id          INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    host_env    TEXT NOT NULL              -- JSON in the classic shape, without the values of the moment
);

-- One run. `revision` is raised, over the whole table, by every change: a reader that remembers the highest revision
-- it has seen finds what changed since by the index alone.
CREATE TABLE sessions (
    seq              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE, -- UUID
    revision         INTEGER NOT NULL UNIQUE,
    init_us          INTEGER NOT NULL,
    end_us           INTEGER,              -- NULL: not ended by anybody
    auto_ended       INTEGER NOT NULL DEFAULT 0, -- 1: ended by the exit of its last process, not by the program
    end_state        TEXT NOT NULL DEFAULT 'Indeterminate' CHECK (end_state IN ('Success', 'Fail', 'Indeterminate')),
    end_state_reason TEXT,
    tags             TEXT NOT NULL DEFAULT '[]', -- JSON array of text
    video            TEXT,
    environment      INTEGER REFERENCES environments (id),
    moment           TEXT,                 -- JSON: the values of the moment (load, free memory), merged over host_env
    key_hash         TEXT,                 -- names the API key it will be uploaded under; the key itself is never here
    parent_key_hash  TEXT,
    joined           INTEGER NOT NULL DEFAULT 0 -- 1: begun in another database, and joined here by its inherited id
);

-- Which process contributed to which session, from when to when. A process that dies without a word leaves `end_us`
-- NULL; that it is dead shows by its pid, start token and boot.
CREATE TABLE owners (
    seq      INTEGER PRIMARY KEY,
    session  INTEGER NOT NULL REFERENCES sessions (seq),
    pid      INTEGER NOT NULL,
    started  TEXT NOT NULL,                -- start token of the process, so that a reused pid is noticed
    boot     TEXT NOT NULL,                -- boot of the machine (and pid namespace)
    host     TEXT,                         -- NULL when the environment is opted out
    program  TEXT,
    start_us INTEGER NOT NULL,
    end_us   INTEGER,                      -- when the process said goodbye
    exit     TEXT                          -- 'end' (normal), 'error' (uncaught exception)
);
CREATE INDEX owners_by_session ON owners (session);

-- Agents of a session. The first one of each session is its default agent.
CREATE TABLE agents (
    seq      INTEGER PRIMARY KEY,
    session  INTEGER NOT NULL REFERENCES sessions (seq),
    id       TEXT NOT NULL,                -- UUID
    name     TEXT NOT NULL,
    revision INTEGER NOT NULL UNIQUE,      -- as in sessions
    UNIQUE (session, id)
);

-- Prompts: a tree of prefixes -------------------------------------------------------------------------------------------

-- One chat message, after all the messages on the way to its root. A prompt is its last node, so a conversation of n
-- turns stores n messages and not n squared, and a system prompt shared by all runs stands once. A completion is the
-- child of its prompt, which is where the next prompt of the conversation finds it.
--
-- A node that continues its parent at once has id = parent + 1 and needs no hash: it is found by its number. Only roots
-- and branches are found by content, through the partial index, which therefore stays small and is rarely written.
CREATE TABLE messages (
    id      INTEGER PRIMARY KEY,
    parent  INTEGER REFERENCES messages (id), -- a lower number; NULL: the first message of a prompt
    hash    BLOB,                             -- BLAKE2b, 16 bytes, of content; NULL where id = parent + 1
    content NOT NULL                          -- a payload: TEXT, or BLOB (recipe)
);
CREATE UNIQUE INDEX messages_by_content ON messages (parent, hash) WHERE hash IS NOT NULL;

-- Prices and budgets ------------------------------------------------------------------------------------------------------

-- The price book: what was looked up once for a model, so that no later process need look it up again. A row is never
-- changed: what turns out to be wrong gets `ended_us`, and a new row, so that every amount goes on to name its price.
CREATE TABLE prices (
    id        INTEGER PRIMARY KEY,
    provider  TEXT NOT NULL,               -- as in events; '': none was named
    model     TEXT NOT NULL,               -- as in events
    from_us   INTEGER NOT NULL,            -- it holds for calls that began at this time or later,
    until_us  INTEGER,                     -- and before this one; NULL: no end is known
    rates     TEXT,                        -- JSON, US dollars for a million tokens of each kind; NULL: no price is known
    kind      TEXT NOT NULL CHECK (kind IN ('priced', 'overridden')),
    source    TEXT NOT NULL,               -- where it is from: 'genai-prices 0.2.3 openai/gpt-4o', 'prices.toml'
    looked_us INTEGER NOT NULL,            -- when it was looked up
    ended_us  INTEGER                      -- when another row took its place
);
CREATE INDEX prices_by_model ON prices (model, provider) WHERE ended_us IS NULL;

-- Limits that hold for every process of this database.
CREATE TABLE budgets (
    scope    TEXT PRIMARY KEY,             -- 'project', 'day' (of UTC), or the id of a session
    pusd     INTEGER NOT NULL CHECK (pusd >= 0),
    unpriced TEXT NOT NULL CHECK (unpriced IN ('refuse', 'allow')), -- what becomes of calls whose price is not known
    set_us   INTEGER NOT NULL
) WITHOUT ROWID;

-- What has been spent in the scope of a budget, as far as the events up to `seq` go. A cache: it is made anew when it
-- is gone.
CREATE TABLE spending (
    scope TEXT PRIMARY KEY,                -- 'project', a day ('2026-01-31'), or the id of a session
    pusd  INTEGER NOT NULL,
    seq   INTEGER NOT NULL
) WITHOUT ROWID;

-- Calls under way that a budget was asked for: what each may cost at most, as far as one can tell beforehand.
CREATE TABLE reservations (
    id      INTEGER PRIMARY KEY,
    session TEXT,                          -- its id; NULL: the call is made without one
    pid     INTEGER NOT NULL,              -- of the process that makes the call, as in owners
    started TEXT NOT NULL,
    boot    TEXT NOT NULL,
    host    TEXT,
    at_us   INTEGER NOT NULL,
    pusd    INTEGER NOT NULL
);

-- Events ------------------------------------------------------------------------------------------------------------------

-- `seq` is the order of commits: SQLite has one writer at a time, so a reader that has seen n has seen all before it.
-- Token counts are those of the provider: prompt_tokens is the whole input, of which cache_read_tokens and
-- cache_write_tokens are parts; completion_tokens is the whole output, of which reasoning_tokens are a part.
CREATE TABLE events (
    seq               INTEGER PRIMARY KEY,
    session           INTEGER NOT NULL REFERENCES sessions (seq),
    id                BLOB NOT NULL,       -- UUID, 16 bytes
    kind              TEXT NOT NULL,       -- llms, tools, actions, errors, apis
    owner             INTEGER NOT NULL REFERENCES owners (seq),
    agent             INTEGER REFERENCES agents (seq),
    parent            BLOB,                -- UUID of the event in the course of which it happened
    init_us           INTEGER NOT NULL,    -- errors: unique in the session, a tie moves by 1 µs
    end_us            INTEGER,
    name              TEXT,                -- tools: name; actions: action_type; errors: error_type
    params            ,                    -- payload
    returns           ,                    -- payload
    logs              ,                    -- payload
    -- llms
    provider          TEXT,                -- who answered, by the name that OpenTelemetry gives it: openai, anthropic, ...
    model             TEXT,
    prompt            INTEGER REFERENCES messages (id), -- the last message; NULL for no prompt and for []
    prompt_form       INTEGER,             -- 0: list of messages, 1: the one value itself; NULL: no prompt
    completion        INTEGER REFERENCES messages (id),
    completion_form   INTEGER,             -- 1: the value itself; 2: the text of an assistant's message
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    cache_read_tokens INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens  INTEGER,
    cost_pusd         INTEGER,             -- NULL: unpriced
    cost_source       TEXT,                -- 'reported' by the program or the provider, 'priced', 'overridden'; NULL: unpriced
    price             INTEGER REFERENCES prices (id), -- what it was priced by, where it was not reported
    thread_id         TEXT,
    -- actions
    screenshot        ,                    -- payload: a JSON string, URL or base64
    -- errors
    code              TEXT,
    details           ,                    -- payload
    trigger_id        BLOB,                -- UUID of the event that failed
    trigger_kind      TEXT,
    extra             TEXT,                -- JSON object: what has no column of its own
    UNIQUE (session, id)
);
CREATE INDEX errors_by_time ON events (session, init_us) WHERE kind = 'errors';

-- Sessions of which stored events have changed: a cost was set, or events were erased. Who keeps sums or words of events
-- elsewhere, as the index beside this file does, makes those of the session anew.
CREATE TABLE changes (
    session  INTEGER PRIMARY KEY,          -- its seq, also of one that is gone
    revision INTEGER NOT NULL UNIQUE       -- raised over the whole table by every change
);

-- Losses: events that could not be stored although record() was called (disk full, ...), exactly counted.
CREATE TABLE losses (
    id     INTEGER PRIMARY KEY,
    at_us  INTEGER NOT NULL,
    pid    INTEGER NOT NULL,
    events INTEGER NOT NULL,
    reason TEXT NOT NULL
);

-- Scores and notes --------------------------------------------------------------------------------------------------------

-- What people, and programs that judge, say of a session or of one of its events. Of one name an author says one thing of
-- each: what he says later takes its place. Notes are those with the name 'note', of which there may be many. They stay
-- on this machine: agentops-sync does not send them.
CREATE TABLE scores (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL REFERENCES sessions (seq),
    event   BLOB,                          -- UUID of an event of the session, 16 bytes; NULL: the session itself
    name    TEXT NOT NULL,                 -- what is judged: 'helpful', 'thumb'; 'note'
    kind    TEXT NOT NULL CHECK (kind IN ('thumb', 'number', 'text')),
    number  REAL,                          -- thumb: 1 up, 0 down; NULL for a text
    text    TEXT,                          -- of a text, what it says; else a remark on it
    author  TEXT,                          -- NULL: nobody was named
    at_us   INTEGER NOT NULL               -- when it was said
);
CREATE INDEX scores_by_session ON scores (session, name);

-- Upload ----------------------------------------------------------------------------------------------------------------

-- The ledger of agentops-sync, which alone writes these tables, in transactions that survive a power cut. What is to be
-- sent is written down before the first byte leaves, and what was sent only after the server's clean answer or a look
-- at what it holds. `agentops-sync status` says it in words.

-- The servers that this database is uploaded to. Each has a ledger of its own.
CREATE TABLE targets (
    id             INTEGER PRIMARY KEY,
    url            TEXT NOT NULL UNIQUE,        -- the endpoint, without /v2
    taken_seq      INTEGER NOT NULL DEFAULT 0,  -- every event up to this one has its row in `uploads`
    taken_revision INTEGER NOT NULL DEFAULT 0,  -- every session up to this revision has its row in `deliveries`
    taken_agent    INTEGER NOT NULL DEFAULT 0,  -- every agent up to this revision has its row in `agent_deliveries`
    accepted       INTEGER NOT NULL DEFAULT 0,  -- requests that it answered with success
    progress_us    INTEGER,                     -- when it did so last
    looked_us      INTEGER,                     -- when the daemon last found nothing that could be sent
    retry_us       INTEGER NOT NULL DEFAULT 0,  -- nothing is sent before: it could not be reached, or asked to wait
    failures       INTEGER NOT NULL DEFAULT 0,  -- in a row
    last_error     TEXT,
    last_error_us  INTEGER
);

-- A session at a target.
CREATE TABLE deliveries (
    target        INTEGER NOT NULL REFERENCES targets (id),
    session       INTEGER NOT NULL REFERENCES sessions (seq),
    state         TEXT NOT NULL DEFAULT 'absent'
                  CHECK (state IN ('absent', 'creating', 'present', 'conflict', 'parked')),
    reason        TEXT,                        -- why it is in conflict, parked or withheld
    rounds        INTEGER NOT NULL DEFAULT 0,  -- creations that the server answered and after which it was not there
    since_us      INTEGER,                     -- when the first of them was
    accepted      INTEGER,                     -- `targets.accepted` of that moment
    sent_us       INTEGER,                     -- when a creation was sent of which nothing was heard
    sent_mono_us  INTEGER,                     -- the same by a clock that is never set, valid within one boot
    boot          TEXT,
    revision_sent INTEGER NOT NULL DEFAULT 0,  -- of its row
    created       INTEGER NOT NULL DEFAULT 0,  -- 1: this machine created it there
    found         INTEGER NOT NULL DEFAULT 0,  -- 1: it was there before anything was sent from here: look first
    ended_sent    INTEGER NOT NULL DEFAULT 0,  -- 1: its end was sent
    work          INTEGER NOT NULL DEFAULT 1,  -- 1: there may be something to send
    retry_us      INTEGER NOT NULL DEFAULT 0,  -- nothing before
    next_us       INTEGER NOT NULL DEFAULT 0,  -- nothing of what is known before; new rows end this wait
    failures      INTEGER NOT NULL DEFAULT 0,  -- in a row
    no_stats      INTEGER NOT NULL DEFAULT 0,  -- 1: the server keeps no statistics of it
    last_error    TEXT,
    last_error_us INTEGER,
    PRIMARY KEY (target, session)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (target, max(retry_us, next_us)) WHERE work;
CREATE INDEX deliveries_running ON deliveries (target, session) WHERE NOT ended_sent;

-- An agent at a target.
CREATE TABLE agent_deliveries (
    target        INTEGER NOT NULL REFERENCES targets (id),
    agent         INTEGER NOT NULL REFERENCES agents (seq),
    session       INTEGER NOT NULL REFERENCES sessions (seq),
    id            TEXT NOT NULL,               -- there: its own, unless an earlier session uses that as well
    revision_sent INTEGER NOT NULL DEFAULT 0,
    retry_us      INTEGER NOT NULL DEFAULT 0,  -- not before
    failures      INTEGER NOT NULL DEFAULT 0,  -- in a row
    PRIMARY KEY (target, agent)
) WITHOUT ROWID;
CREATE INDEX agent_deliveries_by_session ON agent_deliveries (target, session);
CREATE INDEX agent_deliveries_by_id ON agent_deliveries (target, id);

-- Requests with events: written before the first byte is sent, and kept, for they tell what left this machine, when,
-- where to and under which policy (see the view `egress`).
CREATE TABLE batches (
    id            INTEGER PRIMARY KEY,
    target        INTEGER NOT NULL REFERENCES targets (id),
    session       INTEGER NOT NULL REFERENCES sessions (seq),
    kind          TEXT NOT NULL,               -- llms, tools, actions, errors: one kind a request
    policy        TEXT NOT NULL,               -- full, masked, metadata
    events        TEXT NOT NULL,               -- JSON array: seq of each event
    bytes         INTEGER NOT NULL,
    sent_us       INTEGER NOT NULL,
    sent_mono_us  INTEGER NOT NULL,
    boot          TEXT NOT NULL,
    errors_before INTEGER,                     -- what the server had counted just before; NULL: not asked
    state         TEXT NOT NULL DEFAULT 'sent' -- sent; ok: accepted; void: certainly not; settled: looked up on the server
                  CHECK (state IN ('sent', 'ok', 'void', 'settled')),
    keys          TEXT,                        -- errors: JSON array, a digest of each as it was sent: they have no id there
    manner        TEXT,                        -- of a refusal, HTTP status and SQLSTATE: the server is done with it
    outcome       TEXT,                        -- what came back, in words
    done_us       INTEGER
);
CREATE INDEX batches_open ON batches (target, session) WHERE state = 'sent';
CREATE INDEX batches_by_session ON batches (session, kind);
CREATE INDEX batches_accepted ON batches (target, kind, done_us) WHERE state = 'ok';

-- An event at a target.
CREATE TABLE uploads (
    target  INTEGER NOT NULL REFERENCES targets (id),
    event   INTEGER NOT NULL REFERENCES events (seq),
    session INTEGER NOT NULL REFERENCES sessions (seq),
    kind    TEXT NOT NULL,                     -- llms, tools, actions, errors: the table it goes to
    state   TEXT NOT NULL DEFAULT 'pending'
            CHECK (state IN ('pending', 'flying', 'done', 'uncertain', 'dead')),
    batch   INTEGER REFERENCES batches (id),   -- the last
    PRIMARY KEY (target, event)
) WITHOUT ROWID;
CREATE INDEX uploads_unsent ON uploads (target, session, kind, event) WHERE state = 'pending';

-- Events that did not arrive with their first batch.
CREATE TABLE attempts (
    target   INTEGER NOT NULL REFERENCES targets (id),
    event    INTEGER NOT NULL REFERENCES events (seq),
    tries    INTEGER NOT NULL DEFAULT 0,       -- batches after which it was not there
    most     INTEGER NOT NULL DEFAULT 25,      -- with at most so many events, itself included, it is sent again
    alone    INTEGER NOT NULL DEFAULT 0,       -- times in a row that it was refused, alone, in the same way
    manner   TEXT,                             -- which way: HTTP status and SQLSTATE
    words    TEXT,                             -- the server's
    first_us INTEGER,                          -- when it was first refused so
    accepted INTEGER,                          -- `targets.accepted` of that moment
    retry_us INTEGER NOT NULL DEFAULT 0,       -- not before
    PRIMARY KEY (target, event)
) WITHOUT ROWID;

-- Events that are not sent again, with the reason and the server's words. `agentops-sync requeue` sends them again.
CREATE TABLE dead_letters (
    target INTEGER NOT NULL REFERENCES targets (id),
    event  INTEGER NOT NULL REFERENCES events (seq),
    at_us  INTEGER NOT NULL,
    reason TEXT NOT NULL,
    words  TEXT NOT NULL,
    PRIMARY KEY (target, event)
) WITHOUT ROWID;

-- What waits as a whole: a kind of event that the server cannot take at all (tried again with one event a day), or the
-- sessions under a key that it does not know (tried again every hour).
CREATE TABLE parked (
    target   INTEGER NOT NULL REFERENCES targets (id),
    what     TEXT NOT NULL CHECK (what IN ('kind', 'key')),
    name     TEXT NOT NULL,                    -- the kind; the key's hash
    since_us INTEGER NOT NULL,
    retry_us INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (target, what, name)
) WITHOUT ROWID;

-- Collector ---------------------------------------------------------------------------------------------------------------

-- What `agentops-local keys` writes and `agentops-local serve` reads. A project of the collector has a database of its
-- own, projects/ID.db beside this one, in this same schema; the one whose id is this file's generation is this database
-- itself. Its sessions and events are written by the collector, for clients elsewhere: their owner has the pid 0.
CREATE TABLE projects (
    id         TEXT PRIMARY KEY,           -- UUID
    name       TEXT NOT NULL UNIQUE,
    created_us INTEGER NOT NULL
);

-- API keys, by their hash: the key itself was shown once and is nowhere. While there is no row at all, any key will do,
-- from this machine only.
CREATE TABLE api_keys (
    hash       BLOB PRIMARY KEY,           -- SHA-256 of the key as 32 hexadecimal digits in lower case
    prefix     TEXT NOT NULL,              -- the first 8 of these digits, to tell keys apart
    project    TEXT NOT NULL REFERENCES projects (id),
    created_us INTEGER NOT NULL,
    revoked_us INTEGER                     -- NULL: it may be used
);

-- Views -------------------------------------------------------------------------------------------------------------------

-- Every message with its text whole.
CREATE VIEW message_texts AS
SELECT m.id, m.parent,
       CASE typeof(m.content) WHEN 'blob' THEN
           (SELECT group_concat(CASE p.type WHEN 'integer' THEN (SELECT b.text FROM blobs b WHERE b.id = p.value)
                                ELSE p.value END, '') FROM json_each(CAST(m.content AS TEXT)) p)
       ELSE m.content END AS text
FROM messages m WHERE m.parent IS NOT NULL OR m.hash IS NOT NULL;

-- Every event with its ids as text, its times in ISO 8601 and its payloads as whole JSON.
CREATE VIEW payloads AS
SELECT e.seq,
       lower(substr(hex(e.id), 1, 8) || '-' || substr(hex(e.id), 9, 4) || '-' || substr(hex(e.id), 13, 4) || '-'
             || substr(hex(e.id), 17, 4) || '-' || substr(hex(e.id), 21)) AS id,
       s.id AS session_id,
       e.session, e.kind, e.owner, e.name,
       (SELECT a.id FROM agents a WHERE a.seq = e.agent) AS agent_id,
       (SELECT a.name FROM agents a WHERE a.seq = e.agent) AS agent_name,
       CASE WHEN e.parent IS NOT NULL THEN
           lower(substr(hex(e.parent), 1, 8) || '-' || substr(hex(e.parent), 9, 4) || '-' || substr(hex(e.parent), 13, 4)
                 || '-' || substr(hex(e.parent), 17, 4) || '-' || substr(hex(e.parent), 21)) END AS parent_id,
       strftime('%Y-%m-%dT%H:%M:%S', e.init_us / 1000000, 'unixepoch')
           || printf('.%06d+00:00', e.init_us % 1000000) AS init_timestamp,
       strftime('%Y-%m-%dT%H:%M:%S', e.end_us / 1000000, 'unixepoch')
           || printf('.%06d+00:00', e.end_us % 1000000) AS end_timestamp,
       e.init_us, e.end_us,
       CASE typeof(e.params) WHEN 'blob' THEN
           (SELECT group_concat(CASE p.type WHEN 'integer' THEN (SELECT b.text FROM blobs b WHERE b.id = p.value)
                                ELSE p.value END, '') FROM json_each(CAST(e.params AS TEXT)) p)
       ELSE e.params END AS params,
       CASE typeof(e.returns) WHEN 'blob' THEN
           (SELECT group_concat(CASE p.type WHEN 'integer' THEN (SELECT b.text FROM blobs b WHERE b.id = p.value)
                                ELSE p.value END, '') FROM json_each(CAST(e.returns AS TEXT)) p)
       ELSE e.returns END AS returns,
       CASE typeof(e.logs) WHEN 'blob' THEN
           (SELECT group_concat(CASE p.type WHEN 'integer' THEN (SELECT b.text FROM blobs b WHERE b.id = p.value)
                                ELSE p.value END, '') FROM json_each(CAST(e.logs AS TEXT)) p)
       ELSE e.logs END AS logs,
       CASE typeof(e.screenshot) WHEN 'blob' THEN
           (SELECT group_concat(CASE p.type WHEN 'integer' THEN (SELECT b.text FROM blobs b WHERE b.id = p.value)
                                ELSE p.value END, '') FROM json_each(CAST(e.screenshot AS TEXT)) p)
       ELSE e.screenshot END AS screenshot,
       CASE typeof(e.details) WHEN 'blob' THEN
           (SELECT group_concat(CASE p.type WHEN 'integer' THEN (SELECT b.text FROM blobs b WHERE b.id = p.value)
                                ELSE p.value END, '') FROM json_each(CAST(e.details AS TEXT)) p)
       ELSE e.details END AS details,
       e.provider, e.model, e.prompt, e.prompt_form, e.completion, e.completion_form, e.prompt_tokens, e.completion_tokens,
       e.cache_read_tokens, e.cache_write_tokens, e.reasoning_tokens, e.cost_pusd, e.cost_source, e.price,
       e.thread_id,
       e.code, e.trigger_kind,
       CASE WHEN e.trigger_id IS NOT NULL THEN
           lower(substr(hex(e.trigger_id), 1, 8) || '-' || substr(hex(e.trigger_id), 9, 4) || '-'
                 || substr(hex(e.trigger_id), 13, 4) || '-' || substr(hex(e.trigger_id), 17, 4) || '-'
                 || substr(hex(e.trigger_id), 21)) END AS trigger_id,
       e.extra
FROM events e JOIN sessions s ON s.seq = e.session WHERE s.id <> '';

-- LLM calls. `prompt` and `completion` are whole: text where the program gave text, else JSON (a list of messages, a
-- message). So are params and returns. `cost` is in US dollars, NULL when the call is unpriced. The way to the root goes
-- to ever lower numbers only: a damaged row that named itself would send a reader round for ever.
CREATE VIEW llms AS
SELECT id, session_id, agent_id, thread_id,
       CASE prompt_form
           WHEN 0 THEN '[' || coalesce((
               WITH RECURSIVE path (id, depth) AS (
                   SELECT prompt, 0
                   UNION ALL
                   SELECT m.parent, depth + 1 FROM path JOIN messages m ON m.id = path.id WHERE m.parent < m.id)
               SELECT group_concat(text, ',') FROM (
                   SELECT t.text FROM path JOIN message_texts t ON t.id = path.id ORDER BY path.depth DESC)), '') || ']'
           WHEN 1 THEN (SELECT CASE json_type(t.text) WHEN 'text' THEN json_extract(t.text, '$') ELSE t.text END
                        FROM message_texts t WHERE t.id = prompt)
       END AS prompt,
       CASE completion_form
           WHEN 1 THEN (SELECT CASE json_type(t.text) WHEN 'text' THEN json_extract(t.text, '$') ELSE t.text END
                        FROM message_texts t WHERE t.id = completion)
           WHEN 2 THEN (SELECT json_extract(t.text, '$.content') FROM message_texts t WHERE t.id = completion)
       END AS completion,
       model, prompt_tokens, completion_tokens, cost_pusd / 1e12 AS cost,
       CASE json_type(params) WHEN 'text' THEN json_extract(params, '$') ELSE params END AS params,
       CASE json_type(returns) WHEN 'text' THEN json_extract(returns, '$') ELSE returns END AS returns,
       init_timestamp, end_timestamp,
       seq, provider, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_source,
       (SELECT p.source FROM prices p WHERE p.id = price) AS price_source, parent_id, agent_name, extra
FROM payloads WHERE kind = 'llms';

-- Tool calls.
CREATE VIEW tools AS
SELECT id, session_id, agent_id, name,
       CASE json_type(logs) WHEN 'text' THEN json_extract(logs, '$') ELSE logs END AS logs,
       CASE json_type(params) WHEN 'text' THEN json_extract(params, '$') ELSE params END AS params,
       CASE json_type(returns) WHEN 'text' THEN json_extract(returns, '$') ELSE returns END AS returns,
       init_timestamp, end_timestamp, seq, parent_id, agent_name, extra
FROM payloads WHERE kind = 'tools';

-- Actions, and with them API calls and every other kind, as on the server; `kind` tells them apart.
CREATE VIEW actions AS
SELECT id, session_id, agent_id, name AS action_type,
       CASE json_type(logs) WHEN 'text' THEN json_extract(logs, '$') ELSE logs END AS logs,
       json_extract(screenshot, '$') AS screenshot,
       CASE json_type(params) WHEN 'text' THEN json_extract(params, '$') ELSE params END AS params,
       CASE json_type(returns) WHEN 'text' THEN json_extract(returns, '$') ELSE returns END AS returns,
       init_timestamp, end_timestamp, seq, parent_id, agent_name, kind, extra
FROM payloads WHERE kind NOT IN ('llms', 'tools', 'errors');

-- Errors. `trigger_event_id` is the event that failed, if it is known.
CREATE VIEW errors AS
SELECT id, session_id, trigger_id AS trigger_event_id, trigger_kind AS trigger_event_type, name AS error_type, code,
       CASE json_type(details) WHEN 'text' THEN json_extract(details, '$') ELSE details END AS details,
       CASE json_type(logs) WHEN 'text' THEN json_extract(logs, '$') ELSE logs END AS logs,
       init_timestamp AS timestamp, seq, agent_id, agent_name, parent_id,
       CASE json_type(params) WHEN 'text' THEN json_extract(params, '$') ELSE params END AS params,
       CASE json_type(returns) WHEN 'text' THEN json_extract(returns, '$') ELSE returns END AS returns,
       end_timestamp, extra
FROM payloads WHERE kind = 'errors';

-- One row a session. `events` counts every event; `actions` counts actions alone, `apis` API calls. `cost` is in US
-- dollars over the priced calls and `unpriced` counts the others. `duration_s` runs to the end of the session or, where
-- nobody ended it, to the last that was seen of it.
CREATE VIEW session_stats AS
SELECT s.id AS session_id,
       count(e.seq) AS events,
       count(CASE e.kind WHEN 'llms' THEN 1 END) AS llms,
       count(CASE e.kind WHEN 'tools' THEN 1 END) AS tools,
       count(CASE e.kind WHEN 'actions' THEN 1 END) AS actions,
       count(CASE e.kind WHEN 'errors' THEN 1 END) AS errors,
       coalesce(sum(e.prompt_tokens), 0) AS prompt_tokens,
       coalesce(sum(e.completion_tokens), 0) AS completion_tokens,
       coalesce(sum(e.cost_pusd), 0) / 1e12 AS cost,
       (coalesce(s.end_us, max(coalesce(e.end_us, e.init_us)), s.init_us) - s.init_us) / 1e6 AS duration_s,
       count(CASE e.kind WHEN 'apis' THEN 1 END) AS apis,
       count(CASE WHEN e.kind = 'llms' AND e.cost_pusd IS NULL THEN 1 END) AS unpriced,
       s.seq
FROM sessions s LEFT JOIN events e ON e.session = s.seq
WHERE s.id <> ''
GROUP BY s.seq, s.id;

-- Scores and notes. `value` is that of a thumb (1 up, 0 down), a number or a text; `remark` was said beside it.
CREATE VIEW scored AS
SELECT s.id AS session_id,
       CASE WHEN x.event IS NOT NULL THEN
           lower(substr(hex(x.event), 1, 8) || '-' || substr(hex(x.event), 9, 4) || '-' || substr(hex(x.event), 13, 4)
                 || '-' || substr(hex(x.event), 17, 4) || '-' || substr(hex(x.event), 21)) END AS event_id,
       x.name, x.kind,
       CASE x.kind WHEN 'text' THEN x.text ELSE x.number END AS value,
       CASE WHEN x.kind <> 'text' THEN x.text END AS remark,
       x.author,
       strftime('%Y-%m-%dT%H:%M:%S', x.at_us / 1000000, 'unixepoch')
           || printf('.%06d+00:00', x.at_us % 1000000) AS timestamp,
       x.id AS seq
FROM scores x JOIN sessions s ON s.seq = x.session WHERE s.id <> '';

-- What left this machine: one row for each time that an event was sent.
CREATE VIEW egress AS
SELECT strftime('%Y-%m-%dT%H:%M:%S', b.sent_us / 1000000, 'unixepoch')
           || printf('.%06d+00:00', b.sent_us % 1000000) AS sent,
       t.url AS target, b.policy, s.id AS session_id, b.kind,
       lower(substr(hex(e.id), 1, 8) || '-' || substr(hex(e.id), 9, 4) || '-' || substr(hex(e.id), 13, 4) || '-'
             || substr(hex(e.id), 17, 4) || '-' || substr(hex(e.id), 21)) AS event_id,
       u.state, b.outcome, b.id AS batch, e.seq
FROM batches b JOIN targets t ON t.id = b.target JOIN sessions s ON s.seq = b.session
     JOIN json_each(b.events) sent JOIN events e ON e.seq = sent.value
     JOIN uploads u ON u.target = b.target AND u.event = e.seq
WHERE b.state <> 'void';
