"""Which ways to come to a slot are possible here: each is tried once with something small, and remembered.

What was found holds for a boot, a kernel, a file system, a user and a version of git, and for the namespaces
that this process is in; when one of these is another, it is tried again. A file remembers it.
Nothing hangs on that file: a rung that is taken for possible and is not declines, and the next one is asked.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from stratum_git.agents.identity import own_identity
from stratum_git.git.process import git_version
from stratum_git.model.values import dataclass
from stratum_git.slots.folders import StateFolders
from stratum_git.slots.mounts import detach

FILE = "rungs.json"
LONG = 60.0
"""Seconds that no trial takes."""
VERSION = 1
"""Of what is tried: a later program that tries more does not believe what an earlier one found."""

Trial = Callable[[Path], str]
"""Tries a way in an empty folder; returns why it is not possible, or nothing."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found: for each way by name, why it is not possible, or nothing."""

    obstacles: Mapping[str, str]

    def is_possible(self, name: str) -> bool:
        """Returns whether slots can be made this way."""
        return not self.obstacles.get(name, "")


def probe(folders: StateFolders, trials: Mapping[str, Trial]) -> Probed:
    """Returns what is possible below *folders*: what is remembered, or what is found now."""
    file, facts = folders.root / FILE, _facts(folders.slots)
    known = _remembered(file, facts, trials)
    if known is not None:
        return known
    found = Probed({name: _tried(folders.probes, trial) for name, trial in trials.items()})
    with suppress(OSError):
        _write(file, {"facts": facts, "obstacles": dict(found.obstacles)})
    return found


def look(folders: StateFolders, trials: Mapping[str, Trial]) -> Probed:
    """Returns what is possible now, for somebody who only looks: it leaves nothing.

    What is remembered is forgotten where it is not so any more, so that whoever makes slots tries again.
    """
    above = next(path for path in (folders.root, *folders.root.parents) if path.is_dir())
    found = Probed({name: _tried(above, trial) for name, trial in trials.items()})
    file = folders.root / FILE
    if file.exists() and _remembered(file, _facts(folders.root), trials) != found:
        file.unlink(missing_ok=True)
    return found


def _tried(folder: Path, trial: Trial) -> str:
    try:
        place = Path(tempfile.mkdtemp(prefix=".stratum-git-", dir=folder))
    except OSError as error:
        return f"no folder can be made in {folder}: {error.strerror}"
    try:
        _sweep(folder, place.stat().st_mtime)
        return trial(place)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        _remove(place)


def _sweep(folder: Path, now: float) -> None:
    """Deletes what a process left that was killed while it tried; another may be trying now."""
    with suppress(OSError):
        for path in folder.glob(".stratum-git-*"):
            if now - path.stat().st_mtime > LONG:
                _remove(path)


def _remove(place: Path) -> None:
    if detach(place):
        shutil.rmtree(place, ignore_errors=True)


def _facts(slots: Path) -> list[str]:
    """Returns what the answers depend on."""
    at = slots.stat()
    system = os.uname()
    namespaces = [_link(f"/proc/self/ns/{kind}") for kind in ("user", "mnt")]
    git = ".".join(map(str, git_version()))
    here = (own_identity().boot_id, system.sysname, system.release, at.st_dev, os.geteuid(), git)
    return [str(VERSION), *map(str, here), *namespaces]


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - no path: a name of the kernel's
    except OSError:
        return ""


def _remembered(file: Path, facts: Sequence[str], trials: Mapping[str, Trial]) -> Probed | None:
    try:
        row = json.loads(file.read_bytes())
        obstacles = {str(name): str(why) for name, why in row["obstacles"].items()}
        fits = list(row["facts"]) == list(facts) and trials.keys() <= obstacles.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Probed(obstacles) if fits else None


def _write(file: Path, row: object) -> None:
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(row, out)
        fresh.replace(file)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
