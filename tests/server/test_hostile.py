"""What the predecessor fell for, as a table: code in specs, work without end, lies in reports, paths in ids.

Each is refused, or does no more than it says, within a moment, and the server goes on.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.server.driven import dispatch, plan, reported, spec
from tests.support.portal import Portal

MOMENT = 5.0
"""Seconds that a refusal may take on a machine that is busy with other tests; alone it takes milliseconds."""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

SOURCES = (
    "result.__class__",
    "result.\uff3f\uff3fclass\uff3f\uff3f",
    "result.\u2040\u2040class\u2040\u2040",
    "[g.gi_frame.f_back for g in [(x for x in [1])]]",
    "(x for x in [1]).gi_frame.f_back.f_globals['os']",
    "''.format.__globals__",
    "'{0.__class__}'.format(result)",
    "().__class__.__bases__[0].__subclasses__()",
    "__import__('os').system('touch pwned')",
    "open('pwned', 'w')",
    "eval('1')",
    "(lambda: 1)()",
    "[x := 1]",
    "getattr(result, 'ok')",
    "result.ok.real.imag.__doc__",
    "9**9**8 > 0",
    "(2**63)**(2**20) > 0",
    "'x' * 10**10",
    "[0] * 10**10",
    "len([x for x in 'y' * 9999 for y in 'y' * 9999 for z in 'y' * 9999]) > 0",
    "(" * 300 + "1" + ")" * 300,
    "1" + "+1" * 3000,
    "vocabulary_compliance('v', [], git_fallback=True, base='--output=pwned')",
    "file_contains('/etc/passwd', 'root')",
    "file_contains('../../../../etc/passwd', 'root')",
    "file_exists('/etc/passwd')",
)


def is_untouched(server: Portal) -> bool:
    """Returns whether no expression left a file, and the server still answers."""
    assert server.call("stratum_validate", spec="version: '0.3'")["valid"]
    places = (server.repo.path, Path.cwd(), server.shell.home)
    return not any((place / "pwned").exists() for place in places)


@pytest.mark.parametrize("source", SOURCES, ids=range(len(SOURCES)))
@pytest.mark.parametrize("field", ["ensure", "skip_if", "exit_criterion", "score_expr"])
def test_an_expression_is_data(server: Portal, field: str, source: str) -> None:
    quoted = "'" + source.replace("'", "''") + "'"
    value = f"[{quoted}]" if field == "ensure" else quoted
    loop = "" if field in {"ensure", "skip_if"} else ", max_iterations: 3"
    text = spec(f"intent: x, retries: 2, {field}: {value}{loop}")
    began = time.monotonic()
    answer = plan(server, text)
    if field == "skip_if" and source.startswith("vocabulary"):
        # Without a vocabulary there is nothing to comply with, so the step is left out.
        assert answer["status"] == "complete"
    elif answer["status"] != "error":
        flow = answer["flow_id"]
        assert answer["step_id"] == "s1", "nothing is skipped for what cannot be told"
        if loop:
            server.call("stratum_iteration_start", flow_id=flow, step_id="s1")
            told = server.call("stratum_iteration_report", flow_id=flow, step_id="s1", result={"ok": True})
            holds = field == "exit_criterion" and source.startswith("vocabulary")
            assert told["status"] == ("iteration_exit" if holds else "iteration_continue")
        elif field == "ensure":
            told = server.call("stratum_step_done", flow_id=flow, step_id="s1", result={"ok": True})
            # Without a vocabulary there is nothing to comply with.
            expected = "complete" if source.startswith("vocabulary") else "ensure_failed"
            assert told["status"] == expected, told
    else:
        assert answer["error_type"] == "ir_semantic_error"
    assert time.monotonic() - began < MOMENT
    assert is_untouched(server)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "[1, 2]",
        "",
        "version: 0.3\n" * 2,
        "a" * 200_000,
        "? " * 5000,
        "{" * 5000,
        "!!python/object:os.x {}",
    ],
    ids=["bomb", "list", "empty", "twice", "long", "keys", "braces", "object"],
)
def test_a_text_is_no_spec_at_once(server: Portal, text: str) -> None:
    began = time.monotonic()
    answer = server.call("stratum_validate", spec=text)
    assert (answer["valid"], bool(answer["errors"])) == (False, True)
    assert time.monotonic() - began < MOMENT


@pytest.mark.parametrize(
    "flow",
    ["../../outside", "../../heads/main", "/etc/passwd", "", ".", "a/b", "x\0y", "--all", "*", "x" * 5000],
    ids=range(10),
)
def test_an_id_is_no_path(server: Portal, flow: str) -> None:
    for tool, more in (
        ("stratum_resume", {}),
        ("stratum_audit", {}),
        ("stratum_step_done", {"step_id": "s1", "result": {}}),
        ("stratum_commit", {"label": "x"}),
        ("stratum_parallel_status", {}),
        ("stratum_events", {}),
        ("stratum_task_claim", {"worker": "w"}),
    ):
        given: dict[str, Any] = {"flow_id": flow, **more}
        assert server.call(tool, **given)["error_type"] == "flow_not_found", tool


@pytest.mark.parametrize(
    "tasks",
    [
        [{"id": "../../../x"}],
        [{"id": "a/b"}],
        [{"id": "-x"}],
        [{"id": "x.lock"}],
        [{"id": ""}],
        [{}],
        [{"id": "a"}, {"id": "a"}],
        [{"id": "a", "depends_on": ["a"]}],
        [{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}],
        [{"id": "a", "depends_on": ["nobody"]}],
        "tasks",
        {"id": "a"},
        None,
    ],
    ids=str,
)
def test_a_graph_that_cannot_be_run_is_not_begun(server: Portal, tasks: object) -> None:
    before = server.repo.git("for-each-ref")
    assert plan(server, spec(dispatch()), {"tasks": tasks})["error_type"] == "execution_error"
    assert server.repo.git("for-each-ref") == before


@pytest.mark.parametrize(
    ("rows", "merge", "kind"),
    [
        ([{"task_id": "zz", "status": "complete"}], "clean", "unknown_task"),
        ([{"task_id": "a", "status": "complete"}] * 3, "clean", "duplicate_task"),
        ([{"task_id": "a", "status": "done"}], "clean", "invalid_status"),
        ([{"task_id": "a"}], "clean", "invalid_status"),
        ([{"status": "complete"}], "clean", "invalid_task_results"),
        ([{"task_id": "a", "status": "complete"}], "banana", "invalid_merge_status"),
    ],
)
def test_a_report_that_makes_no_sense_changes_nothing(
    server: Portal, rows: list[dict[str, object]], merge: str, kind: str
) -> None:
    flow = plan(server, spec(dispatch()), {"tasks": [{"id": "a"}, {"id": "b"}]})["flow_id"]
    before = server.repo.git("for-each-ref")
    assert reported(server, flow, *rows, merge=merge)["error_type"] == kind
    assert server.repo.git("for-each-ref") == before


def test_nothing_reported_is_nothing_done(server: Portal) -> None:
    flow = plan(server, spec(dispatch()), {"tasks": [{"id": "a"}]})["flow_id"]
    answer = reported(server, flow)
    assert (answer["status"], [row["task_id"] for row in answer["batch"]]) == ("parallel_dispatch", ["a"])


def test_a_checkbox_is_data(server: Portal) -> None:
    server.repo.write(
        "boxes/01.md",
        "# Task: x\n\n## Acceptance Criteria\n"
        "- [ ] file a') or __import__('os').system('touch pwned') or file_exists('b exists\n",
    )
    made = server.call("stratum_compile_speckit", tasks_dir="boxes")
    assert made["status"] == "ok"
    flow = server.call("stratum_plan", spec=made["yaml"], flow="tasks", inputs={"project_context": ""})
    step = flow["step_id"]
    told = server.call("stratum_step_done", flow_id=flow["flow_id"], step_id=step, result={"done": True})
    # It names no file, so somebody has to judge it: it stands in the intent, and nowhere else.
    assert (told["status"], made["steps"][0]["ensures"]) == ("complete", [])
    assert "touch pwned" in flow["intent"]
    assert is_untouched(server)


def test_as_many_steps_as_there_are_can_be_skipped(server: Portal) -> None:
    text = spec(*["intent: x, skip_if: 'true'"] * 300)
    assert plan(server, text)["status"] == "complete"
