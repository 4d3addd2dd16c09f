"""Merge drivers: programs that merge three versions of one file as git would have them do, started by us.

A driver is given copies in a folder of its own, and leaves its result in the one called ``%A``. It is held
and bounded as agents are. Nothing that it does is an error of ours: where it does not end well, or leaves
markers, the file is not mended, and that is told.

``%O`` ``%A`` ``%B`` are the file as it was, as it is on the target and in the result; ``%P`` is its path in
the repository, ``%L`` the length of markers.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

import trio

from stratum_git.agents.base import DriverSpec
from stratum_git.agents.command import inherited
from stratum_git.agents.output import plain
from stratum_git.agents.supervise import Exit, Exited, Signalled, TimedOut, Unstartable, supervise
from stratum_git.errors import HostError

T = TypeVar("T")

MERGIRAF = "mergiraf"
MERGES = ("merge", "--git", "%O", "%A", "%B", "--path-name=%P")
LARGEST = 8 * 1024 * 1024
LOG = 1024 * 1024
MARKERS = re.compile(rb"^(?:<{7,}|\|{7,}|>{7,})(?: .*)?\r?$", re.MULTILINE)
SUFFIX = re.compile(r"\.[A-Za-z0-9_]{1,16}")
OUTSIDE = ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR")
"""Where programs leave things for themselves: that is thrown away with the copies."""


@dataclass(frozen=True, slots=True)
class Versions:
    """A file that conflicts: its path, and what is in it on each side."""

    path: str
    base: bytes
    ours: bytes
    theirs: bytes


@dataclass(frozen=True, slots=True)
class Mended:
    """What a driver made of a file."""

    by: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Unmended:
    """A driver did not help, and why."""

    by: str
    why: str


@dataclass
class Drivers:
    """The drivers of a run. Each is asked what it knows once; one that hangs is not asked again."""

    specs: Sequence[DriverSpec]
    environment: Mapping[str, str]
    _known: dict[str, tuple[DriverSpec, str]] = field(default_factory=dict, repr=False)
    _hanging: set[str] = field(default_factory=set, repr=False)

    def mend(self, file: Versions, folder: Path) -> tuple[Mended | None, tuple[Unmended, ...]]:
        """Has drivers merge *file* until one can, in *folder*, which is empty; says which ones could not."""
        failed: list[Unmended] = []
        for number, spec in enumerate(self.specs):
            if spec.name in self._hanging:
                continue
            place = folder / str(number)
            place.mkdir(mode=0o700)
            known, by = self._acquainted(spec, place)
            if not known.fits(file.path):
                continue
            found = self._asked(known, by, file, place)
            if isinstance(found, Mended):
                return found, tuple(failed)
            failed.append(found)
        return None, tuple(failed)

    def _acquainted(self, spec: DriverSpec, place: Path) -> tuple[DriverSpec, str]:
        """Returns a driver with the files that it knows, and what it calls itself."""
        found = self._known.get(spec.name)
        if found is None:
            files = (*spec.files, *_patterns(self._said(spec, spec.asks, place)))
            by = plain(self._said(spec, spec.version, place).partition(b"\n")[0]) or spec.name
            known = DriverSpec(spec.name, spec.command, files, spec.timeout)
            found = self._known[spec.name] = (known, by)
        return found

    def _said(self, spec: DriverSpec, command: Sequence[str], place: Path) -> bytes:
        ended = None if not command else self._run(command, place, spec.timeout)
        if isinstance(ended, TimedOut):
            self._hanging.add(spec.name)
        return ended.tail if isinstance(ended, Exited) and ended.code == 0 else b""

    def _asked(self, spec: DriverSpec, by: str, file: Versions, place: Path) -> Mended | Unmended:
        suffix = PurePosixPath(file.path).suffix
        ending = suffix if SUFFIX.fullmatch(suffix) else ""
        names = {"%O": f"base{ending}", "%A": f"ours{ending}", "%B": f"theirs{ending}"}
        for name, data in zip(names.values(), (file.base, file.ours, file.theirs), strict=True):
            (place / name).write_bytes(data)
        # A name that begins so would be taken for an option.
        path = f"./{file.path}" if file.path.startswith("-") else file.path
        words = names | {"%P": path, "%L": "7", "%%": "%"}
        command = [re.sub("%[OABPL%]", lambda found: words[found[0]], word) for word in spec.command]
        ended = self._run(command, place, spec.timeout)
        if isinstance(ended, TimedOut):
            self._hanging.add(spec.name)
        why = _failure(ended)
        if why is not None:
            return Unmended(by, why)
        content = _content(place / names["%A"])
        wrong = "it left no file" if content is None else _flaw(file, content)
        return Unmended(by, wrong) if wrong or content is None else Mended(by, content)

    def _run(self, command: Sequence[str], place: Path, timeout: float) -> Exit | str:
        environment = {
            **inherited(self.environment),
            **{name: str(place / "own") for name in OUTSIDE},
            # Wherever that folder is: a git of the driver's finds no repository around it.
            "GIT_CEILING_DIRECTORIES": str(place.parent),
        }
        (place / "own").mkdir(mode=0o700, exist_ok=True)
        log = place.parent / f"{place.name}.log"
        work = partial(
            supervise, command, cwd=place, env=environment, log=log, timeout=timeout, log_limit=LOG
        )
        try:
            return waited_for(work)
        except HostError as error:
            return error.message


def found_on(path: str, apart_from: Path) -> DriverSpec | None:
    """Returns mergiraf where it is on *path*; not one in a checkout, where anybody's results lie."""
    program = shutil.which(MERGIRAF, path=path)
    if program is None or not Path(program).is_absolute():
        return None
    if Path(program).resolve().is_relative_to(apart_from.resolve()):
        return None
    asks = (program, "languages", "--gitattributes")
    return DriverSpec(MERGIRAF, (program, *MERGES), asks=asks, version=(program, "--version"))


def has_markers(content: bytes, *known: bytes) -> bool:
    """Returns whether there are conflict markers in *content* that none of *known* has."""
    return bool(set(MARKERS.findall(content)) - {line for one in known for line in MARKERS.findall(one)})


def waited_for(work: Callable[[], Awaitable[T]]) -> T:
    """Does asynchronous work from a thread: in the run that the thread belongs to, or in one of its own."""
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return trio.run(work)
    return trio.from_thread.run(work)


def _patterns(said: bytes) -> tuple[str, ...]:
    rows = (line.split() for line in said.decode("utf-8", "replace").splitlines())
    return tuple(row[0] for row in rows if len(row) == 2 and row[1].startswith("merge="))


def _failure(ended: Exit | str) -> str | None:
    match ended:
        case str():
            return ended
        case Exited(code=0):
            return None
        case Exited(code=code):
            return f"it exited with {code}"
        case Signalled(signal=number):
            return f"it was ended by signal {number}"
        case TimedOut(after=after):
            return f"it took more than {after:g} s"
        case Unstartable(reason=reason):
            return f"it could not be started: {reason}"


def _content(path: Path) -> bytes | None:
    """Returns the bytes of a file that a driver left, be it what it may."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > LARGEST:
            return None
        return file.read(LARGEST)


def _flaw(file: Versions, content: bytes) -> str:
    """Returns what is wrong with a result, if anything can be seen to be."""
    if has_markers(content, file.base, file.ours, file.theirs):
        return "it left conflict markers"
    if _line_ends(content) - _line_ends(file.ours) - _line_ends(file.theirs):
        return "it changed the ends of lines"
    return ""


def _line_ends(content: bytes) -> set[str]:
    pairs = content.count(b"\r\n")
    return {*(["crlf"] if pairs else []), *(["lf"] if content.count(b"\n") > pairs else [])}
