"""The look-alike within a test."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TextIO

from tests.fakes.agentops_api.api import API
from tests.fakes.agentops_api.control import Control
from tests.fakes.agentops_api.faults import fault
from tests.fakes.agentops_api.server import Received, Server
from tests.fakes.agentops_api.settings import Poison, Settings
from tests.fakes.agentops_api.store import Row


class AgentOpsAPI:
    """A running server with two projects; closed at the end of its `with` block."""

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str | None = None,
        other_api_key: str | None = None,
        jwt_secret: str | None = None,
        record: TextIO | None = None,
        **settings: Any,
    ) -> None:
        self.api_key = api_key or str(uuid.uuid4())
        self.other_api_key = other_api_key or str(uuid.uuid4())
        self.api = API(self.api_key, self.other_api_key, jwt_secret=jwt_secret, settings=Settings(**settings))
        self._server = Server(self.api, port=port, record=record)
        self._server.control = Control(self.api, self._server)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> AgentOpsAPI:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    # what goes wrong ------------------------------------------------------------------------------------------------

    def fault(self, name: str, **how: Any) -> None:
        """One more fault for the script, with the fields of `faults.Fault`."""
        self._server.faults.add([fault(name, **how)])

    def faults(self, *described: Any) -> None:
        """More faults for the script: names, or objects as the control route takes them."""
        self._server.faults.add(described)

    def chaos(self, rate: float, *, seed: int = 0, faults: Sequence[Any] = (), reads: bool = False) -> None:
        """Faults at random from now on; a rate of 0 ends it."""
        self._server.faults.chaos(rate, seed=seed, faults=faults, reads=reads)

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self._server.faults.clear()

    def refuse(self, seconds: float | None = None, *, connections: int = 0) -> None:
        """Stop listening for a while or until `listen`; or reset the next connections."""
        self._server.refuse(seconds, connections=connections)

    def listen(self) -> None:
        """Listen again."""
        self._server.listen()

    def poison(self, marker: str, status: int = 500, code: str = "22P02") -> None:
        """From now on the batch of every event that holds this text fails."""
        self.api.poisons.append(Poison(marker, status, code))

    def settle(self) -> None:
        """Wait until every late request is committed."""
        self._server.settle()

    # switches -------------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What may be set while the server runs."""
        return self.api.settings

    @property
    def actions_work(self) -> bool:
        """Whether actions are stored instead of answered 500."""
        return self.settings.actions_work

    @actions_work.setter
    def actions_work(self, value: bool) -> None:
        self.settings.actions_work = value

    @property
    def jwt_secret(self) -> str:
        """What tokens are signed with; setting it makes every token so far one of somebody else."""
        return self.api.jwt_secret

    @jwt_secret.setter
    def jwt_secret(self, value: str) -> None:
        self.api.jwt_secret = value

    def expire_tokens(self) -> None:
        """Every token handed out so far has expired."""
        self.api.expire_tokens()

    def revoke(self, key: str) -> None:
        """An API key is unknown from now on."""
        self.api.revoke(key)

    def rotate(self, key: str) -> str:
        """Another API key for the project of this one, which is unknown from now on."""
        return self.api.rotate(key)

    def restore(self, key: str) -> None:
        """A key that was revoked or rotated is good again."""
        self.api.restore(key)

    def delete_session(self, session: str) -> None:
        """A session is gone with all its rows."""
        self.api.store.delete_session(session)

    def delete_stats_row(self, session: str) -> None:
        """A session is left without stats, as by a server that died while it made the session."""
        self.api.store.stats.pop(session, None)

    # the truth ------------------------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[Received]:
        """Every request so far, in order of arrival."""
        return self._server.requests

    def rows(self, session: str) -> Row:
        """How many rows a session has, and its stats."""
        return self.api.store.counts(session)

    def events(self, session: str, kind: str) -> list[Row]:
        """The stored events of a session, in order of commit; an error stored twice is there twice."""
        with self.api.store.lock:
            return [dict(row) for row in self.api.store.of_session.get((kind, session), ())]

    def session(self, session: str) -> Row | None:
        """A session's row."""
        with self.api.store.lock:
            row = self.api.store.sessions.get(session)
            return None if row is None else dict(row)

    def stats(self, session: str) -> Row | None:
        """A session's stats."""
        stats: Row | None = self.rows(session)["stats"]
        return stats

    def store(self) -> Row:
        """Every row of every table."""
        return self.api.store.dump()
