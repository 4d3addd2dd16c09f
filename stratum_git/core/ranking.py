"""Which of several candidates is the best, and why, in words.

By what became of it, then by how many other results its own conflicts with, then by the size of its change
(lines, then files), then by what it cost, then by its number. Candidates with the same files are one: they
stand where the best of them stands. Nothing depends on the order in which they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from stratum_git.core.contest import number_of
from stratum_git.model.choosing import Judgement, Ranked
from stratum_git.model.ids import TaskId

JUDGEMENTS: tuple[Judgement, ...] = get_args(Judgement)
"""What became of a candidate, best first."""
MEASURES: Mapping[str, tuple[str, float]] = {
    "usd": ("cost {} USD", 1.0),
    "tokens": ("took {} tokens", 1.0),
    "ms": ("took {} s", 1000.0),
}
"""What a candidate cost, the measure that says most first. Costs in different measures cannot be compared."""

Key = tuple[int, int, int, int, float, int]


def ranked(facts: Sequence[Ranked]) -> tuple[Ranked, ...]:
    """Returns candidates, the best first, with their ranks and reasons. One of them at least is verified."""
    measure = _measure(facts)
    rest = [one for one in facts if one.judgement != "verified"]
    groups: dict[object, list[Ranked]] = {}
    for one in sorted((one for one in facts if one.judgement == "verified"), key=lambda o: _key(o, measure)):
        groups.setdefault(one.tree or one.task, []).append(one)
    places = list(groups.values())
    first = places[0][0]
    found = [replace(first, rank=1, reason=_praise(places, measure))]
    for rank, group in enumerate(places, start=1):
        for one in group:
            if one is not first:
                why = f"{first.task} was chosen: {_reproach(first, one, measure)}"
                found.append(replace(one, rank=rank, reason=why))
    left = sorted(rest, key=lambda one: _key(one, measure))
    return (*found, *(replace(one, rank=None) for one in left))


def reasons(ranking: Sequence[Ranked]) -> dict[TaskId, str]:
    """Returns why each candidate was chosen, or was not."""
    return {one.task: one.reason for one in ranking}


def _key(one: Ranked, measure: str | None) -> Key:
    return (
        JUDGEMENTS.index(one.judgement),
        len(one.collisions),
        one.lines,
        one.files,
        _cost(one, measure),
        number_of(one.task) or 0,
    )


def _measure(facts: Sequence[Ranked]) -> str | None:
    """Returns the measure in which the costs of all verified candidates are known, if there is one."""
    standing = [one for one in facts if one.judgement == "verified"]
    return next((name for name in MEASURES if all(_is_number(one.usage.get(name)) for one in standing)), None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def _cost(one: Ranked, measure: str | None) -> float:
    value = 0.0 if measure is None else one.usage.get(measure)
    return float(value) if isinstance(value, int | float) and _is_number(value) else 0.0


def _praise(places: Sequence[Sequence[Ranked]], measure: str | None) -> str:
    """Returns why the first is the best."""
    best, *same = places[0]
    twins = f"; {_listed(same)} {'has' if len(same) == 1 else 'have'} the same files" if same else ""
    if len(places) > 1:
        other = places[1][0]
        return f"it {_difference(best, other, measure, other.task)}{twins}"
    return f"all that passed have the same files: {_listed([best, *same])}" if same else "no other one passed"


def _reproach(best: Ranked, one: Ranked, measure: str | None) -> str:
    """Returns why another one was not taken."""
    what = _difference(best, one, measure, "this one")
    same = best.tree is not None and best.tree == one.tree
    return f"the files are the same, and it {what}" if same else f"it {what}"


def _difference(best: Ranked, other: Ranked, measure: str | None, name: str) -> str:
    """Returns the first thing in which *best* is better, as what it does."""
    if len(best.collisions) != len(other.collisions):
        few, many = len(best.collisions), len(other.collisions)
        return f"conflicts with {_counted(few, 'other result')}, {name} with {many} ({_names(other)})"
    if best.lines != other.lines:
        return f"changes {_counted(best.lines, 'line')}, {name} {other.lines}"
    if best.files != other.files:
        return f"changes {_counted(best.files, 'file')}, {name} {other.files}"
    if measure is not None and _cost(best, measure) != _cost(other, measure):
        words, unit = MEASURES[measure]
        less, more = (f"{_cost(one, measure) / unit:.10g}" for one in (best, other))
        return f"{words.format(less)}, {name} {more}"
    return f"has the lower number, {name} being as good"


def _names(one: Ranked) -> str:
    more = len(one.collisions) - 3
    return ", ".join(one.collisions[:3]) + (f" and {more} more" if more > 0 else "")


def _listed(found: Sequence[Ranked]) -> str:
    return ", ".join(one.task for one in found)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
