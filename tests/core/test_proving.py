"""Which prefixes are tested, and what lands: for any red set, in every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum_git.core.proving import Barren, Colour, Mode, Point, Proven, Step, Stuck, Try, decide

MODES: tuple[Mode, ...] = ("serial", "speculative", "batch")
BASE = "base"


def named(items: tuple[int, ...]) -> str:
    return "+".join(map(str, items)) or BASE


@dataclass
class Laboratory:
    """Runs tests as a shell would: those that are wanted, of which any may end first."""

    count: int
    is_red: Callable[[frozenset[int]], bool]
    mode: Mode = "speculative"
    width: int = 4
    flaky: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    seen: dict[str, Colour] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    rounds: int = 0

    def walk(self, dropped: frozenset[int]) -> Iterator[Point]:
        items: tuple[int, ...] = ()
        for item in range(self.count):
            if item not in dropped:
                items += (item,)
                yield Point(item, named(items))

    def decide(self) -> Step:
        return decide(self.mode, BASE, self.walk, self.seen, self.width)

    def run(self, choose: Callable[[tuple[str, ...]], int] = lambda _: 0, *, together: bool = True) -> Step:
        """Goes on until there is nothing to be tested; *choose* says which of the tests ends next."""
        while isinstance(step := self.decide(), Try):
            assert 0 < len(step.tests) <= self.width
            assert len(set(step.tests)) == len(step.tests)
            self.rounds += 1
            ended = step.tests if together else (step.tests[choose(step.tests) % len(step.tests)],)
            for test in ended:
                self._end(test)
        return step

    def _end(self, test: str) -> None:
        assert self.seen.get(test) in {None, "suspect"}, f"{test} is known"
        self.runs[test] = self.runs.get(test, 0) + 1
        items = frozenset() if test == BASE else frozenset(map(int, test.split("+")))
        if test in self.broken:
            self.seen[test] = "error"
        elif not self.is_red(items) and (test not in self.flaky or self.runs[test] > 1):
            self.seen[test] = "green"
        else:
            self.seen[test] = "red" if self.seen.get(test) == "suspect" else "suspect"


def landed(lab: Laboratory, step: Step) -> tuple[int, ...]:
    assert isinstance(step, Proven), step
    return tuple(item for item in range(lab.count) if item not in step.dropped)


@st.composite
def red_sets(draw: st.DrawFn) -> tuple[int, list[frozenset[int]]]:
    """How many items there are, and the sets of them, of one or two, that are red together."""
    count = draw(st.integers(1, 9))
    items = st.integers(0, count - 1)
    return count, draw(st.lists(st.frozensets(items, min_size=1, max_size=2), max_size=4))


def greedy(count: int, bad: list[frozenset[int]]) -> tuple[int, ...]:
    """What is left when each item is tried in turn on top of those before."""
    kept: tuple[int, ...] = ()
    for item in range(count):
        if not any(group <= {*kept, item} for group in bad):
            kept += (item,)
    return kept


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=60)
@given(
    case=red_sets(), width=st.integers(1, 5), order=st.randoms(use_true_random=False), flake=st.integers(0, 9)
)
def test_what_lands_is_the_largest_that_passes(
    mode: Mode, case: tuple[int, list[frozenset[int]]], width: int, order: object, flake: int
) -> None:
    count, bad = case
    everything = tuple(range(count))
    lab = Laboratory(
        count,
        lambda items: any(group <= items for group in bad),
        mode,
        width,
        flaky=frozenset({named(everything[: flake + 1])}),
    )
    step = lab.run(lambda tests: order.randrange(len(tests)), together=False)  # type: ignore[attr-defined]

    kept = landed(lab, step)
    assert kept == greedy(count, bad)
    # The target only points at what passed: nothing, or the whole of what is left.
    assert not kept or lab.seen[named(kept)] == "green"
    assert all(lab.seen[test] == "red" for test in step.dropped.values())  # type: ignore[union-attr]
    # What is red is tested twice, to be certain, and nothing else is but what was flaky.
    for test, times in lab.runs.items():
        assert times <= (2 if lab.seen[test] != "green" or test in lab.flaky else 1)
    culprits = count - len(kept)
    bounds = {
        "serial": count + culprits + 3,
        "speculative": (count + width + 2) * (culprits + 1) + 3,
        "batch": (culprits + 1) * (3 + width * count.bit_length()) + 4,
    }
    assert sum(lab.runs.values()) <= bounds[mode]


@pytest.mark.parametrize("mode", MODES)
def test_a_target_that_is_red_already_is_nobodys_fault(mode: Mode) -> None:
    lab = Laboratory(3, lambda _: True, mode)
    assert lab.run() == Barren(BASE)


@pytest.mark.parametrize("mode", MODES)
def test_who_mends_a_red_target_lands_with_what_is_before_him(mode: Mode) -> None:
    lab = Laboratory(4, lambda items: 2 not in items or 3 in items, mode)
    assert landed(lab, lab.run()) == (0, 1, 2)


@pytest.mark.parametrize("mode", MODES)
def test_what_cannot_be_told_drops_nobody(mode: Mode) -> None:
    lab = Laboratory(3, lambda items: 1 in items, mode, broken=frozenset({"0+1", "0+1+2"}))
    assert isinstance(lab.run(), Stuck)


def test_what_cannot_be_told_behind_a_culprit_does_not_matter() -> None:
    lab = Laboratory(3, lambda items: 1 in items, broken=frozenset({"0+1+2"}))
    assert landed(lab, lab.run()) == (0, 2)


def test_nothing_to_test_lands() -> None:
    assert decide("speculative", BASE, lambda _: iter(()), {}, 4) == Proven({})
    untested = [Point(0, None), Point(1, None)]
    assert decide("speculative", None, lambda _: untested, {}, 4) == Proven({})


@pytest.mark.parametrize(("culprit", "rounds"), [(0, 4), (1, 3), (2, 3), (3, 3), (4, 3), (7, 3)])
def test_a_culprit_costs_one_round_of_the_slots(culprit: int, rounds: int) -> None:
    lab = Laboratory(8, lambda items: culprit in items)
    lab.run()
    assert lab.rounds == rounds
    one = Laboratory(8, lambda items: culprit in items, "serial")
    one.run()
    assert one.rounds >= 9


def test_a_batch_that_passes_is_tested_once() -> None:
    lab = Laboratory(50, lambda _: False, "batch")
    lab.run()
    assert lab.runs == {named(tuple(range(50))): 1}


def test_a_batch_finds_its_culprit_in_few_tests() -> None:
    lab = Laboratory(64, lambda items: 40 in items, "batch", width=1)
    assert len(landed(lab, lab.run())) == 63
    assert sum(lab.runs.values()) <= 1 + 6 + 1 + 1


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=60)
@given(count=st.integers(1, 6), red=st.sets(st.frozensets(st.integers(0, 5)), max_size=20))
def test_whatever_is_red_the_target_only_points_at_green(
    mode: Mode, count: int, red: set[frozenset[int]]
) -> None:
    lab = Laboratory(count, lambda items: items in red, mode)
    step = lab.run()
    if isinstance(step, Barren):
        assert lab.seen[BASE] == "red"
        return
    kept = landed(lab, step)
    assert not kept or lab.seen[named(kept)] == "green"
