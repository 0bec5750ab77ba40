"""System calls that fail by chance, with libfiu (Debian: fiu-utils). `fiu-run -x` does this to a whole program from its
start; here the program itself says when, so that Python has started by then and the errors have an end.

The chances are libfiu's own and cannot be repeated.
"""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path
from typing import NamedTuple

_LIBRARIES = ("/usr/lib/fiu/fiu_posix_preload.so", "/usr/local/lib/fiu/fiu_posix_preload.so")


class Fault(NamedTuple):
    """A call that fails.

    Attributes:
        point: libfiu's name of it, below `posix/io/`.
        chance: from 0 to 1.
        error: the name of the error; "" where the point has none.
    """

    point: str
    chance: float
    error: str = "EIO"


def preload() -> dict[str, str] | None:
    """The environment in which calls can be made to fail; None if libfiu is not installed."""
    found = next(filter(lambda name: Path(name).exists(), _LIBRARIES), None)
    return None if found is None else {"LD_PRELOAD": found}


class Faults:
    """The faults of this process, and of those it forks while they are on."""

    def __init__(self) -> None:
        self._fiu = ctypes.CDLL("libfiu.so.0")
        self._fiu.fiu_enable_random.argtypes = (
            ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_float,
        )  # fmt: skip
        self._on: list[bytes] = []

    def begin(self, *faults: Fault) -> None:
        """From now on these calls fail."""
        for fault in faults:
            name = f"posix/io/{fault.point}".encode()
            number = getattr(errno, fault.error) if fault.error else 0
            assert self._fiu.fiu_enable_random(name, 1, number, 0, fault.chance) == 0, name
            self._on.append(name)

    def end(self) -> None:
        """From now on none does."""
        while self._on:
            self._fiu.fiu_disable(self._on.pop())
