"""What was measured on: machine, system, disk and versions. No names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("trio", "mcp", "GitPython", "filelock", "jsonschema", "pyyaml", "regex", "rich")


def described(place: Path) -> dict[str, Any]:
    """Returns what this machine is, with the disk that *place* is on; ``None`` is what could not be seen."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _first(r"model name\s*: (.+)", _read("/proc/cpuinfo")),
        "processors": len(os.sched_getaffinity(0)),
        "memory_mib": int(_first(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo")) or 0) // 1024,
        "user_is_root": os.geteuid() == 0,
        "load": [round(value, 2) for value in os.getloadavg()],
        "disk": disk(place),
        "git": _said("git", "--version").removeprefix("git version "),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "stratum_git": _said("git", "-C", str(Path(__file__).parents[2]), "rev-parse", "--short", "HEAD")
        or None,
    }


def disk(place: Path) -> dict[str, Any]:
    """Returns what the file system of *place* is: its kind, options that count, a journal, reflinks.

    Ext4 without a journal makes files slowly for minutes after many were deleted, so it is worth to know.
    """
    at = place.stat().st_dev
    wanted = f"{os.major(at)}:{os.minor(at)}"
    for line in reversed(_read("/proc/self/mountinfo").splitlines()):
        head, _, tail = line.partition(" - ")
        if head.split()[2] == wanted:
            kind, device, options = tail.split(" ", 2)
            return {
                "kind": kind,
                "options": sorted({*head.split()[5].split(","), *options.split(",")} & _TELLING),
                "journal": _journal(kind, device, at),
                "reflink": _reflinks(place),
            }
    return {"kind": None, "options": [], "journal": None, "reflink": _reflinks(place)}


_TELLING = {"relatime", "noatime", "volatile", "nobarrier", "discard", "sync", "userxattr"}


def _journal(kind: str, device: str, number: int) -> bool | None:
    if kind != "ext4":
        return None
    name = device.removeprefix("/dev/")
    if name == "root":
        name = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name
    # The thread that commits a journal; a disk without one has none.
    for entry in Path("/proc").glob("[0-9]*/comm"):
        if _read(str(entry)).startswith(f"jbd2/{name}"[:15]):
            return True
    return False


def _reflinks(place: Path) -> bool:
    source, copy = place / ".reflink-source", place / ".reflink-copy"
    try:
        source.write_bytes(b"x" * 4096)
        done = subprocess.run(
            ["cp", "--reflink=always", str(source), str(copy)], check=False, capture_output=True
        )
        return done.returncode == 0
    finally:
        source.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1].strip() if found else None


def _said(*words: str) -> str:
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    import json

    print(json.dumps(described(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()), indent=1))
