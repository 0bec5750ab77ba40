"""The checks of `make lint` that are ours: that they let pass, and that they do not."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CI = Path(__file__).parents[2] / ".ci"

pytestmark = pytest.mark.skipif(not CI.is_dir(), reason="only a checkout has .ci")


def load(name: str) -> ModuleType:
    """One of the programs, as a module."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", CI / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Secrets -------------------------------------------------------------------------------------------------------------

# Put together here, so that they stand in no file.
SECRETS = {
    "AWS Access Key": "AKIA" + "Z7QW3ERT5YUI9OPA",
    "GitHub Token": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "Private Key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "Basic Auth Credentials": "https://me:hunter2pass" + "@example.com",
    "Slack Token": "xoxb-" + "123456789012-1234567890123-abcdefghijABCDEFGHIJabcd",
    "Base64 High Entropy String": "'" + "kJ8s/Qz0Xv7Lw2Np5Rt9Yb3Mh6Ud1Fc4Ga" + "EeIiOoUu'",
}


@pytest.fixture
def scan() -> ModuleType:
    """The scan for secrets."""
    pytest.importorskip("detect_secrets")
    return load("scan")


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_found(scan: ModuleType, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A secret of a known kind in a file is found, told with its line and without itself, and ends in exit code 1."""
    (tmp_path / "new.py").write_text(f"x = 1\nvalue = {SECRETS[kind]}\n")
    assert kind in {one.kind for one in scan.find(["new.py"], tmp_path)}
    assert scan.main([str(tmp_path / "new.py")]) == 1
    said = capsys.readouterr().out
    assert f"new.py:2: {kind}" in said
    assert SECRETS[kind].strip("'")[8:] not in said


def test_what_is_none_is_not_found(scan: ModuleType, tmp_path: Path) -> None:
    """Names, ids, hashes in prose and our own canaries by name are no secrets; a line that says so itself is let
    pass."""
    (tmp_path / "new.py").write_text(
        f'password = "CANARY"\nid = "0190a000-0000-7000-8000-000000000001"\n# sha 5baa61e4c9b93f3f0682250b6cf8331b\n'
        f"key = {SECRETS['AWS Access Key']}  # pragma: allowlist secret\n"
    )
    assert scan.find(["new.py"], tmp_path) == []


def test_what_is_allowed_has_a_reason(scan: ModuleType, tmp_path: Path) -> None:
    """Every line of the list has a reason; one without is refused."""
    assert all(scan.allowed().values())
    (tmp_path / "list").write_text("a.py | AWS Access Key | 0123 |\n")
    with pytest.raises(SystemExit):
        scan.allowed(tmp_path / "list")


# Vulnerabilities -----------------------------------------------------------------------------------------------------


@contextmanager
def osv(vulnerable: str | None) -> Iterator[str]:
    """A service that knows a vulnerability of one package, or of none; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, version = asked["package"]["name"], asked["version"]
            found: dict[str, Any] = {}
            if name.lower() == vulnerable:
                events = [{"introduced": "0"}, {"fixed": "999"}]
                affected = {
                    "package": {"name": name, "ecosystem": "PyPI"}, "versions": [version],
                    "ranges": [{"type": "ECOSYSTEM", "events": events}],
                }  # fmt: skip
                one = {"id": "OSV-2026-1", "summary": "bad", "details": "very", "affected": [affected],
                       "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z"}  # fmt: skip
                found = {"vulns": [one]}
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def audit(url: str) -> tuple[int, str]:
    """The exit code of the audit, and what it says."""
    pytest.importorskip("pip_audit")
    done = subprocess.run(
        [sys.executable, CI / "audit.py", "--osv-url", url], capture_output=True, text=True, timeout=60,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_a_vulnerability_fails() -> None:
    """A known vulnerability of a package that we need, be it indirectly, is told with its id, and fails."""
    with osv("urllib3") as url:
        code, said = audit(url)
    assert code == 1
    assert "urllib3" in said
    assert "OSV-2026-1, mended in 999" in said


def test_none_passes() -> None:
    """Where no vulnerability is known, or only one of a tool of ours, the audit says so and passes."""
    for vulnerable in (None, "ruff"):
        with osv(vulnerable) as url:
            code, said = audit(url)
        assert code == 0
        assert " 0 known vulnerabilities" in said


def test_without_a_network_it_says_so() -> None:
    """Where no service can be asked the audit says that it was skipped, and why, and passes."""
    code, said = audit("http://127.0.0.1:1")
    assert code == 0
    assert "SKIPPED" in said
    assert "127.0.0.1" in said


def test_everything_that_users_get_is_audited() -> None:
    """The dependencies of the library and of its extras are audited, with theirs, and the tools of development not."""
    pytest.importorskip("pip_audit")
    names = {name.lower() for name in load("audit").closure()}
    assert {"click", "requests", "urllib3", "starlette", "uvicorn", "pyjwt", "sqlite-utils", "langchain-core"} <= names
    assert not names & {"ruff", "pytest", "mypy", "agentops-local"}
