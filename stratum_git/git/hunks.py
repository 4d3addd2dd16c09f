"""Where the three versions of a text conflict, as small as that can be told.

The text is cut into regions: what all three have alike, what one side changed, what both changed alike, and
what both changed differently. Of the last ones, lines that both sides begin or end with are cut off. Which
lines belong together a diff decides, so git's own borders can lie elsewhere; that every line of each version
is in exactly one region does not depend on it. Pure: bytes in, regions out.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["same", "ours", "theirs", "both", "conflict"]
Lines: TypeAlias = Sequence[bytes]

LINE = re.compile(rb"[^\n]*\n|[^\n]+")
LARGEST = 1024 * 1024
"""Bytes of a version that is compared line by line."""
MANY = 40_000
"""Pairs of lines that are compared where none is there only once; more are taken to differ."""


@dataclass(frozen=True, slots=True)
class Span:
    """Lines of one version, from line *start* on, counted from 0, up to *end*, which is not one of them."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """Returns how many lines it has."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the text in its three versions."""

    kind: Kind
    base: Span
    ours: Span
    theirs: Span


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of one version in a hunk; ``start`` counts from 1, also where there are none."""

    start: int
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Hunk:
    """What conflicts: the lines of each version, and the lines around them that both sides have alike."""

    base: Part
    ours: Part
    theirs: Part
    before: tuple[bytes, ...] = ()
    after: tuple[bytes, ...] = ()


def is_text(*versions: bytes) -> bool:
    """Returns whether versions can be compared line by line."""
    return all(b"\0" not in one and len(one) <= LARGEST for one in versions)


def hunks_of(base: bytes, ours: bytes, theirs: bytes, context: int = 0) -> tuple[Hunk, ...]:
    """Returns the conflicts of three versions in the order of the text, each with *context* lines around it.

    Where git finds a conflict and this finds none, what differs is one hunk.
    """
    before, mine, other = map(lines_of, (base, ours, theirs))
    found = [one for one in regions(before, mine, other) if one.kind == "conflict"]
    if not found and mine != other:
        found = [_whole(before, mine, other)]
    return tuple(_hunk(_trimmed(one, mine, other), (before, mine, other), context) for one in found)


def lines_of(version: bytes) -> tuple[bytes, ...]:
    """Returns the lines of a version with their ends, as git counts them."""
    return tuple(LINE.findall(version))


def regions(base: Lines, ours: Lines, theirs: Lines) -> tuple[Region, ...]:
    """Returns the regions of three versions: together they are all of each version, in order."""
    mine, other = _matches(base, ours), _matches(base, theirs)
    found: list[Region] = []
    at = (0, 0, 0)
    for line in range(len(base) + 1):
        is_end = line == len(base)
        if not is_end and (line not in mine or line not in other):
            continue
        to = (line, len(ours), len(theirs)) if is_end else (line, mine[line], other[line])
        if at != to:
            found.append(_region(at, to, base, ours, theirs))
        if not is_end:
            at = (to[0] + 1, to[1] + 1, to[2] + 1)
            found.append(Region("same", *_spans(to, at)))
    return tuple(_joined(found))


def _region(
    at: tuple[int, int, int], to: tuple[int, int, int], base: Lines, ours: Lines, theirs: Lines
) -> Region:
    spans = _spans(at, to)
    was, mine, other = (
        tuple(one[span.start : span.end]) for one, span in zip((base, ours, theirs), spans, strict=True)
    )
    if mine == other:
        kind: Kind = "both"
    elif other == was:
        kind = "ours"
    else:
        kind = "theirs" if mine == was else "conflict"
    return Region(kind, *spans)


def _joined(found: Sequence[Region]) -> Iterator[Region]:
    """Yields regions with neighbours that are the same in all versions made one."""
    last: Region | None = None
    for one in found:
        if last is not None and last.kind == one.kind == "same":
            pairs = ((last.base, one.base), (last.ours, one.ours), (last.theirs, one.theirs))
            last = Region("same", *(Span(a.start, b.end) for a, b in pairs))
            continue
        if last is not None:
            yield last
        last = one
    if last is not None:
        yield last


def _matches(old: Lines, new: Lines) -> dict[int, int]:
    """Returns which line of *new* a line of *old* is, in order.

    Lines that are there once in both come first, and then what is between these: that is what people take for
    the same, and its time does not explode as that of a diff of lines that come up again and again.
    """
    found: dict[int, int] = {}
    todo = [(Span(0, len(old)), Span(0, len(new)))]
    while todo:
        a, b = todo.pop()
        start, end = _alike(old[a.start : a.end], new[b.start : b.end])
        found |= {a.start + n: b.start + n for n in range(start)}
        found |= {a.end - n: b.end - n for n in range(1, end + 1)}
        a, b = Span(a.start + start, a.end - end), Span(b.start + start, b.end - end)
        anchors = _anchors(old, new, a, b)
        found |= dict(anchors)
        if anchors:
            ends = [(a.start - 1, b.start - 1), *anchors, (a.end, b.end)]
            todo += [(Span(x + 1, p), Span(y + 1, q)) for (x, y), (p, q) in pairwise(ends)]
        elif a.size * b.size <= MANY:
            blocks = SequenceMatcher(None, old[a.start : a.end], new[b.start : b.end], autojunk=False)
            for x, y, size in blocks.get_matching_blocks():
                found |= {a.start + x + n: b.start + y + n for n in range(size)}
    return found


def _anchors(old: Lines, new: Lines, a: Span, b: Span) -> list[tuple[int, int]]:
    """Returns the longest row of lines that are there once in both parts, and in the same order."""
    here, there = (Counter(one[span.start : span.end]) for one, span in ((old, a), (new, b)))
    place = {new[line]: line for line in range(b.start, b.end) if there[new[line]] == 1}
    pairs = [(n, place[old[n]]) for n in range(a.start, a.end) if here[old[n]] == 1 and old[n] in place]
    tops: list[int] = []
    last: list[int] = []
    before: list[int | None] = []
    for number, (_, line) in enumerate(pairs):
        at = bisect_left(tops, line)
        before.append(last[at - 1] if at else None)
        tops[at : at + 1], last[at : at + 1] = [line], [number]
    found: list[tuple[int, int]] = []
    at_last = last[-1] if last else None
    while at_last is not None:
        found.append(pairs[at_last])
        at_last = before[at_last]
    return found[::-1]


def _alike(one: Lines, other: Lines) -> tuple[int, int]:
    """Returns how many lines two texts have alike at their beginning, and then at their end."""
    most = min(len(one), len(other))
    start = next((n for n in range(most) if one[n] != other[n]), most)
    left = most - start
    end = next((n for n in range(left) if one[-1 - n] != other[-1 - n]), left)
    return start, end


def _whole(base: Lines, ours: Lines, theirs: Lines) -> Region:
    """Returns all that is between the beginning and the end that the three versions have alike."""
    start = min(_alike(base, ours)[0], _alike(base, theirs)[0])
    rest = [one[start:] for one in (base, ours, theirs)]
    end = min(_alike(rest[0], rest[1])[1], _alike(rest[0], rest[2])[1])
    return Region("conflict", *(Span(start, len(one) - end) for one in (base, ours, theirs)))


def _trimmed(one: Region, ours: Lines, theirs: Lines) -> Region:
    """Returns a conflict without the lines that both sides begin or end with; the base keeps its own."""
    mine, other = one.ours, one.theirs
    start, end = _alike(ours[mine.start : mine.end], theirs[other.start : other.end])
    return Region(
        one.kind,
        one.base,
        Span(mine.start + start, mine.end - end),
        Span(other.start + start, other.end - end),
    )


def _hunk(one: Region, versions: tuple[Lines, Lines, Lines], context: int) -> Hunk:
    spans = (one.base, one.ours, one.theirs)
    base, ours, theirs = (
        Part(span.start + 1, tuple(lines[span.start : span.end]))
        for lines, span in zip(versions, spans, strict=True)
    )
    mine = versions[1]
    return Hunk(
        base,
        ours,
        theirs,
        before=tuple(mine[max(0, one.ours.start - context) : one.ours.start]),
        after=tuple(mine[one.ours.end : one.ours.end + context]),
    )


def _spans(at: tuple[int, int, int], to: tuple[int, int, int]) -> tuple[Span, Span, Span]:
    base, ours, theirs = (Span(a, b) for a, b in zip(at, to, strict=True))
    return base, ours, theirs
