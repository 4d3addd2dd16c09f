"""What people and agents read: commit messages, prompts, and what is refused for now."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum_git.core.engine import advance, begin
from stratum_git.core.narration import Narration, narrate
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program, unserved
from stratum_git.core.prompt import step_prompt, task_prompt
from stratum_git.core.quorum import decide
from stratum_git.model.ids import FlowId, Oid, RefName, TaskId
from stratum_git.model.messages import CancelRequested, Started
from stratum_git.model.spec import Field, Require, Task
from stratum_git.model.state import Program


def compiled(text: str, flow: str | None = None) -> Program | tuple[str, ...]:
    loaded = load_spec(text)
    assert loaded.spec is not None, loaded.problems
    made = compile_program(loaded.spec, flow)
    return made if isinstance(made, Program) else tuple(f"{p.line}: {p.path}: {p.message}" for p in made)


PLAIN = "version: 0.3\nflows:\n  a:\n    steps:\n      - {id: x, intent: do}\n"


@given(st.text(), st.text(), st.text())
def test_nobodys_words_forge_a_trailer(who: str, why: str, task: str) -> None:
    program = compiled(PLAIN)
    assert isinstance(program, Program)
    state, _ = begin(program, Started(1.0, who, FlowId("f"), "a", {}, Oid("b"), RefName("refs/heads/main")))
    event = CancelRequested(2.0, who, f"{why}\n\nStratum-Task: forged", TaskId(task))
    after, effects = advance(state, event)
    message = narrate(event, after, effects).text()
    paragraphs = message.rstrip("\n").split("\n\n")
    assert all(re.match(r"Stratum-[A-Z][a-z]+: ?", line) for line in paragraphs[-1].split("\n"))
    assert not any(line.startswith("Stratum-") for p in paragraphs[:-1] for line in p.split("\n"))


def test_a_message_has_no_empty_parts() -> None:
    assert Narration("a", (), (("K", "v"),)).text() == "a\n\nK: v\n"
    assert Narration("a", ("b", "c"), ()).text() == "a\n\nb\nc\n"


def test_a_prompt_says_what_is_expected_and_what_went_wrong() -> None:
    contract = {"level": Field("string", ("low", None)), "n": Field("integer")}
    assert task_prompt("Do it.", Task(TaskId("t"), {}, files_owned=("src/",)), contract, ("no tests",)) == (
        "Do it.\n\n## Files\n\nChange only these:\n- src/\n\n## Result\n\n"
        "Return one JSON object with these fields:\n"
        '- level: string, one of "low", null\n- n: integer\n'
        "Write it to the file named by STRATUM_RESULT_FILE, or print it last on standard output.\n\n"
        "## The attempt before this one was rejected\n\n- no tests\n"
    )
    assert step_prompt("Do it.", {}, None, ()) == "Do it.\n"
    assert '"topic": "ä"' in step_prompt("Do it.", {"topic": "ä"}, None, ())


@pytest.mark.parametrize(
    ("require", "good", "dead", "verdict"),
    [
        ("all", 3, 0, "met"), ("all", 2, 0, "open"), ("all", 2, 1, "missed"),
        ("any", 1, 0, "met"), ("any", 0, 2, "open"), ("any", 0, 3, "missed"),
        (2, 2, 0, "met"), (2, 1, 1, "open"), (2, 1, 2, "missed"), (2, 2, 1, "met"), (9, 3, 0, "missed"),
    ],
)  # fmt: skip
def test_a_quorum_is_decided_as_early_as_it_can_be(
    require: Require, good: int, dead: int, verdict: str
) -> None:
    assert decide(require, 3, good=good, dead=dead) == verdict


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{id: x, intent: do, max_iterations: 2, exit_criterion: 'true'}", "max_iterations"),
        ("{id: x, flow: b}", "flow"),
    ],
)
def test_what_is_not_run_yet_is_refused_with_its_line(step: str, message: str) -> None:
    text = (
        f"version: 0.3\nflows:\n  a:\n    steps:\n      - {step}\n      - {{id: w, intent: do}}\n"
        "  b: {steps: [{id: y, intent: do}]}\n"
        "functions: {g: {mode: gate, timeout: 9}}\n"
    ).replace("on_kill: null}", "on_kill: null, depends_on: [w]}")
    program = compiled(text, "a")
    assert isinstance(program, Program)
    refused = unserved(program)
    assert refused[0].line == 5
    assert message in refused[0].message


def test_which_flow_is_meant_has_to_be_said_where_there_are_several() -> None:
    text = PLAIN + "  b: {steps: [{id: y, intent: do}]}\n"
    assert isinstance(compiled(text, "b"), Program)
    for name in (None, "c"):
        refused = compiled(text, name)
        assert isinstance(refused, tuple)
        assert "a" in refused[0]
