"""Runs of invented agents, event by event, as rows of the tables: conversations that grow, tools, failures.

Rows only: `benchmarks.million` writes them. The numbers of messages and blobs and what they are found by follow the
recorder's rules (`agentops_local.recorder.prompts.grow`), with its own functions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from agentops_local.recorder.payload import LONG, Recipe, cut
from agentops_local.recorder.prompts import Node
from benchmarks.common import Row
from benchmarks.speech import Speech, Times

COLUMNS = (
    "seq", "session", "id", "kind", "owner", "agent", "parent", "init_us", "end_us", "name", "params", "returns",
    "logs", "provider", "model", "prompt", "prompt_form", "completion", "completion_form", "prompt_tokens",
    "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_pusd", "cost_source",
    "thread_id", "screenshot", "code", "details", "trigger_id", "trigger_kind",
)  # fmt: skip
KINDS = ("llms", "tools", "actions", "apis", "errors")
SHARES = (0.45, 0.80, 0.92, 0.97, 1.0)  # cumulative

# Model, provider, and 1e-12 dollars for a token in, cached and out; whether it thinks aloud. The last has no price.
MODELS = (
    ("gpt-4o", "openai", (2_500_000, 1_250_000, 10_000_000), False),
    ("gpt-4o-mini", "openai", (150_000, 75_000, 600_000), False),
    ("o4-mini", "openai", (1_100_000, 275_000, 4_400_000), True),
    ("claude-sonnet-4-5", "anthropic", (3_000_000, 300_000, 15_000_000), True),
    ("gemini-2.5-flash", "gcp.gen_ai", (300_000, 75_000, 2_500_000), False),
    ("house-model-8b", "ollama", None, False),
)
# Tool, the median of its seconds, and how far they spread.
TOOLS = (
    ("search_flights", 0.9, 0.6), ("get_reservation", 0.06, 0.5), ("web_search", 1.6, 0.8), ("read_file", 0.004, 0.7),
    ("write_file", 0.007, 0.7), ("run_python", 2.5, 1.3), ("query_database", 0.12, 1.1), ("send_email", 0.4, 0.4),
    ("calculate", 0.0006, 0.4), ("fetch_page", 1.1, 0.9), ("transcribe", 9.0, 0.5), ("calendar", 0.25, 0.5),
)  # fmt: skip
AGENTS = ("Default Agent", "planner", "researcher", "coder", "reviewer", "booking clerk", "critic", "summariser")
ACTIONS = ("plan", "decide", "delegate", "summarise", "click", "publish")
APIS = ("GET /v1/orders", "POST /v1/orders", "GET /v1/customers", "PUT /v1/cart", "GET /v2/rates", "POST /hooks")

_SHORT = LONG // 4  # characters; fewer are fewer bytes than what is stored by content
_TURNS = 30  # after which, at the latest, a conversation begins anew
_NONE = (None,) * 14  # the columns of an LLM call
_TAIL = (None,) * 5  # and those after them


class Tree:
    """Messages and long texts, numbered as the recorder does.

    Args:
        message, blob: the highest numbers so far.
        roots, blobs: what is there already, by hash.

    Attributes:
        messages, texts: new rows of `messages` and `blobs`.
    """

    def __init__(self, message: int, blob: int, roots: dict[bytes, int], blobs: dict[bytes, int]) -> None:
        self.messages: list[Row] = []
        self.texts: list[Row] = []
        self._top, self._last_blob = message, blob
        self._roots, self._blobs = roots, blobs

    def payload(self, text: str) -> str | bytes:
        """JSON as a column holds it."""
        return text if len(text) < _SHORT else self._stored(cut(text.encode()))

    def _stored(self, content: str | Recipe) -> str | bytes:
        if isinstance(content, str):
            return content
        recipe: list[str | int] = []
        for piece in content.pieces:
            if isinstance(piece, str):
                recipe.append(piece)
                continue
            number = self._blobs.get(piece.hash)
            if number is None:
                number = self._blobs[piece.hash] = self._last_blob = self._last_blob + 1
                self.texts.append((number, *piece))
            recipe.append(number)
        return json.dumps(recipe).encode()  # as `payload.place` does, to the byte

    def say(self, parent: int, text: str) -> int:
        """A message that is unlike any other, after its parent."""
        chained = parent == self._top
        return self._add(parent, None if chained else Node(text.encode(), text).hash(), text)

    def root(self, text: str) -> int:
        """A first message; there may be one like it."""
        hash_ = Node(text.encode(), text).hash()
        number = self._roots.get(hash_)
        if number is None:
            number = self._roots[hash_] = self._add(None, hash_, text)
        return number

    def _add(self, parent: int | None, hash_: bytes | None, text: str) -> int:
        self._top += 1
        self.messages.append((self._top, parent, hash_, self.payload(text)))
        return self._top


@dataclass
class Conversation:
    """Where a conversation is: its last message, how long it is, what the tools have said since."""

    node: int
    size: int
    left: int  # turns
    heard: list[str] = field(default_factory=list)
    cached: int = 0  # tokens of the last prompt
    thread: str | None = None


@dataclass
class Run:
    """A session under way: it makes its events one by one.

    Args:
        session, owners, agents: the rows it stands on; of the agents, the names too.
        language: of what is said.
        model: the one that its agents use most.
        left: events still to come.
        now: microseconds; each event begins after the one before.
    """

    speech: Speech
    times: Times
    tree: Tree
    session: int
    owners: list[int]
    agents: list[tuple[int, str]]
    language: str
    model: int
    left: int
    now: int
    talks: dict[int, Conversation] = field(default_factory=dict)
    action: bytes | None = None
    last: tuple[bytes, str] | None = None

    def step(self, seq: int) -> Row:
        """The next event."""
        random = self.speech.random
        chance = random.random()
        kind = 0
        while chance >= SHARES[kind]:
            kind += 1
        if kind == 4 and self.last is None:
            kind = 0  # nothing has happened yet that could have failed
        agents = self.agents
        place = int(random.random() ** 2 * len(agents))
        begun = self.now
        id_ = _id(begun, random.getrandbits(74))
        owner = self.owners[place % len(self.owners)]
        parent = self.action if kind < 2 and chance * 100 % 1 < 0.2 else None
        us, rest = _MAKERS[kind](self, place)
        self.now = begun + us + self.times.us(0.3, 0.9)
        self.left -= 1
        if kind == 2:
            self.action = id_
        if kind != 4:
            self.last = (id_, KINDS[kind])
        return (seq, self.session, id_, KINDS[kind], owner, agents[place][0], parent, begun, begun + us, *rest)

    # Each gives the microseconds that it took, and the columns from `name` on.

    def _llm(self, place: int) -> tuple[int, Row]:
        speech, tree = self.speech, self.tree
        chance = speech.random.random()
        name, provider, rates, thinks = MODELS[self.model if chance < 0.8 else int(chance * 1000) % len(MODELS)]
        talk = self._prompt(place)
        said = self._answer(chance)
        prompt = talk.node
        node = tree.say(prompt, said)
        tokens_in, tokens_out = talk.size // 4 + 12, len(said) // 4
        reasoning = int(tokens_out * chance * 3) if thinks else None
        tokens_out += reasoning or 0
        cached = talk.cached if rates is not None else None
        cost = None
        if rates is not None:
            cost = (tokens_in - talk.cached) * rates[0] + talk.cached * rates[1] + tokens_out * rates[2]
        written = max(0, tokens_in - talk.cached) // 2 if provider == "anthropic" else None
        talk.cached = tokens_in // 128 * 128
        if chance < 0.97:  # else the answer was no good, and the same is asked again
            talk.node = node
            talk.size += len(said)
        return self.times.us(0.4 + 0.012 * tokens_out, 0.5), (
            None, _PARAMS if chance < 0.3 else None, None, None, provider, name, prompt, 0, node,
            1 if said.startswith(_CALLS) else 2, tokens_in, tokens_out, cached, written, reasoning, cost,
            None if cost is None else "reported", talk.thread, *_TAIL,
        )  # fmt: skip

    def _prompt(self, place: int) -> Conversation:
        """The conversation of an agent, with what is new since its last turn."""
        speech, tree = self.speech, self.tree
        talk = self.talks.get(place)
        if talk is None or talk.left == 0:
            system = f'{{"role":"system","content":"{speech.system(self.agents[place][1], self.language)}"}}'
            chance = speech.random.random()
            thread = f"thread-{int(chance * 1e9):09d}" if chance < 0.3 else None
            talk = self.talks[place] = Conversation(
                tree.root(system), len(system), 3 + int(chance * (_TURNS - 3)), thread=thread
            )
        if not talk.heard:
            talk.heard.append(f'{{"role":"user","content":"{speech.text(self.language, 5)}"}}')
        for message in talk.heard:
            talk.node = tree.say(talk.node, message)
            talk.size += min(len(message), LONG)
        talk.heard.clear()
        talk.left -= 1
        return talk

    def _answer(self, chance: float) -> str:
        if chance > 0.6:
            return f'{{"role":"assistant","content":"{self.speech.text(self.language, 8)}"}}'
        tool, query = TOOLS[int(chance / 0.6 * 12)][0], self.speech.text(self.language, 2)
        given = f'{{\\"query\\":\\"{query}\\"}}'
        return f'{_CALLS}"call_{self.now}","function":{{"name":"{tool}","arguments":"{given}"}}}}]}}'

    def _tool(self, place: int) -> tuple[int, Row]:
        speech = self.speech
        chance = speech.random.random()
        name, median, sigma = TOOLS[int(chance * chance * 12)]
        number = speech.random.getrandbits(32)
        params = f'{{"query":"{speech.text(self.language, 1)}","limit":{number % 50},"user":"u{number % 9000}"}}'
        form = number % 100
        if form == 0:
            returns = f'"{speech.long(6 + number % 17)}"'
            heard = returns
        elif form < 30:
            returns = f'"{speech.text(self.language, 7)}"'
            heard = returns
        else:
            items = f'{{"id":"{number:08x}","price":{number % 90000 / 100},"seats":{number % 9},"note":'
            returns = f'{{"status":"ok","items":[{items}"{speech.text("en", 5)}"}}],"more":{number % 3}}}'
            heard = '"' + returns.replace('"', '\\"') + '"'
        talk = self.talks.get(place)
        if talk is not None:
            talk.heard.append(f'{{"role":"tool","tool_call_id":"call_{self.now}","content":{heard}}}')
        payload = self.tree.payload
        return self.times.us(median, sigma), (name, payload(params), payload(returns), None, *_NONE, *_TAIL)

    def _action(self, place: int) -> tuple[int, Row]:
        del place
        speech = self.speech
        chance = speech.random.random()
        name = ACTIONS[int(chance * 6)]
        params = f'{{"goal":"{speech.text(self.language, 2)}","step":{int(chance * 40)}}}'
        returns = f'"{speech.text(self.language, 3)}"'
        logs = f'"{speech.text("en", 2)}"' if chance > 0.9 else None
        shot = f'"https://shots.example.net/{int(chance * 1e12)}.png"' if name == "click" else None
        payload = self.tree.payload
        rest = (name, payload(params), payload(returns), logs, *_NONE, shot, *_TAIL[1:])
        return self.times.us(0.02, 1.0), rest

    def _api(self, place: int) -> tuple[int, Row]:
        del place
        chance = self.speech.random.random()
        params = f'{{"url":"https://api.example.net/{int(chance * 1e6)}","headers":{{"accept":"application/json"}}}}'
        returns = f'{{"status":{200 if chance < 0.95 else 503},"body":"{self.speech.text("en", 3)}"}}'
        rest = (APIS[int(chance * 6)], params, self.tree.payload(returns), None, *_NONE, *_TAIL)
        return self.times.us(0.15, 0.8), rest

    def _error(self, place: int) -> tuple[int, Row]:
        del place
        kind, words = self.speech.failure()
        trigger = self.last or (None, None)
        self.last = None  # an event fails once
        logs = self.tree.payload(f'"{self.speech.traceback(kind, words)}"')
        return 0, (kind.error_type, None, None, logs, *_NONE, None, kind.code, f'"{words}"', *trigger)


_PARAMS = '{"temperature":0.2,"max_tokens":1024}'
_CALLS = '{"role":"assistant","content":null,"tool_calls":[{"type":"function","id":'
_MAKERS = (Run._llm, Run._tool, Run._action, Run._api, Run._error)


def _id(us: int, chance: int) -> bytes:
    """A UUID version 7 of this time, with 74 bits of chance, as `agentops_local.clock` makes them."""
    high, low = chance >> 62, chance & 0x3FFF_FFFF_FFFF_FFFF
    return (us // 1000 << 80 | 0x7 << 76 | high << 64 | 0x2 << 62 | low).to_bytes(16, "big")
