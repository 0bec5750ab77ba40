"""The server: real HTTP on loopback, a thread a connection."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.llm import anthropic, openai, others
from tests.fakes.llm.replies import Stream, Whole
from tests.fakes.llm.script import Answer, Failure, Request, Script

Reply = Callable[[Request, Answer, int], Whole | Stream]

# By the end of the path.
_ROUTES: tuple[tuple[str, Reply, Callable[[int], dict[str, Any]]], ...] = (
    ("/chat/completions", openai.chat, openai.error),
    ("/responses", openai.responses, openai.error),
    ("/embeddings", openai.embeddings, openai.error),
    ("/v1/messages", anthropic.messages, anthropic.error),
    ("/v2/chat", others.cohere, others.error),
    ("/api/chat", others.ollama, others.error),
    (":generateContent", others.gemini, others.error),
    (":streamGenerateContent", others.gemini, others.error),
)


class LLMServer:
    """All providers at one address.

    Attributes:
        url: where it is; `openai` is the base URL of clients that want /v1 in it.
        script: what it answers.
    """

    def __init__(self) -> None:
        self.script = Script()
        server = self

        class Handler(_Handler):
            script = server.script

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.openai = f"{self.url}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> LLMServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.script.gate is not None:
            self.script.gate.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def requests(self) -> list[Request]:
        """What was asked, in order."""
        return self.script.requests

    def answer(self, *answers: Answer) -> None:
        """Answers the next requests so."""
        self.script.steps += answers

    def answer_with(self, function: Callable[[Request], Answer]) -> None:
        """Answers what nothing else is said for."""
        self.script.otherwise = function

    def fail(self, status: int, times: int = 1, headers: Mapping[str, str] | None = None) -> None:
        """Refuses the next requests; their clients try again at once where they try at all."""
        self.script.steps += [Failure(status, headers or {"retry-after-ms": "1"})] * times

    def cut(self, after_chunks: int) -> None:
        """Cuts the next stream off after so many chunks."""
        self.script.cut_after = after_chunks

    def hold(self) -> threading.Event:
        """Lets every stream wait after its first chunk, until the event is set."""
        self.script.gate = threading.Event()
        return self.script.gate


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        """Answers a request as the script says."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = Request(self.path, dict(self.headers), body)
        path = self.path.partition("?")[0]
        route = next((route for route in _ROUTES if path.endswith(route[0])), None)
        if route is None:
            self._send(404, {"error": {"message": f"no such address: {path}"}}, {})
            return
        _, reply, error = route
        answer, number = self.script.next(request)
        if isinstance(answer, Failure):
            self._send(answer.status, error(answer.status), answer.headers)
            return
        made = reply(request, answer, number)
        if isinstance(made, Whole):
            self._send(200, made.body, {})
        else:
            self._stream(made)

    def _send(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, stream: Stream) -> None:
        cut = self.script.take_cut()
        self.send_response(200)
        self.send_header("content-type", stream.media_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for number, chunk in enumerate(stream.chunks):
                if number == cut:
                    self._cut()
                    return
                self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                if self.script.gate is not None:
                    self.script.gate.wait(30)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client reads no more
            self.close_connection = True

    def _cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
