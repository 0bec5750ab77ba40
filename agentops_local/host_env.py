"""Where a session ran: SDK, system, hardware and packages, in the shape the classic SDK sends as `host_env`.

It comes in two parts. What stays the same from run to run (`stable`: some kB, mostly the list of packages) is
worth storing once, and `fingerprint` tells cheaply whether it may have changed. What changes all the time
(`momentary`) is small. Merged into the first as RFC 7396 merges a patch, it gives the classic's document.

What cannot be found out is left out: nothing here raises. On Linux no third-party module is loaded for it.
With the opt-out (AGENTOPS_ENV_DATA_OPT_OUT) nothing is told but the versions of SDK and Python and the
system's name and release number.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

from agentops_local.forks import import_whole

_MAIN = frozenset({"__main__", "__mp_main__"})


class _Package(NamedTuple):
    """An installed distribution; `info` is the path of its .dist-info or .egg-info."""

    name: str
    version: str
    info: str


class _Memory(NamedTuple):
    """Bytes."""

    total: int
    available: int


def stable(sdk_version: str, opt_out: bool = False) -> dict[str, object]:
    """What stays the same from run to run of one program.

    Args:
        sdk_version: the version of agentops-local.
        opt_out: tell nothing of the host but its system.
    """
    sdk: dict[str, object] = {"AgentOps SDK Version": sdk_version, "Python Version": sys.version.split()[0]}
    if opt_out:
        return {"SDK": sdk, "OS": _system()}
    packages = _packages()
    sdk.update(_parts(("System Packages", lambda: _loaded(packages))))
    found = _parts(
        ("OS", _system_and_name),
        ("CPU", lambda: _parts(("Physical cores", _physical_cores), ("Total cores", os.cpu_count))),
        ("RAM", lambda: {"Total": _gigabytes(_memory().total)}),
        ("Installed Packages", lambda: {"Installed Packages": {p.name: p.version for p in packages}}),
        ("Project Working Directory", lambda: {"Project Working Directory": _working_directory()}),
        ("Virtual Environment", lambda: {"Virtual Environment": _virtual_environment()}),
    )
    return {"SDK": sdk, **found}


def momentary(opt_out: bool = False) -> dict[str, object]:
    """What changes all the time: load, free memory, disks. It measures without waiting.

    Args:
        opt_out: tell nothing, so the dict is empty.
    """
    if opt_out:
        return {}
    return _parts(("CPU", lambda: {"CPU Usage": f"{_cpu_usage():.1f}%"}), ("RAM", _ram_in_use), ("Disk", _disks))


def fingerprint(sdk_version: str, opt_out: bool = False) -> str:
    """32 hex digits that change whenever `stable` may change, for the price of some stats (about 0.1 ms).

    They do not notice a package whose files are edited where they are: only coming, going and replacing.

    Args:
        sdk_version: as for `stable`.
        opt_out: as for `stable`; then no name and no path goes into the digits, which could be guessed from
            them.
    """
    facts: list[object] = [sdk_version, opt_out, sys.version]
    if opt_out:
        facts.append(_system())
    else:
        facts += [_kernel(), os.cpu_count(), _pages(), sys.prefix, _virtual_environment()]
        facts += [sorted(_loaded_names()), *_parts(("cwd", _working_directory)).values()]
        facts += [(folder, _changed_ns(folder)) for folder in _package_folders()]
    return blake2b(repr(facts).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _parts(*parts: tuple[str, Callable[[], object]]) -> dict[str, object]:
    """The parts that could be found out and are known."""
    found = {}
    for name, find in parts:
        with suppress(Exception):  # a disk that denies us, a /proc without a file: each costs its own part
            value = find()
            if value is not None:
                found[name] = value
    return found


# ---------------------------------------------------------------------------------------------------- system


def _system() -> dict[str, str]:
    """The system's name and release number; from the release of a kernel built at home only the number."""
    if sys.platform == "win32":
        version = sys.getwindowsversion()
        name, release = "Windows", f"{version.major}.{version.minor}.{version.build}"
    else:
        name, release = os.uname().sysname, os.uname().release
    number = re.match(r"\d+(\.\d+)*", release)
    return {"OS": name, "OS Release": number[0] if number else ""}


def _system_and_name() -> dict[str, str]:
    if sys.platform == "win32":
        import platform

        system = platform.uname()
        name, host, version, release = system.system, system.node, system.version, system.release
    else:
        kernel = os.uname()
        name, host, version, release = kernel.sysname, kernel.nodename, kernel.version, kernel.release
    return {"Hostname": host, "OS": name, "OS Version": version, "OS Release": release}


def _kernel() -> object:
    if sys.platform == "win32":
        kernel: object = (sys.getwindowsversion(), os.environ.get("COMPUTERNAME"))
    else:
        kernel = os.uname()
    return kernel


def _working_directory() -> str:
    return os.getcwd()  # noqa: PTH109 - pathlib would be loaded for this line


def _virtual_environment() -> str | None:
    # Its Python may have been started by its path, without activation: then only the prefix tells.
    if sys.prefix != sys.base_prefix:
        return sys.prefix
    return os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX")


# -------------------------------------------------------------------------------------------------- hardware


def _physical_cores() -> int | None:
    """Cores without their hyper-threads."""
    cores: set[str] = set()
    if sys.platform == "linux":
        for name in os.listdir("/sys/devices/system/cpu"):  # noqa: PTH208 - pathlib would be loaded for this line
            if re.fullmatch(r"cpu\d+", name):
                cores.update(_read(f"/sys/devices/system/cpu/{name}/topology/thread_siblings_list").splitlines())
    if cores:
        return len(cores)
    import_whole("psutil")
    import psutil

    return psutil.cpu_count(logical=False)


def _cpu_usage() -> float:
    """Percent of all cores: the load of the last minute, for a measure of now would have to wait."""
    if sys.platform == "win32":
        import_whole("psutil")
        import psutil

        usage = psutil.cpu_percent(interval=None)  # since the import of psutil, or since the last call
    else:
        usage = min(100.0, os.getloadavg()[0] / (os.cpu_count() or 1) * 100)
    return usage


def _memory() -> _Memory:
    if sys.platform == "linux":
        lines = (line.split() for line in _read("/proc/meminfo").splitlines())
        kib = {line[0]: int(line[1]) for line in lines}
        memory = _Memory(kib["MemTotal:"] * 1024, kib["MemAvailable:"] * 1024)
    else:
        import_whole("psutil")
        import psutil

        system = psutil.virtual_memory()
        memory = _Memory(system.total, system.available)
    return memory


def _pages() -> int:
    """Memory in pages: `_memory` costs a file, this nothing."""
    pages = 0
    if sys.platform == "linux":
        pages = os.sysconf("SC_PHYS_PAGES")
    return pages


def _ram_in_use() -> dict[str, str]:
    memory = _memory()
    used = memory.total - memory.available
    return {
        "Available": _gigabytes(memory.available),
        "Used": _gigabytes(used),
        "Percentage": f"{used / memory.total * 100:.1f}%",
    }


def _disks() -> dict[str, object]:
    """Size and use of each disk by its device, at the shortest of its mount points."""
    points: dict[str, str] = {}
    for device, point in _mounted_disks():
        if device not in points or len(point) < len(points[device]):
            points[device] = point
    return _parts(*((device, partial(_disk, point)) for device, point in points.items()))


def _mounted_disks() -> Iterable[tuple[str, str]]:
    """Device and mount point of each disk here; to ask a server that is gone for its size would hang."""
    if sys.platform == "linux":
        for line in _read("/proc/self/mounts").splitlines():
            device, point, kind = line.split(" ")[:3]
            # Loop devices are images that are always full, as snap mounts them by the dozen.
            if device.startswith("/dev/") and not device.startswith("/dev/loop") and kind[:5] != "fuse.":
                yield device, re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
    else:
        import_whole("psutil")
        import psutil

        yield from ((disk.device, disk.mountpoint) for disk in psutil.disk_partitions(all=False))


def _disk(point: str) -> dict[str, str]:
    if sys.platform == "win32":
        from shutil import disk_usage

        total, used, free = disk_usage(point)
    else:
        disk = os.statvfs(point)
        total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        used = total - disk.f_bfree * disk.f_frsize
    return {
        "Mountpoint": point,
        "Total": _gigabytes(total),
        "Used": _gigabytes(used),
        "Free": _gigabytes(free),
        # Of what users may fill, as df says it: a part of the disk is kept for root.
        "Percentage": f"{used / (used + free) * 100:.1f}%",
    }


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.2f} GB"


# -------------------------------------------------------------------------------------------------- packages


def _packages() -> list[_Package]:
    """The installed distributions by name; of two with one name the first on the path: it is imported.

    importlib.metadata takes 30 ms to load and reads each file whole; the first lines are enough.
    """
    found: dict[str, _Package] = {}
    for folder in _package_folders():
        for entry in _entries(folder):
            if entry.endswith((".dist-info", ".egg-info")) and (package := _package(f"{folder}/{entry}")):
                found.setdefault(_normal(package.name), package)
    return [found[name] for name in sorted(found)]


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - pathlib would be loaded for this line
    except OSError:  # an archive, or a folder that is gone
        return []


def _package(info: str) -> _Package | None:
    for file in ("/METADATA", "/PKG-INFO", ""):
        try:
            head = _read(info + file, 4096)
        except OSError:
            continue
        name, version = (re.search(rf"^{key}:[ \t]*(\S+)", head, re.MULTILINE) for key in ("Name", "Version"))
        if name and version:
            return _Package(name[1], version[1], info)
    return None  # what a broken removal left behind


def _loaded(packages: list[_Package]) -> dict[str, str]:
    """The packages whose modules are loaded.

    Most bear the name of their module. The others are looked up in their own lists of files. Of a namespace
    that several packages share (google, opentelemetry) it cannot be told from the module, and they are left
    out.
    """
    missing = {name.lower() for name in _loaded_names() if _is_installed(name)}
    found = {}
    for package in packages:
        module = _normal(package.name).replace("-", "_")
        if module in missing:
            missing.remove(module)
            found[package.name] = package.version
    for package in packages if missing else ():
        if package.name not in found and missing & _modules_of(package):
            found[package.name] = package.version
    return dict(sorted(found.items(), key=lambda item: _normal(item[0])))


def _modules_of(package: _Package) -> set[str]:
    """The names of the modules a package brings, in lower case (and some names that are none)."""
    for file in ("/top_level.txt", "/RECORD"):
        try:
            lines = _read(package.info + file).lower().splitlines()
        except OSError:
            continue
        # Such as bs4 · bs4/__init__.py,sha256=…,1 · six.py,sha256=…,2
        return {re.split(r"[/.,]", line, maxsplit=1)[0] for line in lines}
    return set()


def _loaded_names() -> set[str]:
    """The modules on top that are loaded and not of the standard library: others' and the program's own."""
    return {name for name in list(sys.modules) if "." not in name} - sys.stdlib_module_names - _MAIN


def _is_installed(module: str) -> bool:
    # From its dict: to ask a lazy module for an attribute may load it.
    file = getattr(sys.modules.get(module), "__dict__", {}).get("__file__")
    return isinstance(file, str) and any(file.startswith(folder + os.sep) for folder in _package_folders())


def _package_folders() -> Iterator[str]:
    """The folders on the path, but those of the program itself: they change with every file it writes."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    own = {"", *_parts(("cwd", _working_directory)).values()}
    if isinstance(main, str):
        own.add(os.path.dirname(main))  # noqa: PTH120 - pathlib would be loaded for this line
    return (folder for folder in map(str, sys.path) if folder not in own)


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - pathlib would be loaded for this line
    except OSError:
        return 0


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(path: str, size: int = -1) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib would be loaded for this
        return file.read(size)
