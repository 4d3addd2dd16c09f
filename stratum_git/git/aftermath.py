"""What a power cut leaves behind: git flushes little, so files that were written just before may be empty.

Nothing that was acknowledged is among them. But an empty object stays in the way for ever: git takes it for
there, and the same content, written again, is not. So once per boot whatever cannot be whole is set aside:
loose objects, and of what is ours alone the branches, indexes and registrations of slots. What the user's own
git left damaged otherwise is not touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from stratum_git.errors import HostError
from stratum_git.git.deregistration import is_going
from stratum_git.git.repository import Repository
from stratum_git.git.torn_files import restore_torn

BOOT = Path("/proc/sys/kernel/random/boot_id")
OWN_REFS = ("refs/heads/stratum", "refs/stratum")
OWN_ENTRY = re.compile(r"slot-[0-9a-f]{8}")
HEX = re.compile(r"[0-9a-f]{2}")
VALUE = re.compile(rb"(ref: .+|[0-9a-f]{40}|[0-9a-f]{64})\n")
NEEDED = ("HEAD", "commondir", "gitdir")
AT_RISK = 3600.0
"""Seconds before the last object was written from which on objects are read: a kernel writes after thirty."""


def mend_after_boot(repo: Repository) -> tuple[str, ...]:
    """Sets aside what a power cut damaged, once for each boot of the machine; returns what that was."""
    marker, boot = repo.common_dir / "stratum" / "boot", _boot()
    try:
        if not boot or _is_marked(marker, boot):
            return ()
        aside = _Aside(repo.common_dir, repo.common_dir / "stratum" / "damaged")
        for path in (*_torn_objects(repo), *_torn_refs(repo), *_torn_slots(repo)):
            aside.move(path)
        if aside.moved:
            aside.moved += _cut_off(repo)
        for checkout in _slots_at_risk(repo):
            aside.moved += [str(checkout / name) for name in restore_torn(repo, checkout)]
        marker.parent.mkdir(exist_ok=True)
        fresh = marker.with_name(f"boot.{os.getpid()}")
        fresh.write_text(boot, encoding="ascii")
        fresh.rename(marker)
    except OSError as error:
        raise HostError(f"{repo.common_dir} cannot be looked through: {error}") from error
    return tuple(aside.moved)


class _Aside:
    """Takes damaged files away, and keeps them for whoever wants to look."""

    def __init__(self, root: Path, place: Path) -> None:
        self._root, self._place = root, place
        self.moved: list[str] = []

    def move(self, path: Path) -> None:
        name = path.relative_to(self._root)
        target = self._place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Somebody else may do the same at this moment.
        with contextlib.suppress(FileNotFoundError):
            if target.is_dir():
                target = target.with_name(f"{target.name}.{os.getpid()}.{len(self.moved)}")
            path.replace(target)
            self.moved.append(str(name))


def is_whole(path: Path, object_format: str) -> bool:
    """Returns whether the loose object at *path* is what its name says."""
    reader, digest = zlib.decompressobj(), hashlib.new(object_format, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                digest.update(reader.decompress(data))
        digest.update(reader.flush())
    except zlib.error:
        return False
    except FileNotFoundError:
        return True
    return reader.eof and digest.hexdigest() == path.parent.name + path.name


def _boot() -> str:
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _is_marked(marker: Path, boot: str) -> bool:
    try:
        return marker.read_text(encoding="ascii", errors="replace") == boot
    except FileNotFoundError:
        return False


def _torn_objects(repo: Repository) -> Iterator[Path]:
    folder = repo.common_dir / "objects"
    found: list[tuple[float, int, str]] = []
    for fan in sorted(name for name in os.listdir(folder) if HEX.fullmatch(name)):  # noqa: PTH208 - names
        with os.scandir(folder / fan) as rows:
            whole = [row for row in rows if not row.name.startswith("tmp_")]
            found += [(row.stat().st_mtime, row.stat().st_size, row.path) for row in whole]
    since = max((at for at, _, _ in found), default=0.0) - AT_RISK
    for at, size, path in found:
        if size == 0 or (at >= since and not is_whole(Path(path), repo.object_format)):
            yield Path(path)


def _torn_refs(repo: Repository) -> Iterator[Path]:
    for prefix in OWN_REFS:
        for logged in ("", "logs/"):
            yield from _torn_below(repo.common_dir / f"{logged}{prefix}", is_log=bool(logged))


def _torn_below(folder: Path, *, is_log: bool) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".lock":
            data = path.read_bytes()
            if b"\0" in data or not (is_log or VALUE.fullmatch(data)):
                yield path


def _torn_slots(repo: Repository) -> Iterator[Path]:
    for entry in sorted((repo.common_dir / "worktrees").glob("slot-*")):
        if not OWN_ENTRY.fullmatch(entry.name) or is_going(repo, entry):
            continue
        if any(not _text(entry / name) for name in NEEDED):
            # Whoever needs the slot makes it a new one.
            yield entry
        elif not _is_index(entry / "index", repo.object_format):
            yield entry / "index"


def _slots_at_risk(repo: Repository) -> list[Path]:
    """Returns the slots that were checked out, or worked in, shortly before the last of them was."""
    found = []
    for entry in sorted((repo.common_dir / "worktrees").glob("slot-*")):
        place = Path(os.fsdecode(_text(entry / "gitdir"))).parent
        if OWN_ENTRY.fullmatch(entry.name) and (place / ".git").is_file():
            if not _text(place / ".git"):
                (place / ".git").write_bytes(b"gitdir: " + os.fsencode(entry) + b"\n")
            found.append((max(path.stat().st_mtime for path in entry.iterdir()), place))
    since = max((at for at, _ in found), default=0.0) - AT_RISK
    return [place for at, place in found if at >= since]


def _text(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes().strip(b"\0\n")
    return b""


def _is_index(path: Path, object_format: str) -> bool:
    """Returns whether an index is whole, or none; a checksum of zeros is one that git was told to skip."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return True
    size = 20 if object_format == "sha1" else 32
    if len(data) < 12 + size or data[:4] != b"DIRC":
        return False
    digest = hashlib.new(object_format, data[:-size], usedforsecurity=False).digest()
    return data[-size:] in {digest, bytes(size)}


def _cut_off(repo: Repository) -> list[str]:
    """Deletes branches of tasks whose commits are not whole, and returns them."""
    gone = []
    said = repo.git.run("for-each-ref", "--format=%(refname)", OWN_REFS[0]).stdout
    for ref in os.fsdecode(said).split("\n")[:-1]:
        asked = ("rev-list", "--objects", "--quiet", ref, "--not", "--glob=refs/stratum/flows")
        if repo.git.run(*asked, ok=(0, 1, 128)).code:
            repo.git.run("update-ref", "-d", ref, ok=(0, 1, 128))
            gone.append(ref)
    return gone
