"""The client: the settings and the live sessions of this process. `Client()` is always the same object, and the only
global state of the SDK."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agentops_local import context, faults
from agentops_local.clock import new_id
from agentops_local.config import SESSION_VARIABLE, Configuration, tag_list
from agentops_local.errors import BudgetExceeded, WrongUse, shown
from agentops_local.event import ErrorEvent, Event
from agentops_local.exits import Exits, remember_ctrl_c, uncaught
from agentops_local.log import logger, set_level
from agentops_local.recorder.recorder import Recorder
from agentops_local.session import Session
from agentops_local.store.location import find_database

if TYPE_CHECKING:
    from decimal import Decimal

    from agentops_local.instrumentation.switch import Switch
    from agentops_local.spending.purse import Purse, Reservation
    from agentops_local.store.database import Database

_MANY = "agentops_local: %d sessions are live, so %s() of the package cannot know which is meant; use the session's own"
_NONE = "agentops_local: there is no session, so %s() does nothing; call init() or start_session() first"

_REMEMBERED = 256  # sessions: a server that begins one for each request must not grow


class Client:
    """The settings and sessions of this process.

    Attributes:
        config: the settings in force.
    """

    _instance: Client | None = None
    _one_at_a_time = threading.RLock()
    config: Configuration

    def __new__(cls) -> Client:  # noqa: D102 - the class docstring says it
        if cls._instance is None:
            with cls._one_at_a_time:  # two threads that begin at once would each make one
                if cls._instance is None:
                    client = super().__new__(cls)
                    client._begin()
                    cls._instance = client
        return cls._instance

    def _begin(self) -> None:
        self.config = Configuration()
        self._sessions: list[Session] = []
        self._known: dict[UUID, None] = {}  # sessions this process has taken part in, the last ones
        self._recorders: dict[tuple[object, ...], Recorder] = {}
        self._initialized = False
        self._all_ended = False
        self._exits = Exits(self._at_exit, self._after_fork)
        self._switch: Switch | None = None
        self._left: set[str] = set()
        self._purses: dict[Database, Purse] = {}

    # Settings -------------------------------------------------------------------------------------------------------

    def configure(self, **settings: Any) -> None:
        """Sets what is given (see `agentops_local.config`); a value that cannot be accepted is refused with a warning
        and nothing changes."""
        try:
            self.config.configure(self, **settings)
        except WrongUse as error:
            logger.warning("agentops_local: %s", error)

    def initialize(
        self, inherited_session_id: str | UUID | None = None, tags: Iterable[str] | str | None = None
    ) -> Session | None:
        """Makes recording possible, and starts a session unless `auto_start_session` is off.

        Called again (a notebook runs its cell again) it returns the session that is live.

        Args:
            inherited_session_id: take part in this session instead, whoever starts it.
            tags: for the new session, beside the default ones.
        """
        set_level()
        self._initialized = True
        self._all_ended = False
        if self.config.instrument_llm_calls:
            self._instrument()
        else:
            self.stop_instrumenting()
        if not self.config.auto_start_session:
            return None
        inherited_session_id = inherited_session_id or os.environ.get(SESSION_VARIABLE) or None
        live = self._live()
        if len(live) == 1 and inherited_session_id is None:
            if tags is not None:
                live[0].add_tags(tags)
            return live[0]
        return self.start_session(tags, inherited_session_id)

    def add_default_tags(self, tags: Iterable[str] | str) -> None:
        """Adds tags that every later session gets."""
        self.configure(default_tags=tags)

    def get_default_tags(self) -> list[str]:
        """The tags that every later session gets."""
        return sorted(self.config.default_tags)

    @property
    def is_initialized(self) -> bool:
        """Whether `init()` has been called."""
        return self._initialized

    @property
    def api_key(self) -> str | None:
        """The API key in force."""
        return self.config.api_key

    @property
    def parent_key(self) -> str | None:
        """The parent key in force."""
        return self.config.parent_key

    @property
    def host_env(self) -> dict[str, Any]:
        """The host environment, as the live session has it."""
        session = self.active_session()
        return {} if session is None else session.host_env

    # Sessions -------------------------------------------------------------------------------------------------------

    def start_session(
        self, tags: Iterable[str] | str | None = None, inherited_session_id: str | UUID | None = None
    ) -> Session | None:
        """Starts a session, or takes part in one.

        Args:
            tags: its tags, beside the default ones.
            inherited_session_id: the id of a session that another process has started, or will.

        Returns:
            The session; None before `init()`, or if the id is no UUID.
        """
        if not self._initialized:
            logger.warning("agentops_local: call init() before start_session()")
            return None
        self._exits.hook()
        with self._one_at_a_time:  # the first events of several threads join a session together, not each on its own
            return self._start(tags, inherited_session_id)

    def _start(self, tags: Iterable[str] | str | None, inherited_session_id: str | UUID | None) -> Session | None:
        try:
            session_id = new_id() if inherited_session_id is None else _session_uuid(inherited_session_id)
            live = self.get_session(session_id)
            given = tag_list(tags)
            if live is not None:  # one session, one object: two of one id would be two sessions to the package
                if given:
                    live.add_tags(given)
                return live
            wanted = list(dict.fromkeys([*sorted(self.config.default_tags), *given]))
            session = Session(
                session_id, self.config, wanted, recorder=self._recorder(), inherited=inherited_session_id is not None
            )
        except WrongUse as error:
            logger.warning("agentops_local: %s", error)
            return None
        except Exception as fault:  # noqa: BLE001 - a border: reported, never raised into the program
            faults.report(fault, "start_session()")
            return None
        self._sessions.append(session)
        self._known[session_id] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._all_ended = False
        return session

    def _recorder(self) -> Recorder:
        """The recorder of the database that the settings name; one for each, shared by its sessions."""
        config = self.config
        path = find_database(config.db)
        key = (path, config.power, id(config.redact) if config.redact is not None else None)
        recorder = self._recorders.get(key)
        if recorder is None:
            recorder = self._recorders[key] = Recorder(path, config.power, config.redactor())
        return recorder

    def _live(self) -> list[Session]:
        for session in self._sessions:  # a loop: this is asked for with every event
            if not session.is_running:
                with self._one_at_a_time:  # else one that another thread starts meanwhile would be forgotten
                    self._sessions = [session for session in self._sessions if session.is_running]
                break
        return self._sessions

    @property
    def has_sessions(self) -> bool:
        """Whether any session is live in this process."""
        return bool(self._live())

    @property
    def is_multi_session(self) -> bool:
        """Whether more than one is."""
        return len(self._live()) > 1

    @property
    def session_count(self) -> int:
        """How many are."""
        return len(self._live())

    @property
    def current_session_ids(self) -> list[str]:
        """Their ids."""
        return [str(session.session_id) for session in self._live()]

    def get_session(self, session_id: str | UUID) -> Session | None:
        """The live session with this id, or None."""
        try:
            wanted = _session_uuid(session_id)
        except WrongUse:
            return None
        return next((session for session in self._live() if session.session_id == wanted), None)

    def active_session(self) -> Session | None:
        """The session of the code that runs: the one bound to its context, else the only live one, else the one that
        AGENTOPS_LOCAL_SESSION names for a process that knows of none."""
        session = context.session.get()
        if session is not None:
            return session  # also one that has ended, which says so: its events are not another session's
        sessions = self._live()
        if len(sessions) == 1:
            return sessions[0]
        if not sessions and not self._all_ended and os.environ.get(SESSION_VARIABLE):
            return self._join(os.environ[SESSION_VARIABLE])
        return None

    def _join(self, session_id: str) -> Session | None:
        """Takes part in a session, unless this process has done so before, and ended it."""
        self._initialized = True
        try:
            if _session_uuid(session_id) in self._known:
                return self.get_session(session_id)
        except WrongUse:
            pass  # told by the start
        return self.start_session(inherited_session_id=session_id)

    def _session_for(self, doing: str) -> Session | None:
        """The active session; a warning says why there is none."""
        session = self.active_session()
        if session is None:
            count = len(self._live())
            if count:
                logger.warning(_MANY, count, doing)
            else:
                logger.warning(_NONE, doing)
        return session

    def end_all_sessions(self) -> None:
        """Ends every live session as Indeterminate."""
        for session in list(self._live()):
            session.end_session("Indeterminate", "end_all_sessions()")
        self._all_ended = True

    # On the active session ------------------------------------------------------------------------------------------

    def record(self, event: Event | ErrorEvent) -> None:
        """Records an event in the active session."""
        session = self._session_for("record")
        if session is not None:
            session.record(event)

    def add_tags(self, tags: Iterable[str] | str) -> None:
        """Adds tags to the active session; before there is one, to the default tags."""
        if not self._live() and self.active_session() is None:
            self.add_default_tags(tags)
            return
        session = self._session_for("add_tags")
        if session is not None:
            session.add_tags(tags)

    def set_tags(self, tags: Iterable[str] | str) -> None:
        """Replaces the tags of the active session."""
        session = self._session_for("set_tags")
        if session is not None:
            session.set_tags(tags)

    def create_agent(self, name: str, agent_id: str | UUID | None = None, session: Session | None = None) -> str | None:
        """Makes an agent known to a session (default: the active one) and returns its id."""
        session = session or self._session_for("create_agent")
        return None if session is None else session.create_agent(name, agent_id)

    def end_session(
        self,
        end_state: str = "Indeterminate",
        end_state_reason: str | None = None,
        video: str | None = None,
        is_auto_end: bool | None = None,
    ) -> str | None:
        """Ends the active session; returns its cost, as `Session.end_session` does.

        Args:
            is_auto_end: the call comes from a framework, not the program; `skip_auto_end_session` ignores such calls.
        """
        if is_auto_end and self.config.skip_auto_end_session:
            return None
        session = self._session_for("end_session")
        return None if session is None else session.end_session(end_state, end_state_reason, video)

    def _instrument(self) -> None:
        """Lets LLM calls record themselves."""
        if self._switch is None:
            from agentops_local.instrumentation.switch import Switch

            self._switch = Switch(self.active_session, self._gate)
            for library in self._left:
                self._switch.leave(library)
        self._switch.on()

    # Budgets ---------------------------------------------------------------------------------------------------------

    def budget(self, usd: float | Decimal | str | None, scope: str = "session", unpriced: str = "refuse") -> None:
        """Sets a limit, as `agentops_local.budget` does."""
        from agentops_local.spending.limits import limit

        given = limit(usd or 0, scope, unpriced)
        session = self.active_session()
        if scope == "session":
            if session is None:
                raise WrongUse("a budget of the session needs one: call init() first, or use scope='project' or 'day'")
            scope = str(session.session_id)
        self._purse(session).set(scope, None if usd is None else given)

    def _purse(self, session: Session | None) -> Purse:
        from agentops_local.spending.limits import from_environment
        from agentops_local.spending.purse import Purse

        database = (self._recorder() if session is None else session._recorder).database
        purse = self._purses.get(database)
        if purse is None:
            try:
                default = from_environment(os.environ)
            except WrongUse as error:  # a slip in the environment must not stop the program
                logger.warning("agentops_local: %s; there is no such budget", error)
                default = None
            purse = self._purses[database] = Purse(database, default)
        return purse

    def _gate(self, provider: str, arguments: Mapping[str, Any], prompt: object) -> Reservation | None:
        """Lets a call pass, or not: the budgets of the database say whether it may cost what it may cost."""
        try:
            session = self.active_session()
            session_id = None if session is None else str(session.session_id)
            return self._purse(session).reserve(session_id, provider, arguments, prompt)
        except BudgetExceeded:
            raise
        except Exception as fault:  # noqa: BLE001 - a border: a budget that cannot be read stops no call
            faults.report(fault, "looking at the budgets")
            return None

    def leave(self, library: str) -> None:
        """Records no frames of a library by themselves any more: a handler that the program has asked for does."""
        self._left.add(library)
        if self._switch is not None:
            self._switch.leave(library)

    def stop_instrumenting(self) -> None:
        """Ends the recording of LLM calls that nobody records by hand; what the program records goes on."""
        self.config.instrument_llm_calls = False
        if self._switch is not None:
            self._switch.off()

    # The end of the process -----------------------------------------------------------------------------------------

    def _after_fork(self) -> None:
        Client._one_at_a_time = threading.RLock()  # another thread of the parent may have held it, and is not here

    def _at_exit(self) -> None:
        crash = uncaught()
        for session in list(self._sessions):
            with faults.contained("ending a session at exit"):
                session._exit_process(crash)
        for recorder in list(self._recorders.values()):
            with faults.contained("closing the database at exit"):
                recorder.close()
        if isinstance(crash, KeyboardInterrupt):
            remember_ctrl_c()


def _session_uuid(session_id: str | UUID) -> UUID:
    try:
        return UUID(str(session_id))
    except Exception:  # noqa: BLE001 - its own __str__ may raise anything
        raise WrongUse(f"session id {shown(session_id)} is no UUID; no session is started") from None
