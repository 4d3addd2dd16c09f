"""Refs as files: read without starting git, where they are files of the form that git has always had.

Those that have files of their own moved lately; the others are in ``packed-refs``, which is written anew as a
whole. So whoever has read that once need not read it again until it is another file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from stratum_git.git.repository import Repository
from stratum_git.model.ids import Oid, RefName

OID = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
Stamp = tuple[int, int, int]
"""What tells one ``packed-refs`` from another; zeros when there is none."""


def loose_refs(repo: Repository, prefix: str) -> dict[RefName, Oid] | None:
    """Returns the refs right below *prefix*, which ends in a slash, that have files of their own.

    ``None`` where git has to be asked: they are no files here, or one of them is no plain ref.
    """
    if (repo.common_dir / "reftable").exists():
        return None
    folder = repo.common_dir / prefix
    found: dict[RefName, Oid] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        return found
    except OSError:
        return None
    for name in names:
        if name.endswith(".lock"):
            continue
        try:
            text = (folder / name).read_bytes().strip()
        except FileNotFoundError:
            # It was packed, or deleted, just now: before that, it was written to the packed ones.
            continue
        except OSError:
            return None
        if not OID.fullmatch(text):
            return None
        found[RefName(prefix + name)] = Oid(text.decode("ascii"))
    return found


def packed_refs(repo: Repository, prefix: str) -> tuple[dict[RefName, Oid], Stamp]:
    """Returns the refs below *prefix* that are packed, and what tells this file from a later one."""
    try:
        with (repo.common_dir / "packed-refs").open("rb") as file:
            stamp, data = _stamp(os.fstat(file.fileno())), file.read()
    except FileNotFoundError:
        return {}, (0, 0, 0)
    mark = b" " + os.fsencode(prefix)
    rows = (line.split(b" ", 1) for line in data.split(b"\n") if mark in line and OID.match(line))
    return {RefName(os.fsdecode(row[1])): Oid(row[0].decode("ascii")) for row in rows}, stamp


def packed_stamp(repo: Repository) -> Stamp:
    """Returns what tells the present ``packed-refs`` from others."""
    try:
        return _stamp((repo.common_dir / "packed-refs").stat())
    except FileNotFoundError:
        return 0, 0, 0


def loose_count(repo: Repository, prefix: str) -> int:
    """Returns how many refs right below *prefix* have files of their own, about."""
    folder: Path = repo.common_dir / prefix
    try:
        return sum(1 for _ in os.scandir(folder))
    except OSError:
        return 0


def _stamp(there: os.stat_result) -> Stamp:
    return there.st_ino, there.st_mtime_ns, there.st_size
