"""Specs that a client drives, and what it says about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.portal import Portal
from tests.support.repos import ScratchRepo

Answer = dict[str, Any]

HEAD = """
version: "0.3"
contracts:
  Out: {ok: {type: boolean}}
  Plan: {tasks: {type: array}}
functions:
  make: {mode: infer, intent: make it, output: Out, ensure: [result.ok], retries: 2}
  review: {mode: gate, timeout: 900}
  hurry: {mode: gate, timeout: 1}
flows:
"""


def flow(*steps: str, **more: object) -> str:
    """Returns a flow of *steps*, each waiting for the one before."""
    rows = []
    for number, step in enumerate(steps):
        needs = f", depends_on: [s{number}]" if number else ""
        rows.append(f"      - {{id: s{number + 1}, {step}{needs}}}\n")
    keys = "".join(f"    {key}: {value}\n" for key, value in more.items())
    return f"  main:\n    input: {{tasks: {{type: array}}}}\n{keys}    steps:\n{''.join(rows)}"


def spec(*steps: str, **more: object) -> str:
    """Returns a spec of one flow, main, of *steps* s1, s2 and so on, each waiting for the one before."""
    return HEAD + flow(*steps, **more)


def dispatch(template: str = "do {task.id}", **more: object) -> str:
    keys = "".join(f", {key}: {value}" for key, value in more.items())
    return f'type: parallel_dispatch, source: $.input.tasks, intent_template: "{template}"{keys}'


def plan(server: Portal, text: str, inputs: Mapping[str, object] | None = None) -> Answer:
    return server.call("stratum_plan", spec=text, flow="main", inputs=dict(inputs or {}))


def done(server: Portal, flow: str, step: str, result: Mapping[str, object] | None = None) -> Answer:
    return server.call("stratum_step_done", flow_id=flow, step_id=step, result=dict(result or {}))


def decided(server: Portal, flow: str, step: str, outcome: str, **more: str) -> Answer:
    given = {"rationale": "because", "resolved_by": "human", **more}
    return server.call("stratum_gate_resolve", flow_id=flow, step_id=step, outcome=outcome, **given)


def reported(
    server: Portal, flow: str, *rows: Mapping[str, object], step: str = "s1", merge: str = "clean"
) -> Answer:
    found = [dict(row) for row in rows]
    return server.call(
        "stratum_parallel_done", flow_id=flow, step_id=step, task_results=found, merge_status=merge
    )


def row(task: str, status: str = "complete", result: object = None) -> Answer:
    return {"task_id": task, "status": status, "result": {"ok": True} if result is None else result}


def refs(repo: ScratchRepo) -> str:
    """Returns all refs of a repository, and what is checked out."""
    return repo.git("for-each-ref") + repo.git("status", "--porcelain", "-b")


def tampered(repo: ScratchRepo, flow: str, text: str) -> None:
    """Gives a flow another spec, with git alone."""
    ref = f"refs/stratum/flows/{flow}"
    path = repo.write("../other.yaml", text)
    blob = repo.git("hash-object", "-w", str(path))
    index = f"GIT_INDEX_FILE={path.with_name('other.index')}"
    repo.git("-c", f"alias.x=!{index} git read-tree {ref}", "x")
    repo.git("-c", f"alias.x=!{index} git update-index --cacheinfo 100644,{blob},spec.yaml", "x")
    tree = repo.git("-c", f"alias.x=!{index} git write-tree", "x")
    commit = repo.git("commit-tree", tree, "-p", ref, "-m", "tampered")
    repo.git("update-ref", ref, commit)
