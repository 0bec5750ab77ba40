"""Documents of the host environment, taken apart."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import pytest

posix_only = pytest.mark.skipif(os.name != "posix", reason="the system is asked in another way")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="other systems need psutil")

HOST, USER, FOLDER = "anvil-of-wile-e", "wile-e-coyote", "road-runner-trap"


def merged(target: Mapping[str, object], patch: Mapping[str, object]) -> dict[str, object]:
    """`target` with a patch as RFC 7396 merges it."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def section(document: Mapping[str, object], *path: str) -> dict[str, object]:
    """A part of a document, which must be an object."""
    for name in path:
        inner = document[name]
        assert isinstance(inner, dict)
        document = inner
    return dict(document)
