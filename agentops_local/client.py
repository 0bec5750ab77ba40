"""The client: the settings and the live sessions of this process. `Client()` is always the same object, and the only
global state of the SDK."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agentops_local import context, faults
from agentops_local.clock import new_id
from agentops_local.config import SESSION_VARIABLE, Configuration, tag_list
from agentops_local.errors import WrongUse, shown
from agentops_local.event import ErrorEvent, Event
from agentops_local.log import logger, set_level
from agentops_local.recorder.recorder import Recorder
from agentops_local.session import Session
from agentops_local.store.location import find_database

if TYPE_CHECKING:
    from agentops_local.instrumentation.switch import Switch

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
        self._exit_hooked = False
        self._switch: Switch | None = None
        self._celery_hooked = False

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
        self._hook_exit()
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

            self._switch = Switch(self.active_session)
        self._switch.on()

    def stop_instrumenting(self) -> None:
        """Ends the recording of LLM calls that nobody records by hand; what the program records goes on."""
        self.config.instrument_llm_calls = False
        if self._switch is not None:
            self._switch.off()

    # The end of the process -----------------------------------------------------------------------------------------

    def _hook_exit(self) -> None:
        if self._exit_hooked:
            return
        self._exit_hooked = True
        atexit.register(self._at_exit)
        self._hook_worker_exit()
        self._hook_celery()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before_fork, after_in_child=self._after_fork)

    def _before_fork(self) -> None:
        """A forked worker of `multiprocessing` leaves by os._exit, without atexit, but runs the finalizers that were
        registered after its start; the module is only used if the program has loaded it."""
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not getattr(self, "_worker_hooked", False):
            self._worker_hooked = True
            util.register_after_fork(self, Client._hook_worker_exit)
        self._hook_celery()

    def _hook_celery(self) -> None:
        """The children of a celery pool leave by os._exit as well, and run nothing but those who listen to celery's
        signal: without it, each that is recycled would look as if it had been killed."""
        signals = sys.modules.get("celery.signals")
        shutdown = getattr(signals, "worker_process_shutdown", None)  # None too while another thread imports it
        if shutdown is not None and not self._celery_hooked:
            self._celery_hooked = True
            shutdown.connect(self._leave_pool, weak=False)

    def _leave_pool(self, **_: object) -> None:
        self._at_exit()

    def _after_fork(self) -> None:
        Client._one_at_a_time = threading.RLock()  # another thread of the parent may have held it, and is not here

    def _hook_worker_exit(self) -> None:
        util = sys.modules.get("multiprocessing.util")
        workers = sys.modules.get("multiprocessing.process")
        if util is not None and workers is not None and workers.parent_process() is not None:
            util.Finalize(None, self._at_exit, exitpriority=0)

    def _at_exit(self) -> None:
        crash = _uncaught()
        for session in list(self._sessions):
            with faults.contained("ending a session at exit"):
                session._exit_process(crash)
        for recorder in list(self._recorders.values()):
            with faults.contained("closing the database at exit"):
                recorder.close()
        if isinstance(crash, KeyboardInterrupt):
            _remember_ctrl_c()


def _uncaught() -> BaseException | None:
    """The exception that ends this program, if one does. Python itself keeps it in `sys` when it prints it, so nobody's
    excepthook has to be replaced; an interactive session keeps its last error there as well, and goes on."""
    if hasattr(sys, "ps1") or sys.flags.interactive or "ipykernel" in sys.modules:
        return None
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return error if isinstance(error, BaseException) else None


def _remember_ctrl_c() -> None:
    """Python forgets that Ctrl-C has ended the program whenever a text is evaluated, as a NamedTuple does in a module
    that is loaded at the exit; then the exit status would be 1, and a shell's loop would go on."""
    try:
        exec("raise KeyboardInterrupt")  # noqa: S102 - our own text
    except KeyboardInterrupt:
        pass


def _session_uuid(session_id: str | UUID) -> UUID:
    try:
        return UUID(str(session_id))
    except Exception:  # noqa: BLE001 - its own __str__ may raise anything
        raise WrongUse(f"session id {shown(session_id)} is no UUID; no session is started") from None
