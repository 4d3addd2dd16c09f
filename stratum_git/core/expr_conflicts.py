"""Which tasks of a graph may run at once although they own common files.

Two patterns can only meet when the literal beginning of one is the beginning of the other, so each pattern
looks up its own beginnings. A task's relatives are the bits of one number. Both keep ten thousand tasks
within a second, whatever shape the graph has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from stratum_git.core.paths import literal_head, overlap
from stratum_git.core.topology import kahn
from stratum_git.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """A task: the tasks that it waits for, by their index, and the patterns of the files that it owns."""

    needs: tuple[int, ...]
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two tasks, the earlier one first, and for each the pattern that meets one of the other's."""

    first: int
    second: int
    patterns: tuple[str, str]


def conflicts(
    owners: Sequence[Owner], step: Callable[[int], None], limit: int
) -> tuple[Conflict, ...] | None:
    """Returns the first *limit* conflicts, or ``None`` when the tasks wait for each other in a circle.

    *step* is told how much work is done and may raise to end it.
    """
    kin = _kin(owners)
    if kin is None:
        return None
    holders: dict[str, list[int]] = {}
    for task, owner in enumerate(owners):
        for pattern in dict.fromkeys(owner.patterns):
            holders.setdefault(pattern, []).append(task)
    found: dict[tuple[int, int], Conflict] = {}
    for mine, other in _meetings(list(holders), step):
        for conflict in _clashes(mine, other, holders, kin, step):
            found.setdefault((conflict.first, conflict.second), conflict)
            if len(found) == limit:
                return tuple(found.values())
    return tuple(found.values())


def _kin(owners: Sequence[Owner]) -> list[int] | None:
    """Returns, for each task, the bits of itself and of all that it waits for or that wait for it."""
    order = kahn({task: owner.needs for task, owner in enumerate(owners)})
    if len(order) < len(owners):
        return None
    above, below = [0] * len(owners), [0] * len(owners)
    for task in order:
        for need in owners[task].needs:
            above[task] |= above[need] | 1 << need
    for task in reversed(order):
        for need in owners[task].needs:
            below[need] |= below[task] | 1 << task
    return [up | down | 1 << task for task, (up, down) in enumerate(zip(above, below, strict=True))]


def _meetings(patterns: Sequence[str], step: Callable[[int], None]) -> Iterator[tuple[str, str]]:
    """Yields each two patterns that may stand for a common file, a pattern with itself included."""
    heads: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for place, pattern in enumerate(patterns):
        heads.setdefault(literal_head(pattern), []).append((place, pattern))
    for place, pattern in enumerate(patterns):
        head = literal_head(pattern)
        for length in range(len(head) + 1):
            for other_place, other in heads.get(head[:length], ()):
                # Of two with one beginning each would find the other.
                if length == len(head) and other_place > place:
                    continue
                step(1)
                if overlap(pattern, other):
                    yield pattern, other


def _clashes(
    mine: str, other: str, holders: dict[str, list[int]], kin: Sequence[int], step: Callable[[int], None]
) -> Iterator[Conflict]:
    step(len(holders[mine]) + len(holders[other]))
    theirs = sum(1 << task for task in holders[other])
    for task in holders[mine]:
        strangers = theirs & ~kin[task]
        while strangers:
            stranger = (strangers & -strangers).bit_length() - 1
            strangers &= strangers - 1
            if task < stranger:
                yield Conflict(task, stranger, (mine, other))
            else:
                yield Conflict(stranger, task, (other, mine))
