"""The network side: which provider is asked, its answer whole or in chunks, and what happens on the way."""

from __future__ import annotations

import socket
import threading
import uuid
from typing import NamedTuple

from tests.fakes.listener import Listener, listen, shut
from tests.fakes.providers import anthropic, cohere, compatible, gemini, ollama, openai, responses
from tests.fakes.providers.replies import Api, Json
from tests.fakes.providers.script import Cut, Failure, Hold, Received, Refused, Script
from tests.fakes.wire import Answer, Request, json_answer, render

# Mistral's path is OpenAI's, so its address here has one word more.
MISTRAL = "/mistral"
_APIS = [
    openai.CHAT,
    openai.EMBEDDINGS,
    responses.RESPONSES,
    anthropic.MESSAGES,
    gemini.GENERATE,
    compatible.GROQ,
    compatible.AI21,
    cohere.CHAT,
    ollama.CHAT,
]


class _Stream(NamedTuple):
    """An answer in chunks."""

    media_type: str
    chunks: list[bytes]


class Server(Listener):
    """Answers as the script says."""

    def __init__(self, script: Script) -> None:
        super().__init__(listen(), threading.Event())
        self._script = script
        self.start()

    def exchange(self, connection: socket.socket, request: Request) -> bool:
        """Answer one request."""
        made = self._made(request)
        if isinstance(made, _Stream):
            return self._stream(connection, made) and not request.closes
        headers = {**_request_id(), **made.headers}
        connection.sendall(render(made._replace(headers=headers), closes=request.closes))
        return not request.closes

    def _made(self, request: Request) -> Answer | _Stream:
        api, path = _asked(request)
        if api is None:
            return json_answer(404, openai.refusal(404, f"nothing answers to {request.method} {request.path}"))
        try:
            return self._answer(api, _received(api, path, request))
        except Refused as refused:
            body = api.refusal(refused.status, refused.message)
            return json_answer(refused.status, body)._replace(headers=refused.headers)
        except Exception as fault:  # noqa: BLE001 - the script's own: told when the server is closed
            self._script.faults.append(fault)
            return json_answer(400, api.refusal(400, f"the script failed: {fault!r}"))

    def _answer(self, api: Api, received: Received) -> Answer | _Stream:
        self._script.note(received)
        api.said(received)  # what the provider would refuse takes nothing from the script
        step = self._script.next(received)
        if isinstance(step, Failure):
            raise Refused(step.status, f"refused with {step.status}", step.headers)
        reply = api.reply(received, step)
        if api.streams(received):
            return _Stream(api.media_type, list(api.chunks(reply)))
        return json_answer(200, api.whole(reply))

    def _stream(self, connection: socket.socket, stream: _Stream) -> bool:
        """Send a stream; whether it came to its end."""
        broken = self._script.next_break()
        headers = {"Content-Type": stream.media_type, "Transfer-Encoding": "chunked", **_request_id()}
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        for number, chunk in enumerate(stream.chunks):
            if isinstance(broken, Cut) and number == broken.after_chunks:
                shut(connection)  # without a reset, so that the client gets all that came before
                return False
            if isinstance(broken, Hold) and number >= broken.after_chunks and not broken.wait(connection):
                return False
            connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        return True


def _asked(request: Request) -> tuple[Api | None, str]:
    """The address that is asked, and its path at the provider."""
    if request.path.startswith(MISTRAL + "/"):
        path, apis = request.path[len(MISTRAL) :], [compatible.MISTRAL]
    else:
        path, apis = request.path, _APIS
    found = [api for api in apis if request.method == "POST" and api.path.fullmatch(path)]
    return (found[0] if found else None), path


def _received(api: Api, path: str, request: Request) -> Received:
    try:
        body: Json = request.json()
    except ValueError as error:
        raise Refused(400, f"no JSON: {error}") from None
    if not isinstance(body, dict):
        raise Refused(400, "no object")
    return Received(api.provider, request.method, path, request.query, request.headers, body)


def _request_id() -> dict[str, str]:
    """The id of a request, under the names that OpenAI and Anthropic give it."""
    identity = f"req_{uuid.uuid4().hex[:24]}"
    return {"x-request-id": identity, "request-id": identity}
