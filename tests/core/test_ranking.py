"""Which candidate is the best: one order, whatever way round they are given, and the reason for it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.ranking import ranked
from stratum_git.model.choosing import Ranked
from stratum_git.model.ids import Json, Oid, TaskId

A, B = Oid("a" * 40), Oid("b" * 40)
JUDGEMENTS = ("verified", "failed", "stopped")


def one(number: int, **facts: object) -> Ranked:
    found: dict[str, object] = {"judgement": "verified", "tree": Oid(f"{number:040}"), "files": 1, "lines": 5}
    return Ranked(TaskId(f"x@{number}"), **(found | facts))  # type: ignore[arg-type]


def against(*names: str) -> tuple[TaskId, ...]:
    return tuple(map(TaskId, names))


@st.composite
def contests(draw: st.DrawFn) -> list[Ranked]:
    count = draw(st.integers(1, 6))
    found = []
    for number in range(1, count + 1):
        tree = draw(st.sampled_from([A, B, None]))
        usage: dict[str, Json] = {
            name: draw(st.integers(0, 2) | st.floats(0, 2))
            for name in draw(st.sets(st.sampled_from(["usd", "tokens", "ms"])))
        }
        # The same files collide with the same results, and differ from the base by as much.
        few = {A: 0, B: 1}.get(tree) if tree else draw(st.integers(0, 2))
        judgement = "verified" if number == 1 else draw(st.sampled_from(JUDGEMENTS))
        facts = {"tree": tree, "collisions": against(*"pqr"[:few]), "files": few, "lines": few}
        found.append(one(number, judgement=judgement, usage=usage, **facts))
    return found


@given(contests(), st.randoms(use_true_random=False))
def test_the_order_is_one_and_the_same(facts: list[Ranked], dice: object) -> None:
    again = list(facts)
    dice.shuffle(again)  # type: ignore[attr-defined]

    ranking = ranked(facts)

    assert ranked(again) == ranking
    assert sorted(r.task for r in ranking) == sorted(f.task for f in facts)
    assert all(r.reason for r in ranking if r.judgement == "verified")


@given(contests())
def test_better_comes_before_worse(facts: list[Ranked]) -> None:
    ranking = ranked(facts)

    assert ranking[0].rank == 1
    assert ranking[0].judgement == "verified"
    assert [r.judgement for r in ranking] == sorted((r.judgement for r in ranking), key=JUDGEMENTS.index)
    good = [r for r in ranking if r.judgement == "verified"]
    facts_in_order = [(len(r.collisions), r.lines, r.files) for r in good]
    assert facts_in_order == sorted(facts_in_order)
    places = {r.rank: {g.tree for g in good if g.rank == r.rank} for r in good}
    assert sorted(place for place in places if place) == list(range(1, len(places) + 1))
    assert all(len(trees) == 1 for trees in places.values())
    assert all(r.rank is None for r in ranking if r.judgement != "verified")


@given(contests(), st.integers(0, 5))
def test_who_lost_changes_nothing_by_staying_away(facts: list[Ranked], place: int) -> None:
    # But for what it cost: with fewer, a measure may be known for all that says more.
    free = [dataclasses.replace(fact, usage={}) for fact in facts]
    best = ranked(free)[0].task

    fewer = [fact for index, fact in enumerate(free) if index != place or fact.task == best]

    assert ranked(fewer)[0].task == best


@pytest.mark.parametrize(
    ("first", "second", "winner", "why", "why_not"),
    [
        (
            one(1, collisions=against("p", "q"), lines=1),
            one(2, lines=900),
            "x@2",
            "it conflicts with 0 other results, x@1 with 2 (p, q)",
            "x@2 was chosen: it conflicts with 0 other results, this one with 2 (p, q)",
        ),
        (
            one(1, lines=9),
            one(2, lines=1, files=7),
            "x@2",
            "it changes 1 line, x@1 9",
            "x@2 was chosen: it changes 1 line, this one 9",
        ),
        (
            one(1, files=2, usage={"usd": 0.1}),
            one(2, usage={"usd": 9}),
            "x@2",
            "it changes 1 file, x@1 2",
            "x@2 was chosen: it changes 1 file, this one 2",
        ),
        (
            one(1, usage={"usd": 0.3, "ms": 1}),
            one(2, usage={"usd": 0.25, "ms": 9}),
            "x@2",
            "it cost 0.25 USD, x@1 0.3",
            "x@2 was chosen: it cost 0.25 USD, this one 0.3",
        ),
        (
            one(1, usage={"usd": 0.1, "ms": 9000}),
            one(2, usage={"ms": 1500}),
            "x@2",
            "it took 1.5 s, x@1 9",
            "x@2 was chosen: it took 1.5 s, this one 9",
        ),
        (
            one(1),
            one(2),
            "x@1",
            "it has the lower number, x@2 being as good",
            "x@1 was chosen: it has the lower number, this one being as good",
        ),
        (
            one(1, tree=A, usage={"tokens": 1200000}),
            one(2, tree=A, usage={"tokens": 900}),
            "x@2",
            "all that passed have the same files: x@2, x@1",
            "x@2 was chosen: the files are the same, and it took 900 tokens, this one 1200000",
        ),
    ],
)
def test_the_reason_is_the_first_thing_that_differs(
    first: Ranked, second: Ranked, winner: str, why: str, why_not: str
) -> None:
    best, other = ranked([first, second])

    assert (best.task, best.reason, other.reason) == (winner, why, why_not)


def test_the_same_files_are_one_and_named_together() -> None:
    facts = [one(1, tree=A, lines=3), one(2, tree=B, lines=1), one(3, tree=B, lines=1)]

    ranking = ranked([*facts, one(4, judgement="failed", tree=None, reason="verify: no")])

    assert [(r.task, r.rank) for r in ranking] == [("x@2", 1), ("x@3", 1), ("x@1", 2), ("x@4", None)]
    assert ranking[0].reason == "it changes 1 line, x@1 3; x@3 has the same files"
    assert ranking[3].reason == "verify: no"


def test_who_alone_passed_is_taken_and_that_is_why() -> None:
    ranking = ranked([one(1, judgement="failed", lines=0), one(2, lines=900)])

    assert (ranking[0].task, ranking[0].reason) == ("x@2", "no other one passed")
