"""Makes few packs of the many small ones that events are written to.

Eight of one size become one of the next, so there are never more than some forty, and an object is copied
some five times, however many events there are. A pack is whole and on the disk before what it was made from
goes; who dies between leaves objects twice. The largest are packed by git, which stores what changed only.
When they are old nobody keeps them any more: they are packs as any others then, and ``git gc`` joins them.

Only packs with our name and a ``.keep`` are touched. What is in them is copied, whether a ref has it or not:
somebody may be about to name it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import ParamSpec

from stratum_git.errors import StratumError
from stratum_git.git.flushing import flush
from stratum_git.git.pack_writer import MARK, adopt, place
from stratum_git.git.packs import NotOurPackError, entries_of, names_of, packed, packs_in_index
from stratum_git.git.repository import Repository
from stratum_git.git.scratch import quoted
from stratum_git.model.values import dataclass

P = ParamSpec("P")

WIDTH = 8
"""Packs of a level that become one of the next."""
DEEP = 3
"""The level from which on git packs: eight times eight times eight events, and it takes a process."""
LAST = 5
"""The level whose packs become no larger."""
SETTLED = 3600.0
"""Seconds after which what is in a pack that nobody keeps has a ref, or never will."""
SMALL = 8 * 1024 * 1024
"""Bytes that are joined in process."""
CONFIG = (
    "pack.writeReverseIndex=false",
    "pack.packSizeLimit=0",
    "pack.indexVersion=2",
    "core.bigFileThreshold=16m",
)
ASIDE = "packing-"
"""How the folders begin in which git makes packs."""
NAME = re.compile(rf"(pack-{MARK}([0-9])[0-9a-f]+)\.(pack|idx|keep|pack-new|idx-new)")

_waiting: set[Path] = set()
_waiting_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Listed:
    """A pack of ours: its path without an ending, how often it was put together, which files it has."""

    path: Path
    level: int
    endings: frozenset[str]

    @property
    def is_whole(self) -> bool:
        """Returns whether it is complete, and kept: one that nobody keeps is git's."""
        return self.endings >= {"idx", "pack", "keep"}

    @property
    def changed(self) -> float:
        """Returns when it was made; 0.0 for one that has nothing but a ``.keep``."""
        # Looked at now: who lists a folder while a pack is made may see its last file and not its first.
        found = [0.0]
        for ending in ("pack-new", "pack", "idx-new", "idx"):
            with suppress(FileNotFoundError):
                found.append(self.file(ending).stat().st_mtime)
        return max(found)

    def is_older(self, seconds: float, now: float) -> bool:
        """Returns whether it was made more than *seconds* before *now*."""
        return now - self.changed > seconds

    def is_left(self, now: float) -> bool:
        """Returns whether whoever made it, or deleted it, was killed in the middle."""
        return not self.is_whole and self.is_older(SETTLED, now) and not self.file("idx").exists()

    def file(self, ending: str) -> Path:
        """Returns one of its files."""
        return self.path.with_name(f"{self.path.name}.{ending}")

    def delete(self) -> None:
        """Deletes it: first the index, by which git knows it."""
        for ending in ("idx", "idx-new", "pack", "pack-new", "keep"):
            self.file(ending).unlink(missing_ok=True)


def compact(repo: Repository, *, small: int = SMALL) -> int:
    """Joins packs of which there are enough; returns how many are gone. Whoever else is at it does all.

    What is larger than *small*, in bytes, git joins.
    """
    with alone(repo, wait=False) as now:
        return 0 if now is None else _compact(repo, now, small)


def compact_soon(repo: Repository) -> None:
    """Does so in the background. What stands in its way, the next one meets as well."""
    with _waiting_lock:
        if repo.common_dir in _waiting:
            return
        _waiting.add(repo.common_dir)
    _pool().submit(_compact_now, repo)


def compact_at_last(repo: Repository) -> None:
    """Does so now, after what was begun in the background: nothing of that goes on when this returns."""
    background(_compact_now, repo)()


def background(work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> Callable[[], None]:
    """Does *work* after what was begun so before; returns what waits for it."""
    return _pool().submit(work, *args, **kwargs).result


def _compact_now(repo: Repository) -> None:
    with _waiting_lock:
        _waiting.discard(repo.common_dir)
    with suppress(StratumError, OSError):
        # Nothing is lost: what is not joined stays as it is, and whoever writes next is told what is wrong.
        compact(repo)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="packs")


def let_go(repo: Repository) -> int:
    """Leaves all packs to git that are so old that whatever is needed of them has a ref; returns how many."""
    with alone(repo, wait=True) as now:
        old = [pack for pack in _packs(repo) if pack.is_whole and pack.is_older(SETTLED, now or 0.0)]
        for pack in old:
            pack.file("keep").unlink(missing_ok=True)
        return len(old)


def _compact(repo: Repository, now: float, small: int) -> int:
    gone = 0
    for level in range(LAST):
        some = [pack for pack in _packs(repo) if pack.level == level and pack.is_whole]
        for start in range(0, len(some) - WIDTH + 1, WIDTH):
            gone += _join(repo, some[start : start + WIDTH], level + 1, small)
    for pack in _packs(repo):
        if pack.is_left(now):
            pack.delete()
        elif pack.is_whole and pack.level == LAST and pack.is_older(SETTLED, now):
            pack.file("keep").unlink(missing_ok=True)
    return gone


def _join(repo: Repository, packs: Sequence[Listed], level: int, small: int) -> int:
    if level >= DEEP or sum(pack.file("pack").stat().st_size for pack in packs) > small:
        indexes = (pack.file("idx").read_bytes() for pack in packs)
        names = [oid for index in indexes for oid in names_of(index, repo.object_format)]
        made = packed_by_git(repo, names, level)
    else:
        entries: dict[str, bytes] = {}
        for pack in packs:
            pair = pack.file("pack").read_bytes(), pack.file("idx").read_bytes()
            entries.update(entries_of(*pair, repo.object_format))
        made = place(repo, packed(entries, repo.object_format), level, durable=True)
    flush([made.parent])
    named = packs_in_index(made.parent)
    for pack in packs:
        if named is None or f"{pack.path.name}.idx" in named:
            # What a multi-pack-index speaks of must be there: git deletes it when it has written another.
            pack.file("keep").unlink(missing_ok=True)
        else:
            pack.delete()
    return len(packs)


def packed_by_git(repo: Repository, names: Iterable[str], level: int) -> Path:
    """Has git make a pack of these objects; returns its path without an ending. The caller is alone."""
    wanted = dict.fromkeys(names)
    for left in (repo.common_dir / "stratum").glob(f"{ASIDE}*"):
        # Of one who was killed at it: nobody else is at it now.
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=repo.common_dir / "stratum", prefix=ASIDE) as folder:
        asked = ("pack-objects", "-q", "--threads=1", "--delta-base-offset", f"{folder}/pack")
        stdin = "".join(f"{oid}\n" for oid in wanted).encode()
        # What git began and could not end, on a full disk above all, it leaves where it writes.
        store = quoted(repo.common_dir / "objects")
        env = {"GIT_OBJECT_DIRECTORY": folder, "GIT_ALTERNATE_OBJECT_DIRECTORIES": store}
        done = repo.git.run(*asked, stdin=stdin, config=CONFIG, env=env, gently=True)
        said = done.stdout.decode().split()
        made = Path(folder, f"pack-{said[0] if said else ''}")
        index = made.with_suffix(".idx").read_bytes()
        if len(said) != 1 or {*names_of(index, repo.object_format)} != {*wanted}:
            raise NotOurPackError("git made another pack than it was asked for")
        return adopt(repo, made, level)


@contextmanager
def alone(repo: Repository, *, wait: bool) -> Iterator[float | None]:
    """Keeps others from joining packs; gives the time by the disk's clock, ``None`` when others are at it."""
    path = repo.common_dir / "stratum" / "packing"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        is_ours = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            is_ours = False
        os.utime(handle)
        yield os.fstat(handle).st_mtime if is_ours else None
    finally:
        os.close(handle)


def _packs(repo: Repository) -> list[Listed]:
    """Returns the packs of ours, oldest first."""
    folder = repo.common_dir / "objects" / "pack"
    found: dict[str, set[str]] = {}
    levels: dict[str, int] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        ours = NAME.fullmatch(path.name)
        if ours is not None:
            found.setdefault(ours[1], set()).add(ours[3])
            levels[ours[1]] = int(ours[2])
    packs = [Listed(folder / name, levels[name], frozenset(endings)) for name, endings in found.items()]
    return sorted(packs, key=lambda pack: (pack.changed, pack.path))
