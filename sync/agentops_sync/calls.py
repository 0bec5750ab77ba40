"""Requests on behalf of a session, and what follows when one of them fails that may be repeated."""

from __future__ import annotations

from agentops_sync.authority import Authority
from agentops_sync.client import JSON, Outcome, Request, Transport, Verdict
from agentops_sync.deliveries import Deliveries, Delivery, seconds_us
from agentops_sync.host import Host
from agentops_sync.timing import Clock, Timing
from agentops_sync.tokens import Tokens
from agentops_sync.wire import encode


class Calls:
    """A server, and the tokens it has given out."""

    def __init__(self, transport: Transport, host: Host, deliveries: Deliveries, timing: Timing, clock: Clock) -> None:
        self._transport = transport
        self._host = host
        self._deliveries = deliveries
        self._timing = timing
        self._clock = clock
        self._tokens = Tokens()

    def send(self, request: Request) -> Outcome:
        """Makes one attempt, and notes whether the server can be reached."""
        outcome = self._transport.send(request)
        self._host.note(outcome, self._clock.now())
        return outcome

    def post(self, path: str, token: str, body: object) -> Outcome:
        """A request of a session."""
        return self.send(Request(path, token=token, body=encode(body)))

    def get(self, delivery: Delivery, authority: Authority, what: str) -> dict[str, JSON] | None:
        """The `export` or the `stats` of a session; None if it did not come, which is noted."""
        outcome = self.send(Request(f"/v2/sessions/{delivery.id}/{what}", key=authority.key))
        if outcome.verdict is Verdict.OK and isinstance(outcome.body, dict):
            if what == "stats" and "session_id" not in outcome.body:
                self._deliveries.without_stats(delivery)
            return outcome.body
        self.failed(delivery, authority, outcome)
        if says(outcome, "does not belong to this project"):  # has it been deleted there? Only a new token tells
            self.drop_token(delivery)
            self.token(delivery, authority)
        return None

    # Tokens -----------------------------------------------------------------------------------------------------------

    def token(self, delivery: Delivery, authority: Authority) -> str | None:
        """The session's token, renewed if need be; None if there is none, which is noted."""
        token = self._tokens.get(delivery.id, self._clock.now())
        if token is not None:
            return token
        outcome = self.reauthorize(delivery, authority)
        token = self.keep_token(delivery, authority, outcome)
        if token is None and says(outcome, "Invalid Session Id"):
            reason = "deleted on the server, or it belongs to another project"
            self._deliveries.park(delivery, reason, str(outcome), self._clock.now())
        elif token is None:
            self.failed(delivery, authority, outcome)
        return token

    def reauthorize(self, delivery: Delivery, authority: Authority) -> Outcome:
        """Asks for a token: the one request that tells whether the session is there."""
        return self.send(Request("/v2/reauthorize_jwt", key=authority.key, body=encode({"session_id": delivery.id})))

    def keep_token(self, delivery: Delivery, authority: Authority, outcome: Outcome) -> str | None:
        """Keeps the token that came with an answer; None if none did."""
        token = self._tokens.put(delivery.id, outcome, self._clock.now())
        if token is not None:
            self._host.unpark_key(authority.key_name)
        return token

    def drop_token(self, delivery: Delivery) -> None:
        """The next request asks for another."""
        self._tokens.drop(delivery.id, self._clock.now())

    # Failures ---------------------------------------------------------------------------------------------------------

    def failed(self, delivery: Delivery, authority: Authority, outcome: Outcome) -> bool:
        """A request that may be repeated did not succeed. Returns whether to do that now."""
        now = self._clock.now()
        if outcome.verdict is Verdict.EXPIRED:
            return self.expired(delivery, outcome)
        if says(outcome, "Invalid API Key") or says(outcome, "Invalid API key format"):
            self._host.park_key(authority.key_name, outcome.words.strip(), now)
            until_us = now.wall_us + seconds_us(self._timing.key)
            self._deliveries.hold(delivery, until_us, unknown_key(authority.key_name))
        elif outcome.verdict not in (Verdict.NOT_SENT, Verdict.SLOW_DOWN):
            if outcome.status == 500:
                self.drop_token(delivery)
            self._deliveries.fail(delivery, str(outcome), now)
        return False

    def expired(self, delivery: Delivery, outcome: Outcome) -> bool:
        """The server does not take the token any more: another, at once, unless this one was new."""
        now = self._clock.now()
        if self._tokens.drop(delivery.id, now):
            return True
        self._deliveries.fail(delivery, str(outcome), now)
        return False


def says(outcome: Outcome, words: str) -> bool:
    """Whether the server refused a request with these words."""
    return outcome.verdict is Verdict.ANSWERED and outcome.status == 400 and words in outcome.words


def unknown_key(name: str) -> str:
    """Why sessions wait whose key the server does not know."""
    return f"the server does not know the API key {name}…"
