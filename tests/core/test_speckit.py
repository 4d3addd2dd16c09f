"""Task files to specs: what a line may become, and that it never becomes code."""

from __future__ import annotations

import ast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.expr import refusal
from stratum_git.core.parse import load_spec
from stratum_git.core.speckit import collision, compile_tasks, read_task, step_id
from stratum_git.core.speckit_fan_out import compile_fan_out
from stratum_git.core.taskgraph import read_graph
from stratum_git.core.template import Rendered, render
from stratum_git.model.graph import TaskGraph
from stratum_git.model.spec import Dispatch, Inline, Spec, Step

# Without what ends a line to Python and not to YAML.
ANY = st.text(st.characters(codec="utf-8", exclude_characters="\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"))


@pytest.mark.parametrize(
    ("stem", "wanted"),
    [("01-setup", "t01_setup"), ("Set Up!", "set_up"), ("___", "task"), ("é", "task"), ("a.b", "a_b")],
)
def test_a_file_s_name_becomes_an_id(stem: str, wanted: str) -> None:
    assert step_id(stem) == wanted


@pytest.mark.parametrize(
    ("criterion", "ensure"),
    [
        ("file src/app.py exists", 'file_exists("src/app.py")'),
        ('file README.md contains "hello"', 'file_contains("README.md", "hello")'),
        ("file README.md contains 'a b'", 'file_contains("README.md", "a b")'),
        ("file README.md contains hello", 'file_contains("README.md", "hello")'),
        ("file src/__init__.py exists", 'file_exists("src/__init__.py")'),
        (f"file {'x' * 5000} exists", None),
        ("all tests pass", "result.tests_pass == True"),
        ("no lint errors", "result.lint_clean == True"),
        ("lint passes", "result.lint_clean == True"),
        ("code reads well", None),
        ("file a.py exists.", None),
        ('file "a.py" exists', 'file_exists("a.py")'),
        ("__import__('os').system('x')", None),
        ('file x")or(file_exists("y exists', 'file_exists("x\\")or(file_exists(\\"y")'),
    ],
)
def test_a_criterion_becomes_an_expression_or_is_left_to_judgment(criterion: str, ensure: str | None) -> None:
    task = read_task("x", f"# T\n## Acceptance Criteria\n- [ ] {criterion}\n")
    assert (task.ensures, task.judgment) == (((ensure,), ()) if ensure else ((), (criterion,)))


@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=4))
def test_whatever_stands_in_the_files_the_spec_is_one(files: list[tuple[str, str]]) -> None:
    tasks = [read_task(f"{n}-{name}", text) for n, (name, text) in enumerate(files)]
    assert collision(tasks) is None
    for task in tasks:
        assert all(refusal(expression) is None for expression in task.ensures)
    loaded = yaml.safe_load(compile_tasks(tasks, "tasks"))
    assert list(loaded["functions"]) == [task.id for task in tasks]


def test_what_is_marked_runs_beside_what_is_marked() -> None:
    names = ("a", "b [P]", "c [p]", "d", "e [P]", "f", "g")
    text = compile_tasks([read_task(f"t{name[0]}", f"# {name}\n") for name in names], "tasks")
    steps = yaml.safe_load(text)["flows"]["tasks"]["steps"]
    assert {step["id"]: step.get("depends_on") for step in steps} == {
        "ta": None, "tb": ["ta"], "tc": ["ta"], "td": ["tb", "tc"], "te": ["td"], "tf": ["te"], "tg": ["tf"],
    }  # fmt: skip
    assert load_spec(text).problems == ()


def test_two_files_of_one_id_are_noticed() -> None:
    assert collision([read_task("a-b", ""), read_task("a_b", "")]) == "a_b"


def test_a_file_is_read_as_its_author_meant_it() -> None:
    text = "intro\n\n# Task: Do [P] it\nbody\n\nmore\n### acceptance criteria:\n- [x] a\n- no\n# Z\n  - [ ] b"
    task = read_task("01", text)
    assert (task.title, task.body, task.parallel) == ("Do it", "body\n\nmore", True)
    assert (task.ensures, task.judgment) == ((), ("a", "b"))


NOT_A_SPACE = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "Cc")), min_size=1)
HOSTILE = st.one_of(
    NOT_A_SPACE,
    st.text("\"'\\`()[]{}.,;:$#_ \uff3fabortfileexists", min_size=1).filter(lambda text: text.strip()),
    st.sampled_from(
        ["\\", '"', 'x")or(1)or(file_exists("y', "'+__import__('os').system('x')+'", "{task.id}", "${HOME}"]
    ),
)
FORMS = st.sampled_from(
    ["file {} exists", "file {} contains {}", 'file a contains "{}"', "{}", "{} tests pass"]
)


@given(FORMS, HOSTILE)
def test_a_checkbox_is_data_and_never_code(form: str, text: str) -> None:
    task = read_task("x", f"# T\n## Acceptance Criteria\n- [ ] {form.replace('{}', text)}\n")
    for ensure in task.ensures:
        tree = ast.parse(ensure, mode="eval").body
        if isinstance(tree, ast.Call):
            assert isinstance(tree.func, ast.Name)
            assert (tree.func.id, len(tree.args)) in {("file_exists", 1), ("file_contains", 2)}
            assert all(isinstance(given, ast.Constant) for given in tree.args)
            texts = [given.value for given in tree.args if isinstance(given, ast.Constant)]
            assert all(isinstance(given, str) and given in task.criteria[0] for given in texts)
        else:
            assert ensure in {"result.tests_pass == True", "result.lint_clean == True"}


# --- fanned out -------------------------------------------------------------------------------------------

CONTEXT = {"project_context": "for {task.id}"}


def fanned_out(*files: tuple[str, str]) -> Spec:
    loaded = load_spec(compile_fan_out([read_task(name, text) for name, text in files], "tasks"))
    assert loaded.spec is not None, loaded.problems
    return loaded.spec


def shape(spec: Spec) -> list[tuple[str, list[str]]]:
    """The steps in their order, and of each the tasks."""
    return [(step.id, [task.id for task in graph(spec, step).tasks]) for step in spec.flows["tasks"].steps]


def graph(spec: Spec, step: Step) -> TaskGraph:
    """The graph of a step as the flow's own defaults give it; an empty one for a step of one agent."""
    if not isinstance(step.work, Dispatch):
        return TaskGraph((), (), (), ())
    declared = spec.flows["tasks"].input[step.work.source.removeprefix("$.input.")]
    assert isinstance(declared, dict)
    found = read_graph(declared["default"])
    assert isinstance(found, TaskGraph), found
    return found


def test_each_run_of_marked_files_is_one_step_and_all_others_wait() -> None:
    names = ("a [P]", "b [P]", "c", "d", "e [P]", "f", "g [P]", "h [P]", "i [P]")
    spec = fanned_out(*((f"t{name[0]}", f"# {name}\n") for name in names))
    assert shape(spec) == [
        ("parallel_1", ["ta", "tb"]), ("tc", []), ("td", []), ("te", []), ("tf", []),
        ("parallel_2", ["tg", "th", "ti"]),
    ]  # fmt: skip
    steps = spec.flows["tasks"].steps
    assert [step.depends_on for step in steps] == [(), *((step.id,) for step in steps[:-1])]


def test_a_step_s_id_is_one_that_no_file_has() -> None:
    files = [
        ("parallel-1", "# P [P]"),
        ("parallel-2", "# Q [P]"),
        ("seq", "# S"),
        ("u", "# [P] U"),
        ("v", "# [P]"),
    ]
    assert shape(fanned_out(*files)) == [
        ("parallel_3", ["parallel_1", "parallel_2"]), ("seq", []), ("parallel_4", ["u", "v"]),
    ]  # fmt: skip


def test_a_task_is_asked_for_its_own_criteria_only() -> None:
    criteria = "## Acceptance Criteria\n- [ ] "
    spec = fanned_out(
        ("a", f"# A [P]\n{criteria}file a.txt exists"),
        ("b", f"# B [P]\n{criteria}all tests pass\n- [ ] reads well"),
        ("c", f"# C\n{criteria}no lint errors"),
    )
    fan, alone = spec.flows["tasks"].steps
    assert isinstance(fan.work, Dispatch)
    assert fan.work.task_ensure == (
        'task.id != "a" or file_exists("a.txt")',
        'task.id != "b" or result.tests_pass == True',
    )
    assert alone.ensure == ("result.lint_clean == True",)
    words = [str(task.fields["description"]) for task in graph(spec, fan).tasks]
    assert words[0] == "A\n\nAcceptance criteria:\n- file a.txt exists"
    assert words[1].startswith(
        "B\n\nAcceptance criteria:\n- all tests pass\n- reads well\n\nWhen that is so, "
    )
    assert '{"tests_pass": true}' in words[1]


@given(
    st.lists(st.tuples(st.booleans(), ANY, ANY.filter(lambda text: "\0" not in text)), min_size=1, max_size=5)
)
def test_what_an_agent_is_told_is_what_the_files_say(files: list[tuple[bool, str, str]]) -> None:
    texts = [
        (f"{n}", f"# {'[P]' if marked else ''} x\n{body}\n## Acceptance Criteria\n- [ ] {criterion}")
        for n, (marked, body, criterion) in enumerate(files)
        if "\0" not in body
    ]
    if not texts:
        return
    spec = fanned_out(*texts)
    told: dict[str, str] = {}
    for step in spec.flows["tasks"].steps:
        if isinstance(step.work, Inline):
            told[step.id] = step.work.intent
            continue
        assert isinstance(step.work, Dispatch)
        for task in graph(spec, step).tasks:
            rendered = render(step.work.intent_template, task.fields, CONTEXT)
            assert isinstance(rendered, Rendered)
            assert rendered.text.endswith("\n\nfor {task.id}")
            told[task.id] = rendered.text
    for name, text in texts:
        task_file = read_task(name, text)
        said = told[task_file.id]
        assert task_file.body in said
        assert all(f"- {criterion}" in said for criterion in task_file.criteria)
