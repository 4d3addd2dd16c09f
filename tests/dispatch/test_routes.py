"""Where a runner goes in a flow: past steps, back to them, around them; and what its steps may not return."""

from __future__ import annotations

import pytest

from stratum_git.agents.base import Assignment
from stratum_git.agents.scripted import Script
from stratum_git.core.answers import trace
from stratum_git.model.ids import Json
from stratum_git.model.state import FlowState
from tests.support.flows import Stage

HEAD = """
version: "0.4"
functions:
  ok: {mode: gate}
  gate: {mode: gate}
flows:
  main:
    input: {tasks: {type: array}}
    steps:
"""


def spec(*steps: str) -> str:
    return HEAD + "".join(f"      - {step}\n" for step in steps)


def story(state: FlowState) -> list[str]:
    """What was noted, in short."""
    rows: list[str] = []
    for row in trace(tuple(state.book.records)):
        assert isinstance(row, dict)
        rows.append(f"{row['type']} {row['step_id']}")
    return rows


async def test_steps_are_skipped_for_what_the_flow_knows_and_what_lies_in_its_branch(stage: Stage) -> None:
    seen: list[str] = []

    def play(assignment: Assignment) -> Script:
        seen.append(assignment.step)
        return Script(output={"n": 2})

    flow = spec(
        "{id: one, intent: do}",
        "{id: two, intent: do, skip_if: '$.steps.one.output.n > 1', skip_reason: enough}",
        "{id: three, intent: do, skip_if: \"file_exists('a.txt')\"}",
        "{id: four, intent: do, skip_if: \"file_exists('none.txt')\"}",
    )
    state = await stage.play(flow, play, [])
    assert (state.status, seen) == ("complete", ["one", "four"])
    assert story(state) == ["step one", "skip two", "skip three", "step four"]


async def test_a_failed_step_leads_where_it_says_and_its_output_with_it(stage: Stage) -> None:
    prompts: dict[str, str] = {}

    def play(assignment: Assignment) -> Script:
        prompts[assignment.step] = assignment.intent
        return Script(fails="no") if assignment.step == "one" else Script()

    flow = spec(
        "{id: one, intent: do, ensure: ['false'], on_fail: mend}",
        "{id: two, intent: do}",
        "{id: mend, intent: mend it}",
    )
    state = await stage.play(flow, play, [])
    assert (state.status, list(prompts)) == ("complete", ["one", "mend"])


async def test_a_step_may_lead_past_others(stage: Stage) -> None:
    flow = spec("{id: one, intent: do, next: three}", "{id: two, intent: do}", "{id: three, intent: do}")
    state = await stage.play(flow, lambda _: Script(), [])
    assert story(state) == ["step one", "step three"]


async def test_gates_that_approve_themselves_are_noted_and_passed(stage: Stage) -> None:
    flow = spec(
        "{id: one, intent: do}",
        "{id: pass, function: ok, policy: flag, on_approve: two, on_revise: one, on_kill: null,"
        " depends_on: [one]}",
        "{id: two, intent: do, depends_on: [pass]}",
    )
    state = await stage.play(flow, lambda _: Script(), [])
    assert (state.status, story(state)) == ("complete", ["step one", "policy pass", "step two"])


@pytest.mark.parametrize(
    ("extra", "output", "said"),
    [
        ("guardrails: ['rm -rf']", {"cmd": "RM -RF /"}, "guardrail: guardrail matched: 'rm -rf'"),
        ("guardrails: ['(a|aa)+$']", {"cmd": "a" * 60 + "!"}, "it took longer than 1 s to look for"),
        (
            "reasoning_template: {require_citations: true}",
            {"artifact": "## Premises\n## Trace\n## Conclusion\n"},
            "certificate: certificate violation",
        ),
    ],
)
async def test_what_a_step_must_not_return_rejects_it(
    stage: Stage, extra: str, output: dict[str, Json], said: str
) -> None:
    state = await stage.play(spec(f"{{id: one, intent: do, {extra}}}"), lambda _: Script(output=output), [])
    assert state.status == "failed"
    assert said in str(state.step(state.program.order[0]))


async def test_harmless_results_pass_guardrails_and_the_model_reaches_the_agent(stage: Stage) -> None:
    models: list[str | None] = []

    def play(assignment: Assignment) -> Script:
        models.append(assignment.env.get("STRATUM_MODEL"))
        return Script(output={"cmd": "echo hello"})

    flow = spec("{id: one, intent: do, model: big, guardrails: ['rm -rf', 'sudo', 'curl .*sh']}")
    state = await stage.play(flow, play, [])
    assert (state.status, models) == ("complete", ["big"])
