"""What a good spec comes to, and that a bad one gets all of its problems at once."""

from dataclasses import replace

import pytest

from stratum_git.core.parse import SHOWN, Loaded, load_spec
from stratum_git.model.ids import StepId
from stratum_git.model.spec import (
    Budget,
    Call,
    Candidate,
    Decompose,
    Dispatch,
    Field,
    Flow,
    Function,
    Gate,
    Inline,
    Spec,
    Step,
    SubFlow,
    Workflow,
    WorkflowInput,
)

README_STYLE = """\
version: "0.3"
contracts:
  TaskGraph:
    tasks: {type: array}
flows:
  build:
    steps:
      - id: plan
        type: decompose
        agent: claude
        intent: Split the work
        output_contract: TaskGraph
      - id: run
        type: parallel_dispatch
        source: $.steps.plan.output.tasks
        intent_template: Implement {task.description}
"""

EVERY_KIND = """\
version: 0.4
contracts:
  Report:
    ok: {type: boolean}
    level: {type: string, values: [low, 2, null], note: kept out}
functions:
  review: {mode: gate, timeout: 60}
  check: {mode: compute, output: Report, retries: 5}
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: write, intent: Write it}
      - {id: test, function: check, on_approve: null}
      - {id: part, flow: sub}
      - {id: ask, function: review, on_approve: null, on_revise: write, on_kill: part, depends_on: [write]}
      - {id: split, type: decompose, agent: codex, intent: Split it, output_contract: Report}
      - {id: run, type: parallel_dispatch, source: $.input.tasks, intent_template: "{task.intent}"}
  sub:
    steps: [{id: only, intent: Do it}]
"""


def spec_of(text: str) -> Spec:
    loaded = load_spec(text)
    assert loaded.problems == ()
    assert loaded.spec is not None
    return loaded.spec


def step(name: str) -> StepId:
    return StepId(name)


def test_a_readme_style_flow_without_input_is_valid() -> None:
    assert spec_of(README_STYLE) == Spec(
        version="0.3",
        contracts={"TaskGraph": {"tasks": Field("array")}},
        flows={
            "build": Flow(
                "build",
                (
                    Step(
                        step("plan"),
                        Decompose("Split the work"),
                        line=8,
                        agent="claude",
                        output_contract="TaskGraph",
                        retries=2,
                    ),
                    Step(
                        step("run"),
                        Dispatch("$.steps.plan.output.tasks", "Implement {task.description}"),
                        line=13,
                        retries=2,
                    ),
                ),
                line=6,
            )
        },
    )


def test_every_kind_of_step_has_its_defaults() -> None:
    spec = spec_of(EVERY_KIND)
    report = {"ok": Field("boolean"), "level": Field("string", ("low", 2, None))}
    assert spec.contracts == {"Report": report}
    assert spec.functions == {
        "review": Function("review", "gate", timeout=60),
        "check": Function("check", "compute", output="Report", retries=5),
    }
    run = Dispatch("$.input.tasks", "{task.intent}")
    assert spec.flows["main"].steps == (
        Step(step("write"), Inline("Write it"), line=13, retries=1),
        Step(step("test"), Call("check"), line=14, retries=5),
        Step(step("part"), SubFlow("sub"), line=15, retries=1),
        Step(
            step("ask"),
            Gate(
                "review", None, step("write"), step("part"), timeout=60, policy="gate", policy_fallback=None
            ),
            line=16,
            depends_on=(step("write"),),
            retries=1,
        ),
        Step(
            step("split"),
            Decompose("Split it"),
            line=17,
            agent="codex",
            output_contract="Report",
            retries=2,
        ),
        Step(step("run"), run, line=18, retries=2),
    )
    assert (run.max_concurrent, run.isolation, run.require, run.merge) == (
        3,
        "worktree",
        "all",
        "sequential_apply",
    )


def test_a_function_is_tried_three_times_when_it_does_not_say() -> None:
    text = EVERY_KIND.replace(", retries: 5", "")
    spec = spec_of(text)
    assert (spec.functions["check"].retries, spec.flows["main"].steps[1].retries) == (3, 3)


def test_every_field_of_a_step_is_read() -> None:
    text = """\
version: "0.2"
contracts: {C: {}}
flows:
  f:
    input: {x: {}}
    output: C
    max_rounds: 2
    budget: {ms: 5, usd: 0}
    steps:
      - id: first
        intent: Start
      - id: s
        intent: Do it
        agent: claude
        inputs: {a: $.input.x.deep, b: plain, c: $.steps.first.output}
        depends_on: [first]
        output_schema: {type: object}
        output_contract: C
        ensure: [result.ok]
        retries: 4
        model: big
        budget: {usd: 1.5}
        guardrails: ["rm -rf"]
        reasoning_template: {require_citations: true, sections: [{id: p, label: P, description: d}], more: 1}
        skip_if: $.steps.first.output.done == true
        skip_reason: not needed
        on_fail: first
        next: first
        max_iterations: 3
        exit_criterion: result.ok
        score_expr: result.score
"""
    flow = spec_of(text).flows["f"]
    assert replace(flow, steps=()) == Flow(
        "f", (), line=4, input={"x": {}}, output="C", budget=Budget(5, 0.0), max_rounds=2
    )
    assert flow.steps[1] == Step(
        id=step("s"),
        work=Inline("Do it"),
        line=12,
        agent="claude",
        inputs={"a": "$.input.x.deep", "b": "plain", "c": "$.steps.first.output"},
        depends_on=(step("first"),),
        output_schema={"type": "object"},
        output_contract="C",
        ensure=("result.ok",),
        retries=4,
        model="big",
        budget=Budget(None, 1.5),
        guardrails=("rm -rf",),
        reasoning_template={
            "require_citations": True,
            "sections": [{"id": "p", "label": "P", "description": "d"}],
            "more": 1,
        },
        skip_if="$.steps.first.output.done == true",
        skip_reason="not needed",
        on_fail=step("first"),
        next=step("first"),
        max_iterations=3,
        exit_criterion="result.ok",
        score_expr="result.score",
    )


def test_every_field_of_a_dispatch_is_read() -> None:
    text = """\
version: "0.4"
contracts: {C: {}}
flows:
  f:
    steps:
      - id: run
        type: parallel_dispatch
        source: $.input.plan.0.tasks
        intent_template: Do {task.id}
        max_concurrent: 8
        isolation: branch
        require: 2
        merge: rebase
        timeout: 1.5
        task_retries: 2
        verify: make test
        land_verify: [make, [make, "a b"]]
        setup: []
        on_quorum: drain
        on_conflict: agent
        land_order: graph
        candidates: 3
        base: HEAD~1
        target: work/next
        task_contract: C
        task_ensure: [result.ok]
"""
    assert spec_of(text).flows["f"].steps[0].work == Dispatch(
        source="$.input.plan.0.tasks",
        intent_template="Do {task.id}",
        max_concurrent=8,
        isolation="branch",
        require=2,
        merge="rebase",
        timeout=1.5,
        task_retries=2,
        verify=(("sh", "-c", "make test"),),
        land_verify=(("sh", "-c", "make"), ("make", "a b")),
        setup=(),
        on_quorum="drain",
        on_conflict="agent",
        land_order="graph",
        candidates=(Candidate(),) * 3,
        base="HEAD~1",
        target="work/next",
        task_contract="C",
        task_ensure=("result.ok",),
    )


@pytest.mark.parametrize(
    ("written", "version"), [('"0.1"', "0.1"), ("0.2", "0.2"), ("'0.3'", "0.3"), ("0.4", "0.4")]
)
def test_a_version_may_be_a_text_or_a_number_and_is_a_whole_spec(written: str, version: str) -> None:
    assert spec_of(f"version: {written}\n") == Spec(version)  # type: ignore[arg-type]


def test_a_flow_of_the_first_version_is_valid() -> None:
    text = """\
version: "0.1"
contracts: {Out: {ok: {type: boolean}}}
functions:
  f: {mode: infer, intent: Do it, input: {}, output: Out, model: m, budget: {ms: 1}}
flows:
  main:
    input: {}
    output: Out
    steps: [{id: a, function: f, inputs: {}, output_schema: {}}]
"""
    assert spec_of(text).flows["main"].steps == (
        Step(step("a"), Call("f"), line=9, output_schema={}, retries=3),
    )


def test_a_workflow_says_what_it_is() -> None:
    text = """\
version: "0.3"
workflow:
  name: build-it
  description: Builds it
  input:
    x: {type: integer, required: true, default: 3}
    y: {type: object}
flows:
  main:
    input: {y: {}, x: {}}
    steps: [{id: a, intent: Do it}]
"""
    inputs = {"x": WorkflowInput("integer", required=True, default=3), "y": WorkflowInput("object")}
    assert spec_of(text).workflow == Workflow("build-it", "Builds it", inputs)


def test_names_with_dots_stay_whole() -> None:
    text = (
        "version: 0.3\ncontracts: {c.d: {}}\nfunctions: {f.g: {mode: infer, output: c.d}}\n"
        "flows: {a.b: {steps: [{id: v1.2, function: f.g}, "
        "{id: w, intent: x, inputs: {i: $.steps.v1.2.output}}]}}\n"
    )
    spec = spec_of(text)
    assert (spec.functions["f.g"].name, spec.flows["a.b"].name) == ("f.g", "a.b")


def test_one_flow_may_be_used_twice() -> None:
    text = (
        "version: 0.3\nflows:\n  a: {steps: [{id: x, flow: b}, {id: y, flow: b}]}\n"
        "  b: {steps: [{id: z, intent: do}]}\n"
    )
    assert len(spec_of(text).flows["a"].steps) == 2


def test_an_anchor_spares_the_author_repetition() -> None:
    text = """\
version: 0.3
flows:
  f:
    steps:
      - &base {id: a, intent: Do it, agent: claude, retries: 3}
      - {<<: *base, id: b}
"""
    first, second = spec_of(text).flows["f"].steps
    assert second == replace(first, id=step("b"), line=6)


def test_all_problems_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = """\
version: "0.3"
contracts: {Out: {ok: {}}}
functions:
  f: {mode: infr, output: Out}
  f: {mode: infer, output: Out}
flows:
  main:
    steps:
      - {id: a, function: f, depends_on: [c]}
      - {id: b, intnt: x}
      - {id: c, intent: x, depends_on: [a], ensure: ["result.(", result.ok]}
      - {id: c, intent: x, retries: 0, on_fail: nowhere}
      - {id: run, type: parallel_dispatch, source: tasks, verify: make}
workflow: {name: Main, description: x}
"""
    found = [(problem.line, problem.kind, problem.path) for problem in load_spec(text).problems]
    assert found == [
        (2, "shape", "contracts.Out.ok.type"),
        (4, "shape", "functions.f.mode"),
        (5, "parse", "functions.f"),
        (9, "semantic", "flows.main.steps.a"),
        (10, "shape", "flows.main.steps.b.intnt"),
        (10, "semantic", "flows.main.steps.b"),
        (11, "semantic", "flows.main.steps.c.ensure.0"),
        (12, "shape", "flows.main.steps.c.retries"),
        (12, "semantic", "flows.main.steps.c.id"),
        (12, "semantic", "flows.main.steps.c.on_fail"),
        (12, "semantic", "flows.main.steps.c.on_fail"),
        (13, "shape", "flows.main.steps.run.verify"),
        (13, "shape", "flows.main.steps.run.intent_template"),
        (13, "semantic", "flows.main.steps.run.source"),
        (14, "semantic", "workflow.name"),
    ]


def test_with_an_unknown_version_the_rest_is_checked_as_the_latest() -> None:
    text = "version: 7\nflows: {f: {steps: [{id: a, intent: x, verify: make, color: red}]}}\n"
    found = [problem.path for problem in load_spec(text).problems]
    assert found == ["version", "flows.f.steps.a.color", "flows.f.steps.a.verify"]


def test_of_a_thousand_problems_the_rest_is_counted() -> None:
    text = "version: 0.3\n" + "".join(f"k{i}: 1\n" for i in range(SHOWN + 5))
    problems = load_spec(text).problems
    assert len(problems) == SHOWN + 1
    assert problems[-1].message == "there are 5 more problems after this line"
    assert problems[-1].line == SHOWN + 1


@pytest.mark.parametrize("count", [2000])
def test_a_spec_of_thousands_of_steps_loads(count: int) -> None:
    lines = ['version: "0.3"', "flows:", "  f:", "    steps:"]
    for i in range(count):
        after = f"s{i - 1}" if i else ""
        lines.append(f"      - {{id: s{i}, intent: Do {i}, depends_on: [{after}], ensure: [result.n > {i}]}}")
    spec = spec_of("\n".join(lines))
    assert len(spec.flows["f"].steps) == count


@pytest.mark.parametrize("text", ["", "- a\n", "text", "3", "[]", "null"])
def test_what_is_no_mapping_is_one_problem_on_a_line(text: str) -> None:
    loaded = load_spec(text)
    assert isinstance(loaded, Loaded)
    assert loaded.spec is None
    assert [problem.line for problem in loaded.problems] == [1]
    assert "version" in loaded.problems[0].hint


CONTEST = """
version: "%s"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - {id: s, type: parallel_dispatch, source: $.input.tasks, intent_template: do, candidates: %s}
"""


def test_candidates_say_what_they_do_otherwise() -> None:
    loaded = load_spec(CONTEST % ("0.4", "[{agent: a}, {intent_template: 'so {task.id}'}, {}]"))

    assert loaded.spec is not None
    (step,) = loaded.spec.flows["main"].steps
    assert isinstance(step.work, Dispatch)
    assert step.work.candidates == (Candidate("a"), Candidate(intent="so {task.id}"), Candidate())


@pytest.mark.parametrize(
    ("version", "text", "path", "message"),
    [
        ("0.4", "0", "candidates", "candidates is neither a number nor a list of 1 to 16"),
        ("0.4", "17", "candidates", "candidates is neither a number nor a list of 1 to 16"),
        ("0.4", "[]", "candidates", "candidates is neither a number nor a list of 1 to 16"),
        ("0.4", "true", "candidates", "candidates is neither a number nor a list of 1 to 16"),
        ("0.4", "[{model: m}]", "candidates.0.model", "there is no field model here"),
        ("0.4", "[a]", "candidates.0", "this entry of candidates is not a map of names to values"),
        ("0.4", "[{agent: ''}]", "candidates.0.agent", "agent is empty"),
        ("0.3", "2", "candidates", "candidates is of version 0.4, and the file is of version 0.3"),
        (
            "0.4",
            "2, isolation: none",
            "candidates",
            "candidates need places of their own, and isolation is none",
        ),
    ],
)
def test_candidates_that_cannot_be_are_named(version: str, text: str, path: str, message: str) -> None:
    problems = load_spec(CONTEST % (version, text)).problems

    assert [(p.path, p.message) for p in problems] == [(f"flows.main.steps.s.{path}", message)]
