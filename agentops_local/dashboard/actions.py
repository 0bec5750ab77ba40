"""What can be changed from a page. Each change is a POST with the token of its viewer from a page of ours; it is one
function of `analytics`, and ends with a redirect to a page of ours, or with words that say why not.

Requeuing alone is done by a process of its own, `agentops-sync requeue`: the daemon's package writes the ledger of
uploads and nobody else does, and the library does not know it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from agentops_local.analytics import amending, ratings, scoring
from agentops_local.analytics.erase import Eraser, refuse
from agentops_local.analytics.owners import Status
from agentops_local.analytics.reading import reading
from agentops_local.analytics.sessions import Ambiguous, NoSuchSession, pick_session, summary
from agentops_local.dashboard import forms, rendering
from agentops_local.dashboard.access import Viewer, check_origin, check_token
from agentops_local.dashboard.app import HEADERS, Dashboard
from agentops_local.dashboard.asking import Asked
from agentops_local.dashboard.forms import Form, way_back
from agentops_local.errors import AgentOpsLocalError, WrongUse
from agentops_local.server.refusal import Refusal

_PATIENCE = 60  # seconds that requeuing may take
_SECRET = re.compile(r"(//)[^/@\s]*@")  # of a URL with a password


class NotRequeued(AgentOpsLocalError):
    """agentops-sync could not requeue."""


class Change(NamedTuple):
    """A change that is asked for.

    Attributes:
        asked: which database, and by whom.
        form: what it says.
    """

    asked: Asked
    viewer: Viewer
    form: Form


Done = tuple[str, str]  # what was done, in words; the page to go to, without the prefix


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """The routes of changes."""
    found: list[BaseRoute] = [Route("/actions/delete", dashboard.answering(_confirm), methods=["GET"])]
    found += [
        Route(f"/actions/{name}", partial(_answer, dashboard, work), methods=["POST"]) for name, work in ACTIONS.items()
    ]
    return found


def tag(change: Change) -> Done:
    """Adds and removes tags."""
    session, form = _session(change), change.form
    tags = amending.tag(session, form.all("add"), form.all("remove"), db=change.asked.db)
    return f"the session has the tags {', '.join(tags)}" if tags else "the session has no tags", _page(session)


def end(change: Change) -> Done:
    """Ends a session that nobody has ended and that does not run."""
    session, form = _session(change), change.form
    amending.end(session, form.one("state") or "Indeterminate", form.one("reason"), db=change.asked.db)
    return "the session has ended", _page(session)


def delete(change: Change) -> Done:
    """Erases a session, for good, as `rm` does."""
    session, db = _session(change), change.asked.db
    if change.form.one("sure") != "yes":
        raise WrongUse("erasing is for good: confirm it on the page that asks whether you are sure")
    erasable = {Status.ENDED, Status.DIED} | ({Status.UNKNOWN} if change.form.one("force") == "yes" else set())
    with closing(Eraser(db, frozenset(erasable))) as eraser:
        eraser.erase(session)
        done = eraser.finish()
    if not done.wal_emptied:
        raise AgentOpsLocalError(
            "the session is erased, but a program that reads the database keeps its write-ahead log, and with it what "
            "was erased: close it, then run `agentops-local rm` without a session"
        )
    return f"{done.sessions} session and {done.events} events are erased", "/sessions"


def requeue(change: Change) -> Done:
    """Lets agentops-sync send again what was given up: of a session or of all, to a server or to all."""
    db, form = change.asked.db, change.form
    session = _session(change) if form.one("session") is not None else None
    with reading(db) as connection:
        urls = [str(row[0]) for row in connection.execute("SELECT url FROM targets ORDER BY id").fetchall()]
    chosen = [url for url in urls if form.one("target") in (None, url)]
    if not chosen:
        raise WrongUse("nothing was ever uploaded there: there is nothing to send again")
    said = []
    for url in chosen:
        line = [sys.executable, "-m", "agentops_sync", "requeue", "--db", str(db), f"--endpoint={url}"]
        line += ["--uncertain"] if form.one("uncertain") == "yes" else []
        said.append(_run([*line, session] if session is not None else line))
    return "; ".join(said), "/sync" if session is None else _page(session)


def score(change: Change) -> Done:
    """Gives a score."""
    session, form = _session(change), change.form
    name, value = form.need("name"), form.need("value")
    given = scoring.score(
        session, name, value if name.strip() == ratings.NOTE else ratings.as_value(value), form.one("event"),
        note=form.one("note"), author=change.viewer.author, db=change.asked.db,
    )  # fmt: skip
    return f"{given.name} is stored", _page(session, given.event_id)


def note(change: Change) -> Done:
    """Notes something."""
    session, form = _session(change), change.form
    given = scoring.note(
        session, form.need("text"), form.one("event"), author=change.viewer.author, db=change.asked.db
    )  # fmt: skip
    return "the note is stored", _page(session, given.event_id)


def unscore(change: Change) -> Done:
    """Takes a score or a note away."""
    session, form = _session(change), change.form
    try:
        number, at_us = int(form.need("number")), int(form.need("at_us"))
    except ValueError as error:
        raise WrongUse("number and at_us must be those of a score") from error
    if not scoring.unscore(session, number, at_us, db=change.asked.db):
        raise WrongUse("that score is gone, or was replaced meanwhile: look at the session again")
    return "it is taken away", _page(session)


ACTIONS: dict[str, Callable[[Change], Done]] = {
    "tag": tag, "end": end, "delete": delete, "requeue": requeue, "score": score, "note": note, "unscore": unscore,
}  # fmt: skip


async def _answer(dashboard: Dashboard, work: Callable[[Change], Done], http: Request) -> Response:
    as_json = "application/json" in http.headers.get("accept", "")
    root = str(http.scope.get("agentops_root", ""))
    viewer = await to_thread.run_sync(dashboard.access.viewer, http)
    if viewer is None:
        return dashboard.stranger(http, as_json)
    asked = dashboard.asked(http, viewer)
    try:
        check_origin(http)
        form = await forms.read(http)
        check_token(form.one("token") or http.headers.get("x-agentops-token"), viewer.token)
        if not viewer.may_change:
            raise Refusal(403, "nothing may be changed here")
    except Refusal as refusal:
        return _refused(asked, as_json, refusal)

    def tried() -> Response:
        try:
            said, page = work(Change(asked, viewer, form))
        except AgentOpsLocalError as error:
            return _refused(asked, as_json, Refusal(_status(error), str(error)))
        if as_json:
            return Response(rendering.json({"done": said, "page": page}), 200, HEADERS, media_type="application/json")
        return RedirectResponse(way_back(form.one("back"), root + page), 303, HEADERS)

    return await to_thread.run_sync(tried)


def _refused(asked: Asked, as_json: bool, refusal: Refusal) -> Response:
    data = {"title": "Nothing was changed" if refusal.status != 503 else "Not done", "message": refusal.message}
    if as_json:
        return Response(rendering.json(data), refusal.status, HEADERS, media_type="application/json")
    return Response(rendering.html("message.html", data, asked), refusal.status, HEADERS, media_type="text/html")


def _status(error: AgentOpsLocalError) -> int:
    if isinstance(error, (NoSuchSession, Ambiguous, scoring.NoSuchEvent)):
        return 404
    if isinstance(error, WrongUse):
        return 400
    return 409


def _session(change: Change) -> str:
    """The whole id of the session that is meant; in the database of this viewer only."""
    with reading(change.asked.db) as connection:
        return pick_session(connection, change.form.need("session"))


def _page(session: str, event: str | None = None) -> str:
    return f"/sessions/{quote(session)}" + (f"#e={event}" if event else "")


def _run(line: list[str]) -> str:
    """What agentops-sync has said."""
    try:
        done = subprocess.run(  # noqa: S603 - our own program, and arguments that it takes for none of its options
            line, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False,
            stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRequeued(f"agentops-sync could not be run ({error}): run `agentops-sync requeue` yourself") from error
    if done.returncode:
        raise NotRequeued(_SECRET.sub(r"\1", done.stderr.strip()[-1000:]) or "agentops-sync could not requeue")
    return _SECRET.sub(r"\1", done.stdout.strip())


def _confirm(asked: Asked) -> Response:
    """The page that asks whether a session shall be erased."""
    name = asked.one("session")
    if name is None:
        raise WrongUse("name a session")
    with reading(asked.db) as connection:
        of = summary(connection, pick_session(connection, name))
    if of.status is Status.RUNNING:
        refuse(of.id, of.status, frozenset())
    data = {"session": of.to_json(), "state": of.state, "unknown": of.status is Status.UNKNOWN}
    return Response(rendering.html("delete.html", data, asked), media_type="text/html")
