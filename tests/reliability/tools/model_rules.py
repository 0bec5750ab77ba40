"""The rules that concern recording: what processes do, and what is done to them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import rule

from agentops_local import clock
from agentops_local.analytics.erase import Eraser
from agentops_local.analytics.owners import Status
from agentops_local.analytics.pruning import Plan
from agentops_local.analytics.reading import open_reader
from agentops_local.recovery.backup import make
from agentops_local.recovery.restore import restore
from tests.reliability.tools.model_base import (
    MOST_PLAYERS,
    VALUES,
    Base,
    Change,
    calls,
    ints,
    kinds,
    stamps,
    step,
    tags,
    values,
    videos,
)
from tests.reliability.tools.model_check import seen
from tests.reliability.tools.model_stage import Player

OVER = frozenset({Status.ENDED, Status.DIED})


class Recording(Base):
    """Processes that record, fork, end and are killed."""

    # Sessions ---------------------------------------------------------------------------------------------------------

    @rule(who=ints, tags=tags, new=st.booleans())
    @step
    def start(self, who: int, tags: list[str], new: bool) -> None:
        """A session begins, in a process that is there or a new one."""
        player = self.player(who, new)
        session = player.do("start", tags=tags)
        note(f"{player.pid}: starts {session}")
        self.model.start(player.pid, session, tags)

    @rule(who=ints, which=ints, tags=tags, new=st.booleans())
    @step
    def join(self, who: int, which: int, tags: list[str], new: bool) -> None:
        """A process takes part in a session, also in one that has ended, or of which all processes are dead."""
        if self.model.sessions:
            player = self.player(who, new)
            session = list(self.model.sessions)[which % len(self.model.sessions)]
            self.order(player, [lambda m: m.join(player.pid, session, tags)], "join", session=session, tags=tags)

    @rule(who=ints, which=ints, tags=tags, add=st.booleans(), dies=st.none() | calls)
    @step
    def tag(self, who: int, which: int, tags: list[str], add: bool, dies: int | None) -> None:
        """Tags are added or set."""
        player, session = self.place(who, which)
        change: Change = lambda m: m.tag(player.pid, session, tags, add)  # noqa: E731
        self.order(player, [change], "tag", dies or 0, session=session, tags=tags, add=add)

    @rule(who=ints, which=ints, old=ints, name=st.sampled_from(["Ann", "Bob"]))
    @step
    def agent(self, who: int, which: int, old: int, name: str) -> None:
        """An agent is made, or made again under another name."""
        player, session = self.place(who, which)
        ids = list(self.model.sessions[session].agents)
        self._numbers += 1
        id = (
            ids[old % len(ids)]
            if ids and old < 6
            else str(UUID(int=(0xA << 124) + (7 << 76) + (2 << 62) + self._numbers))
        )
        change: Change = lambda m: m.agent(player.pid, session, name, id)  # noqa: E731
        self.order(player, [change], "agent", session=session, name=name, id=id)

    @rule(who=ints, which=ints, number=st.integers(1, 3))
    @step
    def video(self, who: int, which: int, number: int) -> None:
        """The video is set."""
        player, session = self.place(who, which)
        video = f"https://example.org/{number}"
        change: Change = lambda m: m.video(player.pid, session, video)  # noqa: E731
        self.order(player, [change], "video", session=session, video=video)

    @rule(
        who=ints, which=ints, state=st.sampled_from(["Success", "Fail", "Indeterminate"]),
        reason=st.none() | st.just("because"), video=videos, dies=st.none() | calls,
    )  # fmt: skip
    @step
    def end(self, who: int, which: int, state: str, reason: str | None, video: str | None, dies: int | None) -> None:
        """A session is ended, by any of its processes."""
        player, session = self.place(who, which)
        joins: Change = lambda m: m.writes(player.pid, session)  # noqa: E731 - to tell the host environment
        change: Change = lambda m: m.end(player.pid, session, state, reason, video)  # noqa: E731
        order = {"session": session, "state": state, "reason": reason, "video": video}
        self.order(player, [joins, change], "end", dies or 0, **order)

    # Events -----------------------------------------------------------------------------------------------------------

    @rule(who=ints, which=ints, kind=kinds, value=values, agent=ints)
    @step
    def record(self, who: int, which: int, kind: str, value: str, agent: int) -> None:
        """An event, by one of the session's agents."""
        player, session = self.place(who, which)
        agents = [None, *self.model.sessions[session].agents]
        event = self.event(kind, value, agent_id=agents[agent % len(agents)])
        self.order(player, self.recorded(player, session, [event]), "record", session=session, events=[event])

    @rule(who=ints, which=ints, base=ints, keep=ints, value=values, chat=st.booleans(), edit=st.none() | ints)
    @step
    def call(self, who: int, which: int, base: int, keep: int, value: str, chat: bool, edit: int | None) -> None:
        """An LLM call that continues a conversation, branches off one, or has a message of it edited, whichever process
        and session had it."""
        player, session = self.place(who, which)
        talk = self.conversations[-1 - base % len(self.conversations)]
        talk = talk if keep > 5 else talk[: keep % (len(talk) + 1)]
        if edit is not None and talk:
            place = edit % len(talk)
            talk = [*talk[:place], talk[place] | {"content": f"edited {self._numbers}"}, *talk[place + 1 :]]
        said = VALUES[value]
        content = said if isinstance(said, str) else [{"type": "data", "data": said}]
        prompt = [*talk, {"role": "user", "content": content}]
        answer = {"role": "assistant", "content": f"answer {self._numbers + 1}"}
        self.conversations.append([*prompt, answer])
        event = self.event(
            "llms", value, prompt=prompt, completion=answer if chat else answer["content"], model="m",
            prompt_tokens=3, completion_tokens=4,
        )  # fmt: skip
        self.order(player, self.recorded(player, session, [event]), "record", session=session, events=[event])

    @rule(who=ints, which=ints, kind=kinds, value=values, old=st.booleans(), at=stamps, dies=st.none() | calls)
    @step
    def error(self, who: int, which: int, kind: str, value: str, old: bool, at: str, dies: int | None) -> None:
        """An error, with the event that failed: one that the process has recorded, or one that is recorded with it."""
        player, session = self.place(who, which)
        mine = [id for id, event in self.model.events.items() if event["pid"] == player.pid]
        error = self.event("errors", value, init_timestamp=at)
        trigger: str | dict[str, Any]
        if old and mine:
            events, trigger = [error | {"trigger": mine[-1]}], mine[-1]
        else:
            failed = self.event("tools" if kind == "errors" else kind, value)
            events, trigger = [failed, error | {"trigger": failed["id"]}], failed
        changes = self.recorded(player, session, events)
        self.order(player, changes, "record", dies or 0, session=session, events=[error | {"trigger": trigger}])

    def burst(self, count: int, value: str) -> list[dict[str, Any]]:
        """Many events, of all kinds."""
        events = []
        for turn in range(count):
            kind = ("tools", "errors", "llms")[turn % 3]
            prompt = [{"role": "user", "content": "go"}] * (turn + 1)
            more = {"prompt": prompt, "completion": "on", "model": "m"} if kind == "llms" else {}
            events.append(self.event(kind, value, **more))
        return events

    @rule(who=ints, which=ints, count=st.integers(2, 20), value=values, dies=st.none() | calls)
    @step
    def many(self, who: int, which: int, count: int, value: str, dies: int | None) -> None:
        """A burst, in the midst of which the process may be killed."""
        player, session = self.place(who, which)
        events = self.burst(count, value)
        changes = self.recorded(player, session, events)
        self.order(player, changes, "record", dies or 0, session=session, events=events, acks=True)

    @rule(who=ints, which=ints, other=ints, value=values, dies=st.none() | calls, event=ints)
    @step
    def at_once(self, who: int, which: int, other: int, value: str, dies: int | None, event: int) -> None:
        """Two processes record at once, one of them may be killed, and meanwhile something else happens."""
        one = self.place(who, which)
        two = self.place(other, which)
        bursts = [(*one, self.burst(8, value), dies or 0)]
        if one[0] is not two[0]:
            bursts.append((*two, self.burst(8, value), 0))
        for player, session, events, call in bursts:
            note(f"{player.pid}: {len(events)} events to {session}, dies at {call}")
            die = {"die_at": call} if call else {}
            player.tell("record", session=session, events=events, acks=True, **die)
        self.meanwhile(event)
        answers = [player.answer() for player, *_ in bursts]
        found = [id for id, _, _ in seen(self.db)["events"]]
        for (player, session, events, _), (acks, _, lived) in zip(bursts, answers, strict=True):
            count = len(events) if lived else len(acks)
            count += not lived and count < len(events) and events[count]["id"] in found  # committed, and not said so
            for change in self.recorded(player, session, events[:count]):
                change(self.model)
            if not lived:
                del self.players[player.pid]
                self.model.die(player.pid)
        self._interleave(found, [{event["id"] for event in events} for _, _, events, _ in bursts])

    def _interleave(self, found: list[str], bursts: list[set[str]]) -> None:
        """Which process was first only the database knows; that it kept the order of each is compared as ever."""
        theirs = set().union(*bursts)
        events, queues = self.model.events, [[id for id in self.model.events if id in burst] for burst in bursts]
        order = [id for id in events if id not in theirs]
        for id in found:
            if id in theirs:
                queue = next(queue for queue, burst in zip(queues, bursts, strict=True) if id in burst)
                order += queue[:1]
                del queue[:1]
        self.model.events = {id: events[id] for id in order + [id for queue in queues for id in queue]}

    # Processes --------------------------------------------------------------------------------------------------------

    @rule(who=ints, dies=st.none() | calls)
    @step
    def close(self, who: int, dies: int | None) -> None:
        """A process closes the database, and opens it again when it needs it."""
        self.order(self.player(who), [], "close", dies or 0)

    @rule(who=ints)
    @step
    def fork(self, who: int) -> None:
        """A process forks; the child lives on as a process like any other, and may outlive it."""
        if len(self.players) < MOST_PLAYERS:
            player = self.player(who)
            child = player.do("fork")
            self._enter(self.stage.come())
            assert self._newest.pid == child
            note(f"{player.pid}: forks {child}")
            self.model.fork(player.pid, child)

    @rule(who=ints, how=st.sampled_from(["return", "error", "os._exit"]))
    @step
    def leave(self, who: int, how: str) -> None:
        """A process ends."""
        player = self.player(who)
        note(f"{player.pid}: leaves, {how}")
        self.dismiss(player, how)

    @rule(who=ints)
    @step
    def kill(self, who: int) -> None:
        """A process is killed between two calls."""
        self._kill(self.player(who))

    def _kill(self, player: Player) -> None:
        note(f"{player.pid}: is killed")
        player.kill()
        del self.players[player.pid]
        self.model.die(player.pid)

    # Backups ----------------------------------------------------------------------------------------------------------

    @rule()
    @step
    def make_backup(self) -> None:
        """The database is copied, beside processes that have it open."""
        if self.model.sessions:
            make(self.db, self.db.with_name("backup.db"), force=True)
            self.backup = copy.deepcopy(self.model)

    @rule()
    @step
    def restore_backup(self) -> None:
        """The copy is put in place."""
        self.put_backup_in_place()

    def put_backup_in_place(self) -> None:
        """Whoever records is killed, and the copy takes the place of the database."""
        if self.backup is not None:
            for player in list(self.players.values()):
                self._kill(player)
            restore(self.db, self.db.with_name("backup.db"))
            self.model = self.model.restored(self.backup)

    # Erasing ----------------------------------------------------------------------------------------------------------

    def erase_over(self, which: int) -> None:
        """Erases one of the sessions that are over, as `agentops-local rm` does."""
        over = self.model.erasable()
        if over:
            self._erase([over[which % len(over)]])

    def _erase(self, sessions: Sequence[str]) -> None:
        note(f"erases {sessions}")
        eraser = Eraser(self.db, OVER)
        try:
            for session in sessions:
                eraser.erase(session)
                self.model.erase(session)
            eraser.finish()
        finally:
            eraser.close()

    def meanwhile(self, number: int) -> None:
        """What happens while processes record."""
        self.erase_over(number)

    @rule(which=ints)
    @step
    def erase(self, which: int) -> None:
        """A session that is over is erased."""
        self.erase_over(which)

    @rule()
    @step
    def prune(self) -> None:
        """What is over is known, and erased together, as `agentops-local prune` does."""
        if not self.model.sessions:  # nor, perhaps, a table
            return
        with open_reader(self.db) as reader:
            going = [one.id for one in Plan(OVER, clock.now_us() + 1, None).make(reader)]
        assert going == [id for id, session in self.model.sessions.items() if self.model.is_over(session)]
        free = self.model.erasable()
        self._erase([id for id in going if id in free])
