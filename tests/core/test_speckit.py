"""Task files to specs: what a line may become, and that it never becomes code."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.expr import refusal
from stratum_git.core.parse import load_spec
from stratum_git.core.speckit import collision, compile_tasks, read_task, step_id

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
        assert all(refusal(expression) is None for expression in task.ensures if "__" not in expression)
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
