"""Asks for known vulnerabilities of what our users install: the dependencies of agentops-local and of its extras
`server` and `langchain`, with theirs, in the versions that are installed here.

It needs a service on the network. The first that answers counts: OSV, then the JSON pages of the Python package index
(mirrors often have none, and then know no package at all). Where none can be asked, that is said and nothing fails: a
change must not wait for a network.

    python .ci/audit.py      exit code 1: a vulnerability is known
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

OURS = "agentops-local"
EXTRAS = ("", "server", "langchain")
_PATIENCE = 12  # seconds for one service


def closure(name: str = OURS, extras: tuple[str, ...] = EXTRAS) -> dict[str, str]:
    """What a distribution needs, directly or not, by name, with the versions that are installed."""
    found: dict[str, str] = {}
    wanted: list[tuple[str, tuple[str, ...]]] = [(name, extras)]
    seen = set()
    while wanted:
        name, extras = wanted.pop()
        if (name.lower(), extras) in seen:
            continue
        seen.add((name.lower(), extras))
        try:
            installed = distribution(name)
        except PackageNotFoundError:  # for another platform, or an extra that nobody asked for
            continue
        found[installed.metadata["Name"]] = installed.version
        for text in installed.requires or ():
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras or ("",)):
                wanted.append((need.name, ("", *sorted(need.extras))))
    for name in (OURS, "pip"):  # sqlite-utils names pip, which is whatever the environment was made with
        found.pop(name, None)
    return found


def ask(packages: dict[str, str], service: list[str]) -> tuple[list[str], str]:
    """The vulnerabilities that a service knows, in words; and why it could not be asked, if so."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder, "requirements.txt")
        pinned.write_text("".join(f"{name}=={version}\n" for name, version in sorted(packages.items())))
        command = [
            sys.executable, "-m", "pip_audit", "--requirement", str(pinned), "--no-deps", "--disable-pip",
            "--format", "json", "--progress-spinner", "off", "--timeout", "4", "--cache-dir", folder, *service,
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
            answered = json.loads(done.stdout)["dependencies"]
        except subprocess.TimeoutExpired:
            return [], f"no answer within {_PATIENCE} s"
        except (ValueError, KeyError):
            last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            return [], last[:160]
    unknown = [one["name"] for one in answered if "skip_reason" in one]
    if len(unknown) == len(answered):
        return [], "it knows none of the packages"
    if unknown:
        print(f"dependency audit: nothing is known of {', '.join(unknown)}")
    return [
        f"{one['name']} {one['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for one in answered for vulnerability in one.get("vulns", ())
    ], ""  # fmt: skip


def main() -> int:
    """Asks one service after another."""
    parser = argparse.ArgumentParser(description="Ask for known vulnerabilities of the runtime dependencies.")
    parser.add_argument("--osv-url", help="another OSV than the public one; then no other service is asked")
    url = parser.parse_args().osv_url
    services = {"OSV": ["-s", "osv"], "the package index": ["-s", "pypi"]}
    if url:
        services = {url: ["-s", "osv", "--osv-url", url]}
    packages = closure()
    reasons = []
    for name, service in services.items():
        found, reason = ask(packages, service)
        if reason:
            reasons.append(f"{name}: {reason}")
            continue
        for line in found:
            print(f"dependency audit: {line}")
        print(f"dependency audit: {len(packages)} packages, {len(found)} known vulnerabilities, says {name}")
        return 1 if found else 0
    print(f"dependency audit: SKIPPED, {len(packages)} packages unaudited: no service could be asked")
    for reason in reasons:
        print(f"  {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
