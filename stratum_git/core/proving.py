"""Which prefixes of a landing to test next, and what their verdicts come to.

A landing is a queue of items, each on top of those before. A *point* is the prefix that ends with an item,
and names the test that it has to pass; prefixes with the same tree have the same test. What is to be done
follows from the verdicts alone: nothing is remembered here, so it can be asked again after a crash, or when a
verdict was known from elsewhere. A red test is asked for once more before it counts (``suspect``).

Serial and speculative landings test every prefix, in order, the latter several at once: what lies behind a
suspect is tested without it meanwhile. A batch tests the whole, and looks for who is to blame when it is red.
Whoever is dropped was red on top of a prefix that was green.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Colour: TypeAlias = Literal["green", "suspect", "red", "error"]
"""What a test said: it passed, failed once, failed twice, or could not be run."""
Mode: TypeAlias = Literal["serial", "speculative", "batch"]


@dataclass(frozen=True, slots=True)
class Point:
    """The prefix that ends with *item*; ``test`` is ``None`` where there is nothing to test."""

    item: int
    test: str | None


Walk: TypeAlias = Callable[[frozenset[int]], Iterable[Point]]
"""Gives the points of the queue without some of its items, in order; those that change nothing have none."""


@dataclass(frozen=True, slots=True)
class Try:
    """These tests are to be under way now, and no other ones; the first is wanted most."""

    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proven:
    """What is left of the queue passes. ``dropped`` are the items that do not, each with its red test."""

    dropped: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Stuck:
    """It cannot be told: this test could not be run."""

    test: str


@dataclass(frozen=True, slots=True)
class Barren:
    """The test of what the landing starts from is red already, and nothing of the queue mends that."""

    test: str


Step: TypeAlias = Try | Proven | Stuck | Barren


@dataclass
class _Search:
    """A look at the queue, as far as verdicts are known; beyond that it guesses that the likely holds."""

    base: str | None
    walk: Walk
    verdicts: Mapping[str, Colour]
    width: int
    wanted: dict[str, None] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)

    def colour(self, test: str | None) -> Colour | None:
        return "green" if test is None else self.verdicts.get(test)

    def want(self, test: str | None) -> None:
        if test is not None:
            self.wanted[test] = None

    def full(self) -> bool:
        return len(self.wanted) >= self.width

    def drop(self, point: Point) -> None:
        """Leaves an item out: for good when nothing else is wanted, as a guess otherwise."""
        self.dropped[point.item] = point.test or ""

    def blame_on_base(self) -> bool:
        """Returns whether the first point is red without its item too; asks for it to be found out."""
        if self.colour(self.base) in {None, "suspect"}:
            self.want(self.base)
        return self.colour(self.base) == "red"

    def outcome(self, last: Step) -> Step:
        return Try(tuple(self.wanted)[: self.width]) if self.wanted else last


def decide(mode: Mode, base: str | None, walk: Walk, verdicts: Mapping[str, Colour], width: int) -> Step:
    """Returns what is to be done next, with at most *width* tests at a time.

    *base* is the test of what the landing starts from; ``None`` when that is known to be as it should.
    """
    search = _Search(base, walk, verdicts, 1 if mode == "serial" else width)
    return _whole(search) if mode == "batch" else _in_order(search)


def _in_order(search: _Search) -> Step:
    while True:
        found = _first_red(search)
        if not isinstance(found, Point):
            return found
        if search.full():
            return search.outcome(Proven({}))
        search.drop(found)


def _first_red(search: _Search) -> Point | Step:
    """Returns the first point whose item is to blame, or what the walk came to."""
    points, greens, at_base = 0, 0, True
    for point in search.walk(frozenset(search.dropped)):
        colour = search.colour(point.test)
        points += 1
        if colour == "green":
            greens += 1
        elif colour is None:
            search.want(point.test)
        elif colour == "error":
            return search.outcome(Stuck(point.test or ""))
        else:
            if colour == "suspect":
                search.want(point.test)
            if at_base and search.colour(search.base) == "error":
                return search.outcome(Stuck(search.base or ""))
            # Where the base is red, nobody is to blame before something is green.
            if not (at_base and search.blame_on_base()):
                return point
            continue
        at_base = False
        if search.full():
            return search.outcome(Proven({}))
    if points and not greens and search.colour(search.base) == "red":
        return search.outcome(Barren(search.base or ""))
    return search.outcome(Proven(dict(search.dropped)))


def _whole(search: _Search) -> Step:
    while True:
        points = list(search.walk(frozenset(search.dropped)))
        last = search.colour(points[-1].test) if points else "green"
        if last == "green":
            return search.outcome(Proven(dict(search.dropped)))
        if last is None:
            search.want(points[-1].test)
            return search.outcome(Proven({}))
        if last == "error":
            return search.outcome(Stuck(points[-1].test or ""))
        if search.colour(search.base) == "red":
            return _in_order(search)
        found = _bisected(search, points)
        if not isinstance(found, Point):
            return found
        search.drop(found)


def _bisected(search: _Search, points: list[Point]) -> Point | Step:
    """Returns the point that is red right after a green one, or what has to be tested to find it."""
    tests = [search.base, *(point.test for point in points)]
    colours = [search.colour(test) for test in tests]
    high = next(i for i, colour in enumerate(colours) if i and colour in {"red", "suspect"})
    low = max((i for i in range(high) if colours[i] == "green"), default=0)
    between = range(low + 1, high)
    unknown = [i for i in between if colours[i] is None]
    for index in _spread(unknown, search.width):
        search.want(tests[index])
    if between:
        return search.outcome(Stuck(tests[low + 1] or ""))
    if low == 0 and colours[0] == "error":
        return search.outcome(Stuck(search.base or ""))
    if low == 0:
        search.blame_on_base()
    if colours[high] == "suspect":
        search.want(tests[high])
    return search.outcome(Proven({})) if search.full() else points[high - 1]


def _spread(places: list[int], count: int) -> list[int]:
    """Returns at most *count* of *places* that part them evenly."""
    many = min(count, len(places))
    return (
        [places[(n + 1) * len(places) // (many + 1)] for n in range(many)] if many < len(places) else places
    )
