"""Programs that a repository's settings, hooks and attributes name: none is run for who only looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.traps import KEYS, Traps, hostile_repo, make_traps, plain_git
from tests.support.portal import SettledShell, serving
from tests.support.repos import ScratchRepo
from tests.support.shell import SPEC, Shell

LOOK = """\
version: "0.3"
flows:
  main:
    input: {}
    steps:
      - {id: s1, intent: x, skip_if: "not vocabulary_compliance('words.yaml', [], True, 'HEAD')"}
"""
EDITS = 'echo "$STRATUM_TASK" >> a.txt; echo "$STRATUM_TASK" > "$STRATUM_TASK.txt"'


@pytest.fixture
def traps(tmp_path: Path) -> Traps:
    return make_traps(tmp_path / "traps")


@pytest.fixture
def victim(tmp_path: Path, traps: Traps) -> SettledShell:
    """A user in a hostile repository."""
    home = tmp_path / "user"
    home.mkdir()
    return SettledShell(home, hostile_repo(tmp_path / "repo", traps))


def test_the_traps_are_sharp(victim: Shell, traps: Traps) -> None:
    """What git itself runs when a user looks: without this, the other tests would show nothing."""
    for words in (
        ("status",),
        ("cat-file", "-p", "1" * 40),
        ("commit", "--allow-empty", "-m", "x"),
        ("diff",),
    ):
        plain_git(victim.repo, *words)
    sharp = {"core.fsmonitor", "filter.f.clean", "remote.ext", "core.sshCommand", "pre-commit", "gpg.program"}
    assert sharp - {"gpg.program"} <= set(traps.sprung())


def test_no_verb_that_looks_runs_any(victim: Shell, traps: Traps) -> None:
    spec = victim.file("looks.stratum.yaml", SPEC)
    folder = victim.file(
        "tasks/01.md", "# Task: x\n\n## Acceptance Criteria\n- [ ] file a.txt exists\n"
    ).parent
    for words, code in (
        (("validate", str(spec)), 0),
        (("compile", str(folder)), 0),
        (("migrate", "--dry-run", str(spec)), 0),
        (("query", "flows"), 0),
        (("query", "gates"), 0),
        (("query", "flow", "nobody"), 1),
        (("log", "nobody"), 2),
        (("diff", "nobody", "x"), 2),
        (("logs", "nobody", "x"), 2),
        (("doctor",), 0),
    ):
        said = victim.run(*words)
        assert (said.code, traps.sprung()) == (code, ()), (words, said)
    assert not (victim.home / "state").exists(), "nothing is made for who looks"


def test_no_tool_that_looks_or_plans_runs_any(victim: SettledShell, traps: Traps) -> None:
    victim.repo.write("words.yaml", "write: {reject: [scribble]}\n")
    victim.repo.write("a.txt", "scribble\n")
    with serving(victim) as server:
        assert server.call("stratum_validate", spec=LOOK)["valid"]
        planned = server.call("stratum_plan", spec=LOOK, flow="main", inputs={})
        flow = planned["flow_id"]
        assert planned["step_id"] == "s1"
        server.call("stratum_commit", flow_id=flow, label="now")
        changed = server.call("stratum_checkpoint_diff", flow_id=flow, label="now")["text"]
        assert "+scribble" in changed
        assert server.call("stratum_revert", flow_id=flow, label="now")["since"]["total"] >= 2
        for tool in ("stratum_resume", "stratum_audit", "stratum_events", "stratum_parallel_status"):
            server.call(tool, flow_id=flow)
        for tool in ("stratum_flows", "stratum_doctor", "stratum_list_workflows"):
            server.call(tool)
    assert traps.sprung() == ()


def test_a_run_starts_filters_and_no_other_program(victim: Shell, traps: Traps) -> None:
    tasks = victim.tasks({"id": "x"}, {"id": "y"})
    said = victim.run("run", victim.spec(), tasks, victim.agent(EDITS))
    # Both change the end of one file: a driver is asked for, and says no.
    assert said.code == 1, said
    assert set(traps.sprung()) <= {"filter.f.clean", "filter.f.smudge", "merge.m.driver"}


def test_what_an_agent_adds_to_the_settings_is_not_started(tmp_path: Path, traps: Traps) -> None:
    """Its tether has ended when its work is captured: what git started then would go on for ever."""
    home = tmp_path / "user"
    home.mkdir()
    repo = ScratchRepo.make(tmp_path / "repo")
    repo.git("config", "user.name", "Tess Ter")
    repo.git("config", "user.email", "tess@example.invalid")
    repo.commit("first", {"a.txt": "a\n", "b.txt": "b\n", ".gitattributes": "* filter=f diff=d merge=m\n"})
    shell = SettledShell(home, repo)
    # What an agent does is set up by hand in another repository, and copied over.
    model = ScratchRepo.make(tmp_path / "model")
    traps.set_in(model, KEYS)
    own = repo.path / ".git"
    script = (
        f"sed -n '/include/,$p' '{model.path}/.git/config' >> '{own}/config'\n"
        f"cp -r '{model.path}/.git/hooks' '{model.path}/.git/info' '{own}/'\n{EDITS}"
    )
    said = shell.run("run", shell.spec(), shell.tasks({"id": "x"}), shell.agent(script))
    assert said.code in {0, 1}, said
    assert "x.txt" in repo.files("main")
    assert "filter.f.clean" in repo.git("config", "--get-regexp", "filter.f.clean")
    assert set(traps.sprung()) <= {"core.fsmonitor"}, "but what the agent's own git started"
