"""The verb estimate, as a user meets it: before a flow, after some, and in the middle of one."""

from __future__ import annotations

import json
from typing import Any

from stratum_git.app.surroundings import Surroundings
from stratum_git.store.past import newest_flows
from tests.server.driven import tampered
from tests.support.contracts import conforms
from tests.support.shell import SPEC, Shell

GATED = """\
version: "0.4"
functions: {ok: {mode: gate}}
flows:
  main: {steps: [{id: sure, function: ok, on_approve: null, on_revise: sure, on_kill: null}]}
"""


def told(shell: Shell, *words: str) -> dict[str, Any]:
    said = shell.run("estimate", *words, "--json")
    assert (said.code, said.err) == (0, ""), said
    found = said.json()
    conforms(found, "estimate.v1")
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def test_it_knows_more_after_a_run_and_writes_nothing(shell: Shell) -> None:
    words = (shell.spec(SPEC + "        task_retries: 1\n"), shell.tasks({"id": "x"}, {"id": "y"}))
    refs = shell.repo.git("for-each-ref")
    before = told(shell, *words)
    assert (before["history"], before["seconds"]["likely"]) == ({"flows": 0, "tries": 0}, None)
    assert before["seconds"]["at_most"] == 2 * 3600
    assert shell.repo.git("for-each-ref") == refs
    agent = shell.agent(
        'echo "$STRATUM_ATTEMPT" > "$STRATUM_TASK.txt"; [ "$STRATUM_TASK$STRATUM_ATTEMPT" != x1 ]'
    )
    assert shell.run("run", *words, agent, "--quiet").code == 0
    after = told(shell, *words)
    # Three tries of two tasks, and the landing.
    assert after["history"] == {"flows": 1, "tries": 4}
    assert [after["agents"][key] for key in ("low", "likely", "high")] == [2, 3, 4]
    assert 0 < after["seconds"]["low"] <= after["seconds"]["likely"] <= after["seconds"]["high"]
    assert after["usd"]["source"] == "no former try of default here told its usd"
    assert told(shell, shell.flow(), "--of")["steps"] == []
    repo = Surroundings(shell.repo.path, shell.environment).repository()
    (past,) = newest_flows(repo, 5, 100)
    assert [type(event).__name__ for event in past.events[:2]] == ["Started", "Opened"]
    assert list(newest_flows(repo, 5, len(past.events))) == [], "of a flow all is read, or nothing"
    tampered(shell.repo, shell.flow(), GATED)
    assert told(shell, *words)["history"] == {"flows": 0, "tries": 0}


def test_what_is_asked_wrongly_is_told(shell: Shell) -> None:
    said = shell.run("estimate", shell.spec(), "--json")
    assert said.code == 2
    conforms(said.json(), "error.v1")
    assert "has no input tasks" in said.out
    assert shell.run("estimate", shell.spec("version: 3"), "--json").code == 2
    assert shell.run("estimate", "none", "--of").code == 2
    looping = shell.spec(GATED.replace("function: ok, on_approve: null, on_revise: sure, on_kill: null",
                                       "intent: i, max_iterations: 3"))  # fmt: skip
    assert "`run` does not do it yet" in shell.run("estimate", looping).err
    assert "It may be repeated 3 times" in shell.run("estimate", looping, "--client").out


def test_it_needs_no_repository(shell: Shell) -> None:
    spec = shell.spec()
    (shell.repo.path / ".git").rename(shell.repo.path / "no-git")
    said = shell.run("estimate", spec, shell.tasks({"id": "x"}))
    assert (said.code, "From 0 former flows" in said.out) == (0, True)
