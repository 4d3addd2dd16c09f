"""Rules of ``.gitignore`` and ``.gitattributes``, read as far as to tell which say nothing of a path.

What a rule that may match comes to, only git knows. But most paths are matched by none, and to be sure of
that takes no process. Each part of a pattern is looked for among all names of the path, wherever the pattern
is from, and whatever is not a plain character of it stands for anything: so more may match here than does.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from functools import lru_cache

from stratum_git.model.values import dataclass, field

IGNORING, ATTRIBUTES = ".gitignore", ".gitattributes"
PLAIN = re.compile(r"[\w.+@=,-]+(?:/[\w.+@=,-]+)*", re.ASCII)
"""Paths that are written in rules as they are."""
CONVERTING = (b"filter", b"working-tree-encoding")
"""Attributes by which an object is not what lies in the file, whatever that is."""
MACRO = b"[attr]"
UTF_8 = b"\xef\xbb\xbf"
SPECIAL = re.compile(rb"(\\.|[*?\\])", re.DOTALL)
SET = re.compile(rb"\[[!^]?[^]/[\\!^][^]/[\\]*\]")
"""Of characters one of which is there."""
OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LARGEST = 1 << 20
LONGEST = 2000
"""Bytes of a line from which on git takes it for two, or for none, as its version is."""
KEPT = 256


class Unclear(Exception):  # noqa: N818 - reads as what is the matter
    """Rules that are not read here, or a file of this name that is none."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Patterns of a file: ``names`` and ``shapes`` for one name of a path, ``parts`` for several at once."""

    names: frozenset[bytes]
    shapes: re.Pattern[bytes] | None
    parts: tuple[tuple[re.Pattern[bytes], ...], ...]

    def may_match(self, names: Iterable[bytes]) -> bool:
        """Returns whether one of the patterns may match a path of these names, or a folder above it."""
        every = tuple(names)
        if any(name in self.names or (self.shapes and self.shapes.fullmatch(name)) for name in every):
            return True
        return any(all(any(map(one.fullmatch, every)) for one in parts) for parts in self.parts)


@dataclass
class Surroundings:
    """The rules that hold in a checkout at ``top``: those in its folders, and those ``outside`` of these."""

    top: str
    name: str
    outside: tuple[str, ...]
    _found: dict[str, Rules | None] = field(default_factory=dict)

    def say_nothing(self, path: str) -> bool:
        """Returns whether certainly no rule matches *path*, or a folder above it; raises Unclear."""
        names = os.fsencode(path).split(b"/")
        return bool(PLAIN.fullmatch(path)) and not any(rules.may_match(names) for rules in self._around(path))

    def has_rules(self, folder: str) -> bool:
        """Returns whether there is a file of rules in *folder*, which ends in a slash or is empty."""
        return self._read(f"{self.top}/{folder}{self.name}") is not None

    def _around(self, path: str) -> Iterator[Rules]:
        places = (f"{self.top}/{folder}{self.name}" for folder in folders_above(path))
        return (rules for place in (*self.outside, *places) if (rules := self._read(place)) is not None)

    def _read(self, place: str) -> Rules | None:
        if place not in self._found:
            data = contents(place)
            read = ignoring if self.name == IGNORING else converting
            self._found[place] = None if data is None else read(data)
        return self._found[place]


def folders_above(path: str) -> Iterator[str]:
    """Yields the folders around a path, the innermost first, each with a slash; the last one is empty."""
    end = path.rfind("/")
    while end > 0:
        yield path[: end + 1]
        end = path.rfind("/", 0, end)
    yield ""


def contents(place: str) -> bytes | None:
    """Returns what is in a file of rules, ``None`` if there is none; raises Unclear."""
    try:
        handle = os.open(place, OPEN)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unclear(place) from error
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > LARGEST:
            raise Unclear(place)
        return os.read(handle, LARGEST)
    finally:
        os.close(handle)


@lru_cache(KEPT)
def ignoring(data: bytes) -> Rules:
    """Returns the patterns by which files are ignored; raises Unclear."""
    return _rules(line for line in _lines(data) if not line.startswith(b"!"))


@lru_cache(KEPT)
def converting(data: bytes) -> Rules:
    """Returns the patterns of what may be converted, other than its line ends and ids; raises Unclear."""
    if MACRO in data:
        raise Unclear("an attribute that stands for others")
    if any(len(line) > LONGEST for line in data.split(b"\n")):
        raise Unclear("a long line")
    lines = (line for line in _lines(data) if any(word in line for word in CONVERTING))
    # One in quotes may have blanks in it.
    return _rules(b"*" if line.startswith((b'"', b"!")) else line.split(None, 1)[0] for line in lines)


def _lines(data: bytes) -> Iterator[bytes]:
    if b"\0" in data:
        raise Unclear("rules with a character that ends them")
    for line in data.removeprefix(UTF_8).split(b"\n"):
        pattern = line.strip(b" \t\r")
        if pattern and not pattern.startswith(b"#"):
            yield pattern


def _rules(patterns: Iterable[bytes]) -> Rules:
    names: set[bytes] = set()
    shapes: list[bytes] = []
    parts: list[tuple[re.Pattern[bytes], ...]] = []
    for pattern in patterns:
        simple = SET.sub(b"?", pattern)
        # What is in other brackets may be a slash.
        words = [word for word in simple.split(b"/") if word not in {b"", b"**"} and b"[" not in simple]
        words = words or [b"*"]
        if len(words) > 1:
            parts.append(tuple(re.compile(_shape(word), re.DOTALL) for word in words))
        elif SPECIAL.search(words[0]):
            shapes.append(_shape(words[0]))
        else:
            names.add(words[0])
    every = re.compile(b"|".join(shapes), re.DOTALL) if shapes else None
    return Rules(frozenset(names), every, tuple(parts))


def _shape(word: bytes) -> bytes:
    plain, *rest = SPECIAL.split(word)
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return re.escape(plain) + b"".join(
        (b"." if one == b"?" else b".*") + re.escape(text) for one, text in pairs
    )
