"""Files that a session names: which are served, and that no other is."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import pytest

from agentops_local.event import ActionEvent
from tests.analytics.recording import Book
from tests.dashboard.running import Site

FILM = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 8


def png() -> bytes:
    """A picture of one point."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00")) + chunk(b"IEND", b"")


def filmed(book: Book, video: str, **change: object) -> str:
    """A session of this process that names a video; its id."""
    state = book.session()
    book.action(state)
    book.change("UPDATE sessions SET video = ? WHERE id = ?", video, state.id)
    for column, value in change.items():
        book.change(f"UPDATE owners SET {column} = ?", value)
    return state.id


def test_a_video_by_the_id_of_its_session(book: Book, site: Site) -> None:
    """The video that a session names is served by the session's id, in parts as a player asks for them."""
    path = book.path.parent.parent / "run.mp4"
    path.write_bytes(FILM)
    for name in (str(path), "run.mp4", path.as_uri()):
        one = filmed(book, name)
        assert site.json(f"/sessions/{one}.json?view=media")["media"]["video"]["src"] == f"/sessions/{one}/video"
        answer = site.get(f"/sessions/{one}/video", headers={"Range": "bytes=4-11"})
        assert (answer.status_code, answer.content) == (206, b"ftypmp42")
        assert answer.headers["content-range"] == f"bytes 4-11/{len(FILM)}"
        assert answer.headers["content-type"] == "video/mp4"
        assert site.get(f"/sessions/{one}/video").content == FILM


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("secret.txt", FILM), ("id_rsa", b"-----BEGIN"), ("no.mp4", b"root:x:0:0"), ("page.svg", b"<svg>"),
        ("gone.mp4", None), ("nul\0.mp4", None), ("empty.webm", b""), ("a.png", b"\x89PNG\r\n\x1a\n"),
    ],
)  # fmt: skip
def test_no_other_file(book: Book, site: Site, name: str, content: bytes | None) -> None:
    """A file that is not named like a video, or does not begin like one, is not served, and the page says why."""
    if content is not None:
        (book.path.parent.parent / name).write_bytes(content)
    one = filmed(book, name)
    answer = site.get(f"/sessions/{one}/video")
    assert answer.status_code == 404
    assert content is None or not content or content not in answer.content
    video = site.json(f"/sessions/{one}.json?view=media")["media"]["video"]
    assert (video["src"], bool(video["refused"])) == (None, True)
    assert video["refused"] in site.get(f"/sessions/{one}?view=media").text.replace("&#39;", "'")


@pytest.mark.parametrize("change", [{"pid": 0}, {"host": "elsewhere", "boot": "another", "end_us": None}])
def test_what_came_from_another_machine(book: Book, site: Site, change: dict[str, object]) -> None:
    """A path that was recorded on another machine, or sent to the collector, is of a file there: the file of that name
    here is not served."""
    path = book.path.parent.parent / "run.mp4"
    path.write_bytes(FILM)
    one = filmed(book, str(path), **change)
    assert site.get(f"/sessions/{one}/video").status_code == 404


def test_a_video_elsewhere(book: Book, site: Site) -> None:
    """An address on the web is told as a link; nobody is sent there by us."""
    one = filmed(book, "https://example.org/a.mp4")
    assert site.get(f"/sessions/{one}/video").status_code == 404
    assert 'href="https://example.org/a.mp4"' in site.get(f"/sessions/{one}?view=media").text
    script = filmed(book, "javascript://example.org/%0aalert(1)")
    assert 'href="javascript' not in site.get(f"/sessions/{script}?view=media").text


@pytest.mark.parametrize("form", ["base64", "data", "path", "bytes"])
def test_screenshots(book: Book, site: Site, form: str) -> None:
    """A screenshot is served as the picture it is: from base64, from a data URL, from a file that it names."""
    text = base64.b64encode(png()).decode()
    path = book.path.parent.parent / "shot.png"
    path.write_bytes(png())
    shots = {"base64": text, "data": f"data:image/png;base64,{text}", "path": str(path), "bytes": png()}
    state = book.session()
    event = book.add(state, ActionEvent(action_type="click", screenshot=shots[form]))  # type: ignore[arg-type]
    url = f"/sessions/{state.id}/events/{event.id}/screenshot"
    answer = site.get(url)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", png())
    shot = site.json(f"/sessions/{state.id}.json?view=media")["media"]["shots"][0]
    assert shot["src"] == f"/sessions/{state.id}/events/{shot['seq']}/screenshot"
    assert site.json(f"/sessions/{state.id}/events/{event.id}.json")["screenshot"]["src"] == url


@pytest.mark.parametrize(
    "text", [base64.b64encode(b"<svg><script>alert(1)</script>").decode(), "data:text/html;base64,PGI+", "/etc/passwd"]
)
def test_what_is_no_picture(book: Book, site: Site, text: str) -> None:
    """What is no picture is not served as one, wherever it comes from."""
    state = book.session()
    event = book.add(state, ActionEvent(action_type="click", screenshot=text))
    assert site.get(f"/sessions/{state.id}/events/{event.id}/screenshot").status_code == 404
    assert site.json(f"/sessions/{state.id}.json?view=media")["media"]["shots"][0]["src"] is None


def test_exports_to_take_away(book: Book, site: Site, tmp_path: Path) -> None:
    """A session is taken away as a page or as JSON, under its id as a name."""
    state = book.session()
    book.tool(state, "search")
    for suffix, beginning in (("html", b"<!doctype html>"), ("json", b'{"session":')):
        answer = site.get(f"/sessions/{state.id}/export.{suffix}")
        assert answer.content.startswith(beginning)
        assert b"search" in answer.content
        assert answer.headers["content-disposition"] == f'attachment; filename="{state.id}.{suffix}"'
    assert site.get("/sessions/00000000-0000-0000-0000-000000000000/export.json").status_code == 404
