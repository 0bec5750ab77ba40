"""Looks for secrets in the files that git knows, with the detectors of detect-secrets.

What only looks like one stands in allowed-secrets.txt beside this, a line each with its reason: the file, the kind, the
beginning of its hash. Not by its line number: that would change with every edit above it.

    python .ci/scan.py [FILE...]      exit code 1: something was found that is not allowed
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = Path(__file__).with_name("allowed-secrets.txt")
# All but the one that goes by the name of a variable: our tests call many a canary a secret.
DETECTORS = """
    ArtifactoryDetector AWSKeyDetector AzureStorageKeyDetector BasicAuthDetector CloudantDetector
    DiscordBotTokenDetector GitHubTokenDetector GitLabTokenDetector IbmCloudIamDetector IbmCosHmacDetector
    JwtTokenDetector MailchimpDetector NpmDetector OpenAIDetector PrivateKeyDetector PypiTokenDetector
    SendGridDetector SlackDetector SoftlayerDetector SquareOAuthDetector StripeDetector
    TelegramBotTokenDetector TwilioKeyDetector
""".split()
ENTROPY = [{"name": "Base64HighEntropyString", "limit": 4.5}, {"name": "HexHighEntropyString", "limit": 3.0}]
# Uuids in these are made by chance, by a program, and open nothing.
NO_ENTROPY = ("tests/reliability/fixtures/",)


class Finding(NamedTuple):
    """Something that looks like a secret."""

    file: str
    kind: str
    hash: str
    line: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by in the list of what is allowed."""
        return self.file, self.kind, self.hash


def find(files: list[str], root: Path = ROOT) -> list[Finding]:
    """What looks like a secret in files, by their names below a folder."""
    found: list[Finding] = []
    for entropy in (True, False):
        chosen = [name for name in files if name.startswith(NO_ENTROPY) is not entropy]
        plugins = [{"name": name} for name in DETECTORS] + (ENTROPY if entropy else [])
        with transient_settings({"plugins_used": plugins}):
            for name in chosen:
                for one in scan_file(str(root / name)):
                    found.append(Finding(name, one.type, one.secret_hash[:16], one.line_number))
    return found


def allowed(file: Path = ALLOWED) -> dict[tuple[str, str, str], str]:
    """The reasons for what is allowed."""
    reasons = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, kind, hash, reason = (part.strip() for part in line.split("|"))
            if not reason:
                raise SystemExit(f"{file.name}: {name}: say why it is allowed")
            reasons[name, kind, hash] = reason
    return reasons


def tracked() -> list[str] | None:
    """The files that git knows; None where there is no git."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    """Scans the files that are named, or all."""
    files = arguments or tracked()
    if files is None:
        print("secret scan: skipped, for this is no git repository")
        return 0
    reasons = allowed()
    found = find(files)
    new = [one for one in found if one.key not in reasons]
    for one in new:
        print(f"{one.file}:{one.line}: {one.kind}. If it is none, allow it in .ci/{ALLOWED.name}:")
        print(f"  {' | '.join(one.key)} | the reason")
    stale = set(reasons) - {one.key for one in found} if not arguments else set()
    for key in sorted(stale):
        print(f"note: no longer there, remove it from .ci/{ALLOWED.name}: {' | '.join(key)}")
    print(f"secret scan: {len(files)} files, {len(found) - len(new)} allowed, {len(new)} found")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
