from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.order import Cycle, fifo_order
from stratum_git.core.topology import circles
from stratum_git.model.ids import StepId
from stratum_git.model.spec import Dispatch, Inline, Step


def step(name: str, *needs: str, source: str | None = None, **inputs: str) -> Step:
    work = Inline("do it") if source is None else Dispatch(source, "do {task.id}")
    return Step(StepId(name), work, inputs=inputs, depends_on=tuple(map(StepId, needs)))


def names(*words: str) -> tuple[StepId, ...]:
    return tuple(map(StepId, words))


def test_the_queue_is_seeded_and_scanned_in_the_order_of_declaration() -> None:
    steps = (step("a"), step("b", "a"), step("c"), step("d", "c"))
    assert fifo_order(steps) == names("a", "c", "b", "d")


def test_a_step_runs_after_a_later_declared_one_that_it_needs() -> None:
    assert fifo_order((step("b", "a"), step("a"))) == names("a", "b")


def test_inputs_and_source_are_dependencies_too() -> None:
    steps = (
        step("run", source="$.steps.plan.output.tasks"),
        step("sum", x="$.steps.run.output", y="plain text"),
        step("plan"),
    )
    assert fifo_order(steps) == names("plan", "run", "sum")


def test_a_text_that_only_speaks_of_a_step_is_no_dependency() -> None:
    assert fifo_order((step("b", x="see $.steps.a.output"), step("a"))) == names("b", "a")


def test_a_need_named_twice_counts_once() -> None:
    assert fifo_order((step("a"), step("b", "a", "a", x="$.steps.a.output"))) == names("a", "b")


def test_a_need_that_is_no_step_is_left_aside() -> None:
    assert fifo_order((step("a", "nowhere"),)) == names("a")


def test_of_steps_with_the_same_id_the_first_one_counts() -> None:
    assert fifo_order((step("a"), step("b"), step("a", "b"))) == names("a", "b")


def test_there_is_an_order_of_nothing() -> None:
    assert fifo_order(()) == ()


def test_a_cycle_is_named_from_its_first_step_round() -> None:
    steps = (step("first", "c"), step("a", "b"), step("b", "c"), step("c", "a"))
    assert fifo_order(steps) == Cycle(names("a", "b", "c", "a"))


def test_a_step_that_needs_itself_is_a_cycle() -> None:
    assert fifo_order((step("a", "a"),)) == Cycle(names("a", "a"))


def test_every_separate_circle_is_found() -> None:
    needs = {"a": ("b",), "b": ("a",), "c": ("d", "f"), "d": ("c", "a"), "e": ("e",), "f": ()}
    assert list(circles(needs)) == [("a", "b", "a"), ("c", "d", "c"), ("e", "e")]


def test_a_chain_of_ten_thousand_steps_has_an_order_and_no_recursion() -> None:
    ids = [f"s{i}" for i in range(10_000)]
    chain = tuple(step(name, *ids[i + 1 : i + 2]) for i, name in enumerate(ids))
    assert fifo_order(chain) == names(*reversed(ids))
    ring = (*chain[:-1], step(ids[-1], ids[0]))
    assert fifo_order(ring) == Cycle(names(*ids, ids[0]))


@given(st.lists(st.lists(st.integers(0, 11), max_size=4), max_size=12))
def test_an_order_keeps_every_need_and_a_cycle_is_true(needs: list[list[int]]) -> None:
    known = [[str(need) for need in found if need < len(needs)] for found in needs]
    found = fifo_order(tuple(step(str(i), *mine) for i, mine in enumerate(known)))
    if isinstance(found, Cycle):
        assert found.path[0] == found.path[-1]
        assert len(set(found.path)) == len(found.path) - 1
        assert all(b in known[int(a)] for a, b in zip(found.path, found.path[1:], strict=False))
        return
    place = {name: index for index, name in enumerate(found)}
    assert len(place) == len(needs)
    assert all(place[StepId(need)] < place[StepId(str(i))] for i, mine in enumerate(known) for need in mine)
