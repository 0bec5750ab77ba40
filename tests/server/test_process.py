from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import call, environment, execute
from tests.server.running import COMMAND, Api, in_a_process, tool

ANYWHERE = "0.0.0.0"  # noqa: S104 - that it is refused is the law
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def test_the_first_line_is_the_url(path: Path) -> None:
    """The command prints its URL as the first line on standard output, alone, and answers there; the rest is for
    people, on standard error."""
    with in_a_process(path) as collector:
        assert collector.url.startswith("http://127.0.0.1:")
        with Api(collector.url) as api:
            assert api.send("GET", "/health").body["status"] == "ok"
            api.create().events(tool())
            api.send("GET", "/nothing")
        assert collector.stop() == 0
        out, err = collector.said
        assert out == ""
        assert err.splitlines() == [f"collecting into {path} (any API key, from this machine only); Ctrl-C stops it"]
    assert path.exists()


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_under_way_is_finished(path: Path, number: int) -> None:
    """Asked to end, the collector finishes the requests under way, takes no new ones, and ends with exit code 0."""
    with in_a_process(path) as collector, Api(collector.url) as api:
        session = api.create()
        host = collector.url.partition("//")[2]
        body = json.dumps({"events": [tool()]}).encode()
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.putrequest("POST", "/v2/create_events")
        connection.putheader("Authorization", f"Bearer {session.token}")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        connection.send(body[:10])
        assert api.send("GET", "/health").status == 200  # by now the first has been taken up
        collector.process.send_signal(number)
        name, _, port = host.partition(":")
        while _listens(name, int(port)):
            pass
        connection.send(body[10:])
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'"Success"')
        connection.close()
        assert collector.process.wait(30) == 0
    with in_a_process(path) as collector, Api(collector.url) as api:
        assert api.stats(session.id)["events"] == 1


def _listens(name: str, port: int) -> bool:
    try:
        socket.create_connection((name, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", [ANYWHERE, "::", "192.0.2.1", "example.com"])
def test_other_machines_need_a_key(path: Path, host: str) -> None:
    """To let other machines in while no key is registered is refused with exit code 2, in a sentence that says what to
    do, before anything listens."""
    said = execute("serve", "--port", "0", "--host", host, "--db", path)
    assert (said.code, said.out) == (2, "")
    assert "agentops-local keys add" in said.err


def test_other_machines_with_a_key(path: Path) -> None:
    """With a key registered it listens wherever it is told to, and no key but that opens anything."""
    key = call("keys", "add", "team", "--db", path).out.strip()
    with in_a_process(path, "--host", ANYWHERE, "--allow-host", "collector.example") as collector:
        port = collector.url.rpartition(":")[2]
        with Api(f"http://127.0.0.1:{port}", key) as api, Api(f"http://127.0.0.1:{port}") as other:
            assert api.create().events(tool()).status == 200
            assert other.by_key("/v2/create_session", {"session": {}}).message == "Invalid API Key"
            assert api.send("GET", "/health", headers={"Host": "collector.example"}).status == 200
            assert api.send("GET", "/health", headers={"Host": "other.example"}).status == 403
        assert collector.stop() == 0
        assert "registered API keys only" in collector.said[1]


def test_a_port_that_is_taken(path: Path) -> None:
    """A port that is taken is told in a sentence, with exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = execute("serve", "--port", taken.getsockname()[1], "--db", path)
    assert (said.code, said.out) == (1, "")
    assert "--port 0" in said.err
    assert "Traceback" not in said.err


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """A file that is no database of ours is refused with exit code 1, and left as it is."""
    (tmp_path / "text.db").write_text("no database " * 100)
    said = execute("serve", "--port", "0", "--db", tmp_path / "text.db")
    assert (said.code, said.out) == (1, "")
    assert "text.db" in said.err
    assert "Traceback" not in said.err
    assert (tmp_path / "text.db").read_text() == "no database " * 100


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "jwt"])
def test_without_the_extra(path: Path, missing: str) -> None:
    """Without the extra the command says in one sentence how to get it, with exit code 1; the keys need no extra."""
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from agentops_local.cli import main; sys.argv[0] = 'agentops-local'; main()"
    )
    command = [sys.executable, "-c", code, "--db", str(path)]
    done = subprocess.run([*command, "serve"], env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: the collector needs an extra: pip install 'agentops-local[server]'\n"
    done = subprocess.run([*command, "keys", "add", "x"], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0


def test_help_loads_nothing_of_the_server() -> None:
    """The help of the whole command loads nothing of what the server needs."""
    code = "import sys; from agentops_local.cli import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"uvicorn", "starlette", "jwt", "anyio", "agentops_local.server.app"}
    assert COMMAND
