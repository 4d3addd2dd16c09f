"""The schema of specs says what the reader of specs says: the same fields, in the same kinds of steps."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratum_git.core import shape
from stratum_git.core.parse import load_spec
from stratum_git.core.shape_fields import FIELDS, NULLABLE, SINCE
from stratum_git.core.yaml_nodes import plain, read_yaml
from stratum_git.model.ids import Json
from tests.support.contracts import contract

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(json.dumps(contract("spec.v0.4").schema))
RICH = """\
version: "0.4"
workflow:
  name: all-of-it
  description: Everything that there is
  input: {tasks: {type: array, required: true, default: []}, topic: {type: string}}
contracts:
  T: {tasks: {type: array}}
  R: {ok: {type: boolean, values: [true]}, note: {type: string, why: because}}
functions:
  work: {mode: compute, intent: Do it, input: {a: {type: string}}, output: R, ensure: [result.ok], retries: 2,
         budget: {ms: 5, usd: 0}, model: opus, guardrails: ["rm -rf"]}
  review: {mode: gate, timeout: 60}
flows:
  all-of-it:
    input: {tasks: {type: array}, topic: {type: string}}
    output: R
    budget: {ms: 1, tokens: 1, dispatches: 2}
    max_rounds: 2
    steps:
      - {id: plan, type: decompose, agent: a, intent: Plan, output_contract: T,
         ensure: [len(result.tasks) > 0],
         reasoning_template: {require_citations: true, sections: [{id: s, label: S, description: d}]}}
      - {id: call, function: work, inputs: {a: $.input.topic, b: text}, depends_on: [plan], on_fail: plan,
         output_schema: {type: object}, max_iterations: 3, exit_criterion: result.ok, score_expr: result.n}
      - {id: two, type: inline, intent: More, agent: a, retries: 2, model: opus, guardrails: [x], next: sub,
         skip_if: "$.steps.plan.output.tasks == null", skip_reason: why, on_approve: null, on_revise: null,
         depends_on: [call]}
      - {id: sub, flow: other, ensure: [result.ok], output_contract: R, depends_on: [two]}
      - id: build
        type: parallel_dispatch
        source: $.steps.plan.output.tasks
        intent_template: "{task.id}"
        max_concurrent: 2
        isolation: branch
        require: 2
        merge: squash
        timeout: 0.5
        task_retries: 0
        verify: [make test, [make, lint]]
        land_verify: make
        setup: [[make]]
        on_quorum: keep
        on_conflict: agent
        land_order: graph
        candidates: [{agent: a, intent_template: so}, {}]
        base: main
        target: other
        task_contract: R
        task_ensure: [result.ok]
        land_mode: batch
        commit_message: "{task.id}: {task.title}"
      - {id: look, type: function, function: review, agent: me, depends_on: [build], policy: gate,
         policy_fallback: skip, on_approve: null, on_revise: plan, on_kill: null}
  other:
    steps: [{id: only, intent: x}]
"""


VERSION = re.compile(r"version: .?0\.4")


def written(text: str) -> Json:
    """A file as JSON, whatever it is worth."""
    tree = read_yaml(text)
    return None if tree.root is None else plain(tree.root)


def texts() -> Iterator[str]:
    """Every text of the tests, the README and the scripts that looks like a spec of version 0.4."""
    yield RICH
    yield from re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    yield from re.findall(r"<<'?END'?\n(.*?)\nEND", (ROOT / "README.md").read_text(), re.DOTALL)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        source = path.read_text()
        # A text that has the version in it is in a file that has: the others are not worth a parser's time.
        for node in ast.walk(ast.parse(source)) if VERSION.search(source) else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    for path in sorted(ROOT.glob("tests/**/*.yaml")):
        yield path.read_text()


def test_every_valid_spec_keeps_the_contract() -> None:
    valid = {text for text in texts() if VERSION.search(text) and load_spec(text).spec is not None}
    assert RICH in valid
    assert len(valid) > 10
    for text in sorted(valid):
        contract("spec.v0.4").validate(written(text))


def maps(value: Json, place: str = "") -> Iterator[tuple[str, dict[str, Json]]]:
    """Every map of a file, with its place."""
    if isinstance(value, dict):
        yield place, value
        for key, item in value.items():
            yield from maps(item, f"{place}.{key}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from maps(item, f"{place}.{index}")


def test_what_the_reader_does_not_know_the_schema_does_not_take() -> None:
    document = written(RICH)
    refused = 0
    for place, inside in maps(document):
        inside["surprise"] = "x"
        by_reader = load_spec(json.dumps(document)).spec is None
        by_schema = not contract("spec.v0.4").is_valid(document)
        # That an input is not declared twice is seen by the reader alone: it is about two places.
        assert by_reader is by_schema or place == ".flows.all-of-it.input", place
        refused += by_schema
        del inside["surprise"]
    assert refused > 20


@pytest.mark.parametrize(("kind", "fields"), FIELDS.items())
def test_a_field_of_another_kind_of_step_is_refused_by_both(kind: str, fields: frozenset[str]) -> None:
    document = json.loads(json.dumps(written(RICH)))
    steps = {
        "function": "call", "inline": "two", "flow": "sub", "gate": "look", "decompose": "plan",
        "parallel_dispatch": "build",
    }  # fmt: skip
    everything = {key: item for step in document["flows"]["all-of-it"]["steps"] for key, item in step.items()}
    (step,) = (s for s in document["flows"]["all-of-it"]["steps"] if s["id"] == steps[kind])
    # To a function step that is not one a gate's field says that it is a gate, before its function is known.
    for name in sorted({*SINCE} - fields - {*step}):
        step[name] = everything.get(name, "plan")
        assert load_spec(json.dumps(document)).spec is None or name in NULLABLE, name
        assert not contract("spec.v0.4").is_valid(document) or step[name] is None, name
        del step[name]


def test_the_fields_are_those_of_the_reader() -> None:
    parts = SCHEMA["$defs"]
    assert {*SCHEMA["properties"]} == {*shape.TOP}
    assert {*parts["function"]["properties"]} == {*shape.FUNCTION}
    assert {*parts["flow"]["properties"]} == {*shape.FLOW}
    assert {*parts["workflow"]["properties"]} == {*shape.WORKFLOW}
    assert {*parts["step"]["properties"]} == {*SINCE}
    named = re.findall(r'"propertyNames": {"enum": (\[.*?\])}', json.dumps(parts["step"]))
    assert {frozenset(json.loads(one)) for one in named} == {
        frozenset({*fields, *NULLABLE}) for fields in FIELDS.values()
    }


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("max_rounds: 2", "max_rounds: 0"),
        ("mode: gate, timeout: 60", "mode: gate, retries: 1"),
        ("mode: gate, timeout: 60", "mode: guess"),
        ("intent: Do it, input", "intent: ' ', input"),
        ("on_approve: null, on_revise: plan", "on_revise: plan"),
        ("on_approve: null, on_revise: plan", "on_approve: null, on_revise: null"),
        ("policy: gate,", ""),
        ("require: 2", "require: some"),
        ("timeout: 0.5", "timeout: 0"),
        ("task_retries: 0", "task_retries: -1"),
        ("isolation: branch", "isolation:"),
        ("source: $.steps.plan.output.tasks", ""),
        ("setup: [[make]]", "setup: [[]]"),
        ("type: inline, intent", "type: function, intent"),
        ("type: inline, intent", "function: work, intent"),
        ("steps: [{id: only, intent: x}]", "steps: []"),
        ("steps: [{id: only, intent: x}]", "steps: [{id: a/b, intent: x}]"),
        ("name: all-of-it", "name: All of it"),
        ('version: "0.4"', 'version: "0.5"'),
        ('version: "0.4"', ""),
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(was: str, becomes: str) -> None:
    assert RICH.count(was) == 1
    text = RICH.replace(was, becomes)
    assert load_spec(text).spec is None
    assert not contract("spec.v0.4").is_valid(written(text))
