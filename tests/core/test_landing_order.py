"""The order in which results land: what is needed first, and as few as can be set aside."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from stratum_git.core.landing_order import landing, propose
from stratum_git.model.graph import TaskGraph

Case = tuple[TaskGraph, tuple[int, ...], list[tuple[int, int]]]


def graph_of(needs: list[set[int]]) -> TaskGraph:
    dependents = [[i for i, mine in enumerate(needs) if other in mine] for other in range(len(needs))]
    rows = tuple(tuple(sorted(mine)) for mine in needs)
    return TaskGraph((), rows, tuple(map(tuple, dependents)), tuple(range(len(needs))))


@st.composite
def cases(draw: st.DrawFn, most: int = 9) -> Case:
    """A graph of which each task needs some before it, the results that are there, and who collides."""
    count = draw(st.integers(1, most))
    few = st.sets(st.integers(0, count - 1), max_size=2)
    needs = [{need for need in draw(few) if need < index} for index in range(count)]
    there = [index for index in range(count) if draw(st.booleans()) or draw(st.booleans())]
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    return graph_of(needs), tuple(there), draw(st.lists(pair, max_size=2 * count))


def rivals_of(indices: tuple[int, ...], pairs: list[tuple[int, int]]) -> dict[int, set[int]]:
    return {i: {b for a, b in (*pairs, *((b, a) for a, b in pairs)) if a == i != b} for i in indices}


def best(case: Case) -> int:
    """Returns how many results can land at most, by trying every set of them."""
    graph, indices, pairs = case
    rivals, most = rivals_of(indices, pairs), 0
    for number in range(1 << len(indices)):
        chosen = {index for at, index in enumerate(indices) if number >> at & 1}
        if len(chosen) > most and all(
            rivals[i].isdisjoint(chosen) and chosen.issuperset(set(graph.needs[i]) & set(indices))
            for i in chosen
        ):
            most = len(chosen)
    return most


@given(cases())
def test_every_result_comes_once_and_after_what_it_needs(case: Case) -> None:
    graph, indices, pairs = case
    order = propose(graph, indices, pairs)
    assert sorted(order) == list(indices)
    place = {index: at for at, index in enumerate(order)}
    assert all(place[need] < place[i] for i in order for need in graph.needs[i] if need in place)


@settings(max_examples=200)
@given(cases())
def test_it_is_never_worse_than_the_order_of_the_graph(case: Case) -> None:
    graph, indices, pairs = case
    rivals = rivals_of(indices, pairs)
    landed = len(landing(graph, propose(graph, indices, pairs), rivals))
    assert len(landing(graph, indices, rivals)) <= landed <= best(case)


@given(cases())
def test_it_depends_on_nothing_but_who_collides(case: Case) -> None:
    graph, indices, pairs = case
    turned = [(b, a) for a, b in reversed(pairs)]
    assert propose(graph, indices, pairs) == propose(graph, indices, turned + pairs)


def test_who_collides_with_many_is_last_and_alone_set_aside() -> None:
    graph = graph_of([set() for _ in range(5)])
    assert propose(graph, range(5), [(0, 1), (0, 2), (0, 4)]) == (1, 2, 3, 4, 0)
    assert propose(graph, range(5), [(0, 1)]) == (0, 1, 2, 3, 4)
    assert propose(graph, range(5), []) == (0, 1, 2, 3, 4)


def test_what_others_build_on_counts_with_them() -> None:
    # 1 collides with two results, but three build on it.
    graph = graph_of([set(), set(), set(), {1}, {1}, {1}])
    assert propose(graph, range(6), [(0, 1), (1, 2)]) == (1, 3, 4, 5, 0, 2)


def test_a_thousand_results_are_ordered_at_once() -> None:
    graph = graph_of([{index - 7} if index % 3 == 0 and index > 7 else set() for index in range(1000)])
    pairs = [(i, j) for i in range(1000) for j in range(i) if (i * 31 + j * 17) % 40 == 0]
    assert sorted(propose(graph, range(1000), pairs)) == list(range(1000))
