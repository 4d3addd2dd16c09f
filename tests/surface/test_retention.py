"""What has been kept for long enough goes, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from stratum_git.app import retention
from stratum_git.app.config import read_config
from stratum_git.app.places import folders_of
from stratum_git.app.surroundings import Surroundings
from stratum_git.git.refs import RefSession, read_refs
from tests.support.contracts import conforms
from tests.support.shell import SPEC, Shell, interrupt, wait_for

AGENT = """\
echo "$STRATUM_TASK" > "$STRATUM_TASK.txt"
[ "$STRATUM_TASK" = bad ] && exit 1
[ "$STRATUM_TASK" = one ] || [ "$STRATUM_TASK" = two ] && echo "$STRATUM_TASK" > same.txt
exit 0
"""


def over(shell: Shell) -> str:
    """Returns a flow that is over, with all that one can leave."""
    before = set(shell.flows())
    spec = shell.spec(SPEC + "        require: 1\n        on_quorum: keep\n")
    tasks = shell.tasks({"id": "one"}, {"id": "two"}, {"id": "bad"}, {"id": "idle", "depends_on": ["one"]})
    shell.run("run", spec, tasks, shell.agent(AGENT), "--quiet")
    (flow,) = set(shell.flows()) - before
    return flow


def collect(shell: Shell, *words: str, code: int = 0) -> dict[str, Any]:
    said = shell.run("gc", "--json", *words)
    assert (said.code, said.err) == (code, "")
    conforms(said.json(), "gc-result.v1")
    return cast("dict[str, Any]", said.json())


def refs(shell: Shell, flow: str) -> set[str]:
    every = shell.repo.git("for-each-ref", "--format=%(refname)").split()
    return {ref for ref in every if flow in ref}


def traces(shell: Shell, flow: str) -> set[str]:
    return {str(path) for path in (shell.home / "state").rglob("*") if flow in path.name}


def test_nothing_goes_before_its_time(shell: Shell) -> None:
    flow = over(shell)
    before = refs(shell, flow), traces(shell, flow)
    assert collect(shell)["refs"] == []
    assert collect(shell, "--older-than", "1h")["paths"] == []
    shell.repo.write(".stratum/config.yaml", "retention: 2h\n")
    assert collect(shell)["refs"] == []
    assert before == (refs(shell, flow), traces(shell, flow))
    shell.repo.write(".stratum/config.yaml", "retention: 0s\n")
    assert collect(shell, "--dry-run")["flows"] == [flow]


def test_what_a_flow_left_goes_and_can_be_had_back_by_its_id(shell: Shell) -> None:
    flow = over(shell)
    wanted = {ref: shell.repo.git("rev-parse", ref) for ref in refs(shell, flow) if "/flows/" not in ref}
    assert {ref.split("/")[2] for ref in wanted} == {"attempts", "conflicts", "stratum"}
    dry = collect(shell, "--older-than", "0s", "--dry-run")
    assert {row["ref"]: row["was"] for row in dry["refs"]} == wanted
    assert traces(shell, flow)
    done = collect(shell, "--older-than", "0s")
    assert done == {**dry, "dry_run": False}
    assert refs(shell, flow) == {f"refs/stratum/flows/{flow}"}
    assert traces(shell, flow) == set()
    assert shell.run("log", flow).code == 0
    bad = wanted[f"refs/stratum/attempts/{flow}/build/bad/1"]
    assert shell.repo.show(f"{bad}:bad.txt") == "bad"
    assert collect(shell, "--older-than", "0s")["refs"] == []
    last = collect(shell, "--older-than", "0s", "--flows")
    assert [row["ref"] for row in last["refs"]] == [f"refs/stratum/flows/{flow}"]
    assert shell.flows() == []


def test_branches_that_are_used_stay(shell: Shell, tmp_path: Path) -> None:
    flow = over(shell)
    shell.repo.git("worktree", "add", "-q", str(tmp_path / "mine"), f"stratum/{flow}/one")
    mine = shell.repo.git("commit-tree", "-p", "HEAD", "-m", "mine", "HEAD^{tree}")
    shell.repo.git("update-ref", f"refs/heads/stratum/{flow}/bad", mine)
    done = collect(shell, "--older-than", "0s")
    assert {row["what"]: row["why"] for row in done["kept"]} == {
        f"refs/heads/stratum/{flow}/bad": "somebody has moved it on",
        f"refs/heads/stratum/{flow}/one": "it is checked out",
    }
    assert {ref.rpartition("/")[2] for ref in refs(shell, flow)} == {"bad", "one", flow}


def test_a_flow_that_is_not_over_is_not_touched(shell: Shell) -> None:
    agent = shell.agent('echo w > w.txt; touch "$HOME/at-work"; exec sleep 100')
    process = shell.start("run", shell.spec(), shell.tasks({"id": "x"}), agent)
    wait_for(shell.home / "at-work")
    flow = shell.flow()
    before = refs(shell, flow), traces(shell, flow)
    assert collect(shell, "--older-than", "0s", "--flows")["refs"] == []
    assert before == (refs(shell, flow), traces(shell, flow))
    interrupt(process)
    before = refs(shell, flow), traces(shell, flow)
    assert collect(shell, "--older-than", "0s", "--flows")["refs"] == []
    assert before == (refs(shell, flow), traces(shell, flow))
    assert shell.run("cancel", flow).code == 0
    assert collect(shell, "--older-than", "0s")["flows"] == [flow]


def test_a_flow_that_goes_on_after_it_was_looked_at_is_not_touched(shell: Shell) -> None:
    flow = over(shell)
    around = Surroundings(shell.repo.path, shell.environment)
    repo = around.repository()
    tips = read_refs(repo, "refs/stratum/flows/")
    yard = retention._yard(repo, folders_of(around, repo, read_config(repo.root)), tips)
    shell.repo.git("update-ref", f"refs/stratum/flows/{flow}", f"refs/stratum/flows/{flow}~1")
    before, removed = refs(shell, flow), retention.Removed()
    with RefSession(repo, "test", durable=False) as session:
        retention._collect(yard, session, [flow], removed, flows=True, dry_run=False)
    assert (list(removed.kept), removed.flows) == ([f"flow {flow}"], [])
    assert refs(shell, flow) == before


def test_ten_thousand_refs_go_at_once(shell: Shell) -> None:
    flow = over(shell)
    head = shell.repo.head()
    prefix = f"refs/stratum/attempts/{flow}/build/many"
    shell.repo.git("pack-refs", "--all")
    packed = shell.repo.path / ".git" / "packed-refs"
    rows = packed.read_text().splitlines()[1:] + [f"{head} {prefix}/{n}" for n in range(1, 10_001)]
    packed.write_text("\n".join(rows) + "\n")
    assert len(collect(shell, "--older-than", "0s")["refs"]) > 10_000
    assert refs(shell, flow) == {f"refs/stratum/flows/{flow}"}


@pytest.mark.parametrize("words", [("--older-than", "30"), ("--older-than=-1d",), ("--older-than", "1y")])
def test_a_span_of_time_that_is_none(shell: Shell, words: tuple[str, ...]) -> None:
    said = shell.run("gc", *words, "--json")
    assert (said.code, said.error()["code"]) == (2, "UserError")
