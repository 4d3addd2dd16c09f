import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.taskgraph import commands, read_graph
from stratum_git.model.graph import TaskGraph
from stratum_git.model.ids import Json, TaskId
from stratum_git.model.spec import Command, Problem, Task


def graph_of(value: Json) -> TaskGraph:
    found = read_graph(value)
    assert isinstance(found, TaskGraph), found
    return found


def problems_of(value: Json) -> tuple[Problem, ...]:
    found = read_graph(value)
    assert not isinstance(found, TaskGraph)
    return found


def _row(name: str, *needs: str) -> Json:
    return {"id": name, "depends_on": [*needs]}


def test_a_task_is_read_with_every_field() -> None:
    row: Json = {
        "id": "api",
        "depends_on": [],
        "files_owned": ["src/", "a.py"],
        "agent": "claude",
        "intent": "Do it",
        "timeout": 60,
        "verify": ["make test", ["pytest", "-q"]],
        "changes": "none",
        "mine": {"k": 1},
    }
    assert isinstance(row, dict)
    task = Task(
        id=TaskId("api"),
        fields=row,
        depends_on=(),
        files_owned=("src/", "a.py"),
        agent="claude",
        intent="Do it",
        timeout=60.0,
        verify=(("sh", "-c", "make test"), ("pytest", "-q")),
        changes="none",
    )
    assert graph_of([row]) == TaskGraph((task,), ((),), ((),), (0,))


def test_what_is_left_out_has_its_default() -> None:
    first, second, third = graph_of(
        [
            {"id": "a"},
            {"id": "b", "files_owned": ["x"]},
            {"id": "c", "files_owned": None, "depends_on": None, "changes": None, "verify": []},
        ]
    ).tasks
    assert first == Task(TaskId("a"), {"id": "a"}, changes="optional", verify=None)
    assert second.changes == "required"
    assert (third.changes, third.depends_on, third.verify) == ("optional", (), ())


def test_the_order_is_kahns_first_in_first_out() -> None:
    found = graph_of([_row("d", "c"), _row("a"), _row("b", "a", "a"), _row("c"), _row("e", "b", "d")])
    assert found.needs == ((3,), (), (1,), (), (0, 2))
    assert found.dependents == ((4,), (2,), (4,), (0,), ())
    assert found.order == (1, 3, 2, 0, 4)
    assert found.tasks[2].depends_on == ("a",)


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ({"tasks": []}, "the source is an object, not a list of tasks", "let the source end in .tasks"),
        (
            {"files": [], "tasks": []},
            "the source is an object, not a list of tasks",
            "let the source end in .tasks",
        ),
        ({"items": []}, "the source is an object, not a list of tasks", "let the source end in .items"),
        ({}, "the source is an object, not a list of tasks", "let the source end in a list of tasks"),
        (None, "the source is null, not a list of tasks", "let the source end in a list of tasks"),
        ("x", "the source is a text, not a list of tasks", "let the source end in a list of tasks"),
        (3, "the source is a number, not a list of tasks", "let the source end in a list of tasks"),
        (True, "the source is a yes or no, not a list of tasks", "let the source end in a list of tasks"),
        ([], "the task graph is empty", "a planner returns at least one task"),
    ],
)
def test_what_is_no_list_of_tasks_is_refused(value: Json, message: str, hint: str) -> None:
    assert problems_of(value) == (Problem("", message, hint=hint),)


def test_a_graph_over_the_limit_is_refused() -> None:
    found = read_graph([_row("a"), _row("b"), _row("c")], limit=2)
    hint = "let a task do more, or plan in several steps"
    assert found == (Problem("", "the task graph has 3 tasks; the limit is 2", hint=hint),)
    assert isinstance(read_graph([_row("a"), _row("b")], limit=2), TaskGraph)


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("a/b", 'the id "a/b" has a slash in it', "for example a-b"),
        ("a\\b", 'the id "a\\\\b" has a slash in it', "for example a-b"),
        ("add api", 'the id "add api" has a space in it', "for example add-api"),
        ("a\n", 'the id "a\\n" has a space in it', "for example a"),
        ("a\x00", 'the id "a\\u0000" has a control character in it', "for example a"),
        ("-rf", 'the id "-rf" begins with a dash', "for example rf"),
        (".x", 'the id ".x" begins with a dot', "for example x"),
        ("_x", 'the id "_x" begins with a underscore', "for example x"),
        ("café", 'the id "café" has a character that is not ASCII in it', "for example cafe"),
        ("日本", 'the id "日本" has a character that is not ASCII in it', "for example task-1"),
        ("a..b", 'the id "a..b" has two dots in a row', "for example a.b"),
        ("a.lock", 'the id "a.lock" ends in .lock', "for example a"),
        ("a.", 'the id "a." ends in a dot', "for example a"),
        ("a:b", 'the id "a:b" has : in it', "for example a-b"),
        ("a~1", 'the id "a~1" has ~ in it', "for example a-1"),
        ("", 'the id "" is empty', "for example task-1"),
        ("x" * 65, f'the id "{"x" * 65}" is longer than 64 characters', f"for example {'x' * 64}"),
        (None, "the task has no id", ""),
        (7, "the id is a number, not a text", 'write "7"'),
        ({}, "the id is an object, not a text", ""),
    ],
)
def test_an_id_that_cannot_name_a_ref_or_folder_is_refused(value: Json, message: str, hint: str) -> None:
    assert problems_of([{"id": value}]) == (Problem("tasks.0.id", message, hint=hint),)


@pytest.mark.parametrize("name", ["a", "A", "0", "a.b", "a_b-c", "x" * 64, "v1.2", "lock", "a.lock.b"])
def test_other_ids_are_accepted(name: str) -> None:
    assert graph_of([{"id": name}]).tasks[0].id == name


@given(st.text(max_size=80))
def test_the_id_that_a_hint_proposes_is_accepted(name: str) -> None:
    found = read_graph([{"id": name}])
    if not isinstance(found, TaskGraph):
        assert isinstance(read_graph([{"id": found[0].hint.removeprefix("for example ")}]), TaskGraph)


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({"depends_on": "b"}, "depends_on", "depends_on is not a list of texts"),
        ({"depends_on": [1]}, "depends_on", "depends_on is not a list of texts"),
        ({"files_owned": "src"}, "files_owned", "files_owned is not a list of texts"),
        ({"files_read": [None]}, "files_read", "files_read is not a list of texts"),
        (
            {"files_owned": ["/etc"]},
            "files_owned",
            '"/etc" cannot be owned: it is absolute; paths are relative to the repository',
        ),
        (
            {"files_owned": [".git/hooks"]},
            "files_owned",
            '".git/hooks" cannot be owned: it is inside of .git',
        ),
        ({"agent": 1}, "agent", "agent is a number, not a text"),
        ({"agent": " "}, "agent", "agent is blank"),
        ({"intent": ["x"]}, "intent", "intent is a list, not a text"),
        ({"timeout": 0}, "timeout", "timeout is 0, not a number of seconds above 0"),
        ({"timeout": True}, "timeout", "timeout is true, not a number of seconds above 0"),
        ({"timeout": "5"}, "timeout", 'timeout is "5", not a number of seconds above 0'),
        ({"timeout": float("inf")}, "timeout", "timeout is Infinity, not a number of seconds above 0"),
        ({"timeout": 10**60}, "timeout", f"timeout is {10**60}, not a number of seconds above 0"),
        ({"verify": 1}, "verify", "verify is no command"),
        ({"verify": ""}, "verify", "verify is no command"),
        ({"verify": [[]]}, "verify", "verify is no command"),
        ({"changes": "maybe"}, "changes", 'changes is "maybe", not one of required, optional, none'),
        ({"changes": []}, "changes", "changes is a list, not one of required, optional, none"),
    ],
)
def test_a_field_of_the_wrong_kind_is_told(row: dict[str, Json], field: str, message: str) -> None:
    (problem,) = problems_of([{"id": "a", **row}])
    assert (problem.path, problem.message) == (f"tasks.0.{field}", message)


def test_all_problems_are_told_at_once() -> None:
    found = problems_of(
        [
            "x",
            {"id": "a/b", "timeout": -1},
            _row("api"),
            _row("API", "apii", "API"),
            _row("api"),
            _row("p", "q", "zzzzz"),
            _row("q", "p"),
        ]
    )
    assert [(p.path, p.message, p.hint) for p in found] == [
        ("tasks.0", "the task is a text, not an object", 'such as {"id": "api"}'),
        ("tasks.1.id", 'the id "a/b" has a slash in it', "for example a-b"),
        ("tasks.1.timeout", "timeout is -1, not a number of seconds above 0", ""),
        ("tasks.3.id", 'the id "API" differs from "api" only in case (tasks 2 and 3)', ""),
        ("tasks.4.id", 'the id "api" is used twice (tasks 2 and 4)', ""),
        ("tasks.3.depends_on", '"API" depends on "apii", which is no task', "did you mean api?"),
        ("tasks.3.depends_on", '"API" depends on itself', ""),
        ("tasks.5.depends_on", '"p" depends on "zzzzz", which is no task', ""),
        ("", "tasks depend on each other in a circle: p -> q -> p", "take one of these dependencies away"),
    ]


def test_a_cycle_is_named_in_the_direction_of_its_needs() -> None:
    rows = [
        _row("x", "a"),
        _row("a", "b"),
        _row("b", "free", "c"),
        _row("c", "a"),
        _row("free"),
        _row("y", "x"),
    ]
    assert [p.message for p in problems_of(rows)] == [
        "tasks depend on each other in a circle: a -> b -> c -> a"
    ]


def test_cycles_apart_from_each_other_are_each_named() -> None:
    rows = [_row("a", "b"), _row("b", "a"), _row("c", "d"), _row("d", "c"), _row("e", "a", "c")]
    assert [p.message for p in problems_of(rows)] == [
        "tasks depend on each other in a circle: a -> b -> a",
        "tasks depend on each other in a circle: c -> d -> c",
    ]


def test_a_long_cycle_is_named_in_short() -> None:
    rows = [_row(f"t{i}", f"t{(i + 1) % 100}") for i in range(100)]
    (problem,) = problems_of(rows)
    assert problem.message == (
        "tasks depend on each other in a circle: "
        "t0 -> t1 -> t2 -> t3 -> t4 -> t5 -> ... -> t96 -> t97 -> t98 -> t99 -> t0"
    )


EDGES = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n), st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30)
    )
)


@given(EDGES, st.randoms(use_true_random=False))
def test_the_order_of_an_acyclic_graph_respects_every_need(
    edges: tuple[int, set[tuple[int, int]]], shuffle: st.DataObject
) -> None:
    count, pairs = edges
    found = graph_of(
        [_row(f"t{i}", *(f"t{b}" for a, b in sorted(pairs) if a == i and b < i)) for i in range(count)]
    )
    assert sorted(found.order) == list(range(count))
    place = {task: position for position, task in enumerate(found.order)}
    for task, needs in enumerate(found.needs):
        assert all(place[need] < place[task] for need in needs)
        assert all(task in found.dependents[need] for need in needs)
        assert [found.tasks[need].id for need in needs] == sorted(
            found.tasks[task].depends_on, key=lambda t: int(t[1:])
        )
    assert sum(map(len, found.dependents)) == sum(map(len, found.needs))


@given(EDGES)
def test_a_cycle_that_is_named_is_one(edges: tuple[int, set[tuple[int, int]]]) -> None:
    count, pairs = edges
    pairs = {(a, b) for a, b in pairs if a != b}
    found = read_graph([_row(f"t{i}", *(f"t{b}" for a, b in sorted(pairs) if a == i)) for i in range(count)])
    if isinstance(found, TaskGraph):
        return
    for problem in found:
        names = problem.message.removeprefix("tasks depend on each other in a circle: ").split(" -> ")
        assert names[0] == names[-1]
        if "..." not in names:
            assert len(set(names)) == len(names) - 1
            for one, other in pairwise(names):
                assert (int(one[1:]), int(other[1:])) in pairs


@pytest.mark.parametrize(
    "rows",
    [
        [_row(f"t{i}", *([f"t{i - 1}"] if i else [])) for i in range(10_000)],
        [_row(f"t{i}", *([f"t{i + 1}"] if i < 9999 else [])) for i in range(10_000)],
        [_row(f"t{i}", f"t{(i + 1) % 10_000}") for i in range(10_000)],
        [_row(f"t{i}", f"u{i}") for i in range(10_000)],
        [_row("same") for i in range(10_000)],
    ],
    ids=["chain", "backwards", "cycle", "unknown", "duplicates"],
)
def test_ten_thousand_tasks_are_read_quickly(rows: list[Json]) -> None:
    before = time.process_time()
    read_graph(rows)
    assert time.process_time() - before < 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "depends_on",
                    "files_owned",
                    "agent",
                    "intent",
                    "timeout",
                    "verify",
                    "changes",
                    "tasks",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(JSON)
def test_any_value_is_a_graph_or_has_problems(value: Json) -> None:
    found = read_graph(value)
    assert isinstance(found, TaskGraph) or found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("make test", (("sh", "-c", "make test"),)),
        (["a b", ["c", "d e"]], (("sh", "-c", "a b"), ("c", "d e"))),
        ([["printf", ""]], (("printf", ""),)),
        ([], ()),
        ("  ", None),
        ([""], None),
        ([["", "a"]], None),
        ([["a", 1]], None),
        ("a\0b", None),
        ({"run": "a"}, None),
        (None, None),
    ],
)
def test_commands_are_shell_lines_or_lists_of_words(value: Json, found: tuple[Command, ...] | None) -> None:
    assert commands(value) == found
