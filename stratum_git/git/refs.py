"""Refs: read, and moved all together or not at all, each with the value it is expected to have."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.objects import sync_folder
from stratum_git.git.process import GitFailed
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName

PATIENCE = 40
PAUSE = 0.05
"""A lock of somebody else's git is waited for PATIENCE times PAUSE seconds."""


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """A move of a ref: ``new`` is ``None`` to delete it, ``old`` is ``None`` when it must not exist yet."""

    ref: RefName
    new: Oid | None
    old: Oid | None


@dataclass(frozen=True, slots=True)
class Applied:
    """All refs moved."""


@dataclass(frozen=True, slots=True)
class LostRace:
    """No ref moved: one of them was not where it was expected to be."""

    ref: RefName
    detail: str


def transact(
    repo: Repository, updates: Sequence[RefUpdate], *, message: str, durable: bool = False
) -> Applied | LostRace:
    """Moves all of *updates* or none; raises HostError when a lock or the disk is in the way."""
    if not updates:
        return Applied()
    stdin = b"start\0" + b"".join(_command(update) for update in updates) + b"prepare\0commit\0"
    said = ""
    for _ in range(PATIENCE):
        done = repo.git.run("update-ref", "-m", message, "--stdin", "-z", stdin=stdin, ok=(0, 1, 128))
        if done.code == 0:
            if durable:
                _flush(repo, updates)
            return Applied()
        said = done.stderr.decode("utf-8", "replace")
        lost = _lost(said, updates)
        if lost is not None:
            return lost
        if "Unable to create" not in said or "File exists" not in said:
            raise _failure(said, updates)
        # Waits without the clock of this module's caller: a lock is held for milliseconds.
        threading.Event().wait(PAUSE)
    raise HostError(
        f"a lock is held for too long: {said.strip()}", hint="is another git stuck? Remove its lock"
    )


def read_refs(repo: Repository, prefix: str) -> dict[RefName, Oid]:
    """Returns the refs below *prefix*, or the one with exactly this name."""
    out = repo.git.run("for-each-ref", "--format=%(objectname) %(refname)", prefix).stdout
    rows = (line.partition(" ") for line in os.fsdecode(out).splitlines())
    return {RefName(name): Oid(oid) for oid, _, name in rows}


def read_ref(repo: Repository, ref: RefName) -> Oid | None:
    """Returns where a ref stands."""
    done = repo.git.run("rev-parse", "--verify", "-q", "--end-of-options", ref, ok=(0, 1, 128))
    return Oid(done.stdout.decode().strip()) if done.code == 0 else None


def tip_nowait(repo: Repository, ref: RefName) -> Oid | None:
    """Returns where a ref stands, without starting git when it is an ordinary loose ref."""
    with contextlib.suppress(OSError):
        text = (repo.common_dir / ref).read_text(encoding="ascii").strip()
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
            return Oid(text)
    return read_ref(repo, ref)


def _command(update: RefUpdate) -> bytes:
    ref = os.fsencode(update.ref)
    if update.new is None:
        return b"delete " + ref + b"\0" + (update.old or "").encode() + b"\0"
    if update.old is None:
        return b"create " + ref + b"\0" + update.new.encode() + b"\0"
    return b"update " + ref + b"\0" + update.new.encode() + b"\0" + update.old.encode() + b"\0"


def _lost(said: str, updates: Sequence[RefUpdate]) -> LostRace | None:
    """Returns which update lost its race, if that is what git says."""
    words = "is at [0-9a-f]+ but expected|reference already exists|unable to resolve reference"
    if not re.search(words, said):
        return None
    named = re.search(r"cannot lock ref '([^']+)'", said)
    ref = RefName(named[1]) if named else updates[0].ref
    return LostRace(ref, said.strip())


def _failure(said: str, updates: Sequence[RefUpdate]) -> HostError:
    blocked = re.search(r"'([^']+)' exists; cannot create '([^']+)'", said)
    if blocked:
        hint = f"rename or delete {blocked[1]}: git cannot have both"
        return HostError(f"the ref {blocked[1]} is in the way of {blocked[2]}", hint=hint)
    return GitFailed(("update-ref", updates[0].ref), 128, said.encode())


def _flush(repo: Repository, updates: Sequence[RefUpdate]) -> None:
    """Puts loose refs on the disk: git itself flushes neither them nor their directories by default."""
    folders: set[Path] = set()
    for update in updates:
        path = repo.common_dir / update.ref
        if update.new is not None:
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        folders.update(p for p in path.parents if p.is_relative_to(repo.common_dir / "refs"))
    for folder in sorted(folders, reverse=True):
        with contextlib.suppress(FileNotFoundError):
            sync_folder(folder)
