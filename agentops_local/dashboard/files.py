"""Files of a session: its video, the screenshots of its events, and exports to take away.

A file of this machine is reached by the id of what names it, never by a path: only one that a session names as its
video, or an event as its screenshot, and only if its name and its first bytes are those of a video or a picture. What
came from another machine names files of that machine, not of this one, so of those none is served; nor is any to
somebody who has signed in with a key, for whoever has one can have any path recorded.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from agentops_local.analytics.one_session.asked import asked as asked_of
from agentops_local.analytics.one_session.detail import NoSuchEvent, find_event
from agentops_local.analytics.owners import owners_of
from agentops_local.analytics.story import video as video_of
from agentops_local.analytics.whole import value
from agentops_local.dashboard.asking import Asked
from agentops_local.exporting import export
from agentops_local.process import Liveness, liveness

if TYPE_CHECKING:
    from agentops_local.dashboard.app import Dashboard

VIDEOS = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".ogv": "video/ogg",
}  # fmt: skip
PICTURES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
}  # fmt: skip

_BEGINNINGS = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"), "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"), "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "video/mp4": re.compile(rb".{4}(ftyp|moov|mdat|free|wide|skip)", re.DOTALL),
    "video/quicktime": re.compile(rb".{4}(ftyp|moov|mdat|free|wide|skip)", re.DOTALL),
    "video/webm": re.compile(rb"\x1a\x45\xdf\xa3"), "video/x-matroska": re.compile(rb"\x1a\x45\xdf\xa3"),
    "video/ogg": re.compile(rb"OggS"),
}  # fmt: skip
_LOOKED = 16  # bytes
_PIECE = 1 << 16
_EXPORTS = {"html": ("html", "text/html"), "json": ("v2", "application/json")}
_SCREENSHOT = "SELECT screenshot FROM payloads WHERE seq = ?"


@dataclass(frozen=True)
class Media:
    """A video or a picture that a session names.

    Attributes:
        named: how.
        path, type: a file of this machine that may be served.
        content: what lies in the database itself.
        link: where it is elsewhere.
        refused: why it is not served.
    """

    named: str
    path: Path | None = None
    type: str | None = None
    content: bytes | None = None
    link: str | None = None
    refused: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether it is served."""
        return self.path is not None or self.content is not None


def routes(dashboard: Dashboard) -> list[BaseRoute]:
    """The routes of this part."""
    found: list[BaseRoute] = [
        Route("/sessions/{id}/video", dashboard.answering(_video, as_json=True)),
        Route("/sessions/{id}/events/{event}/screenshot", dashboard.answering(_screenshot, as_json=True)),
    ]
    return found + [
        Route(f"/sessions/{{id}}/export.{suffix}", dashboard.answering(_exporting(suffix), as_json=True))
        for suffix in _EXPORTS
    ]


def found_video(asked: Asked, connection: sqlite3.Connection, session: int) -> Media | None:
    """The video of a session; None if it names none."""
    named = video_of(connection, session)
    return None if not named else _named(asked, connection, session, named, VIDEOS)


def found_screenshot(asked: Asked, connection: sqlite3.Connection, session: int, event: str) -> Media | None:
    """The screenshot of an event; None if it has none.

    Raises:
        NoSuchEvent: if the event is not there.
    """
    seq = find_event(connection, session, event)["seq"]
    row = connection.execute(_SCREENSHOT, (seq,)).fetchone()
    text = None if row is None else value(row["screenshot"])
    if not isinstance(text, str) or not text:
        return None
    content = _decoded(text)
    if content is None:
        return _named(asked, connection, session, text, PICTURES)
    kind = next((kind for kind in PICTURES.values() if _BEGINNINGS[kind].match(content)), None)
    if kind is None:
        return Media("in the database", refused="it is no PNG, JPEG, GIF or WebP picture")
    return Media("in the database", type=kind, content=content)


def _named(asked: Asked, connection: sqlite3.Connection, session: int, named: str, types: dict[str, str]) -> Media:
    """What is named by an address or a path."""
    address = urlsplit(named) if "://" in named else None
    if address is not None and address.scheme in ("http", "https"):
        return Media(named, link=named)
    if address is not None and address.scheme != "file":
        return Media(named, refused=f"{address.scheme}:// is no address of a file")
    kind = types.get(Path(named if address is None else address.path).suffix.lower())
    if kind is None:
        return Media(named, refused=f"its name does not end in one of {', '.join(types)}")
    if asked.project is not None or not _is_from_here(connection, session):
        return Media(named, refused="it was recorded on another machine: the file is there, not here")
    path = Path(named if address is None else unquote(address.path))
    if not path.is_absolute():  # beside the folder with the database: where most programs of a project are started
        path = asked.db.resolve().parent.parent / path
    return _checked(named, path, kind)


def _checked(named: str, path: Path, kind: str) -> Media:
    try:
        if not path.is_file():
            return Media(named, refused="there is no such file any more")
        with path.open("rb") as file:
            begins = _BEGINNINGS[kind].match(file.read(_LOOKED))
    except (OSError, ValueError) as error:
        return Media(named, refused=f"it cannot be read: {error}")
    return Media(named, path, kind) if begins else Media(named, refused=f"its content is not {kind}")


def _is_from_here(connection: sqlite3.Connection, session: int) -> bool:
    """Whether a process of the session is known to have run on this machine."""
    return any(
        owner.identity.pid and liveness(owner.identity, owner.host) is not Liveness.UNKNOWN
        for owner in owners_of(connection, session)
    )


def _decoded(text: str) -> bytes | None:
    """What a text in base64 says, with `data:` before it or not; None if it is none."""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            return None
    try:
        return base64.b64decode("".join(text.split()), validate=True) if len(text) >= _LOOKED else None
    except (binascii.Error, ValueError):
        return None


def _video(asked: Asked) -> Response:
    with asked_of(asked.db, asked.path["id"]) as (connection, (found,)):
        return _served(found_video(asked, connection, found.seq))


def _screenshot(asked: Asked) -> Response:
    with asked_of(asked.db, asked.path["id"]) as (connection, (found,)):
        return _served(found_screenshot(asked, connection, found.seq, asked.path["event"]))


def _served(found: Media | None) -> Response:
    if found is None:
        raise NoSuchEvent("none was recorded")
    if found.content is not None:
        return Response(found.content, media_type=found.type)
    if found.path is not None:
        return FileResponse(found.path, media_type=found.type)
    message = found.refused or f"it is elsewhere: {found.link}"  # not sent on: who asks us is to stay with us
    return Response(json.dumps({"message": message}), 404, media_type="application/json")


def _exporting(suffix: str) -> Callable[[Asked], Response]:
    format, media_type = _EXPORTS[suffix]

    def work(asked: Asked) -> Response:
        with asked_of(asked.db, asked.path["id"]) as (_, (found,)):
            name = found.id
        file = TemporaryFile()  # noqa: SIM115 - closed when all of it has been sent
        try:
            export(asked.db, name, format, cast("BinaryIO", file))
        except BaseException:
            file.close()
            raise
        size = file.tell()
        file.seek(0)
        headers = {"Content-Disposition": f'attachment; filename="{name}.{suffix}"', "Content-Length": str(size)}
        return StreamingResponse(_pieces(file), headers=headers, media_type=media_type)

    return work


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
