"""Servers that are killed in the middle of something, and others that start beside one that is at work."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from filelock import FileLock

from tests.server.driven import Answer, dispatch, row
from tests.server.driven import spec as spec_of
from tests.support.mortal import Mortal, mortals
from tests.support.programs import is_running, wait_until_gone
from tests.support.shell import Shell, wait_for


def asked(server: Mortal, tool: str, **arguments: object) -> Answer:
    """Returns what a server that lives answers."""
    server.ask(tool, **arguments)
    found: Answer = server.answer()["result"]["structuredContent"]
    return found


def spec(*steps: str) -> str:
    return spec_of(*steps).replace('"0.3"', '"0.4"')


def planned(server: Mortal, text: str, *tasks: str) -> Answer:
    return asked(server, "stratum_plan", spec=text, flow="main", inputs={"tasks": [{"id": t} for t in tasks]})


def report(said: Answer, task: str) -> Answer:
    """Returns the arguments with which a task is reported."""
    return {
        "flow_id": said["flow_id"],
        "step_id": "s1",
        "task_results": [row(task)],
        "merge_status": "clean",
    }


def script(shell: Shell, name: str, text: str) -> str:
    """Returns a command of a spec: a script of the user's."""
    path = shell.file(name, f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_place_whose_setup_was_cut_off_is_made_again(shell: Shell, tmp_path: Path) -> None:
    setup = script(
        shell,
        "setup",
        'if [ -e "$HOME/slow" ]; then trap "" TERM; echo $$ > "$HOME/pid.new"\n'
        'mv "$HOME/pid.new" "$HOME/pid"; sleep 60; fi\necho ready > ready.txt',
    )
    (shell.home / "slow").touch()
    with mortals(shell, tmp_path) as servers:
        first = next(servers)
        first.ask(
            "stratum_plan", spec=spec(dispatch(setup=setup)), flow="main", inputs={"tasks": [{"id": "a"}]}
        )
        wait_for(shell.home / "pid")
        first.kill()
        (shell.home / "slow").unlink()
        second = next(servers)
        said = asked(second, "stratum_resume", flow_id=shell.flow())
        assert not is_running(int((shell.home / "pid").read_text())), "what it was at is over"
        assert (Path(said["batch"][0]["path"]) / "ready.txt").read_text() == "ready\n"
        second.kill()


def test_a_server_gives_back_what_a_killed_one_left_and_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    with mortals(shell, tmp_path) as servers:
        first = next(servers)
        said = planned(first, spec(dispatch()), "a")
        place = Path(said["batch"][0]["path"])
        record = place.with_name(f"{place.name}.json")
        occupied = record.read_text()
        given = report(said, "a")
        assert asked(first, "stratum_parallel_done", **given)["status"] == "complete"
        # As it is when the server is killed between the report and the release.
        record.write_text(occupied)
        first.kill()
        (place.parent.parent / "trash" / "thrown away").mkdir(parents=True)
        second = next(servers)
        planned(second, spec("intent: anything"))
        # Whoever the client was may still be in it: it is thrown away.
        assert not record.exists()
        second.requests.close()
        wait_until_gone(second.pid)
        second.answers.close()
        assert list((place.parent.parent / "trash").iterdir()) == []


def test_what_a_killed_server_had_started_is_over_before_the_place_is_entered_again(
    shell: Shell, tmp_path: Path
) -> None:
    verify = script(
        shell,
        "verify",
        'if [ -e "$HOME/slow" ]; then echo $$ > "$HOME/pid.new"; mv "$HOME/pid.new" "$HOME/pid"\n'
        "trap '' TERM; sleep 60; fi",
    )
    (shell.home / "slow").touch()
    with mortals(shell, tmp_path) as servers:
        first = next(servers)
        said = planned(first, spec(dispatch(verify=verify)), "a")
        given = report(said, "a")
        first.ask("stratum_parallel_done", **given)
        wait_for(shell.home / "pid")
        pid = int((shell.home / "pid").read_text())
        # Nobody is left to end what it had started.
        os.kill(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGSTOP)
        first.kill()
        (shell.home / "slow").unlink()
        second = next(servers)
        assert asked(second, "stratum_parallel_done", **given)["status"] == "complete"
        assert not is_running(pid)
        second.kill()


def test_a_landing_that_was_being_tested_is_taken_up_by_the_next_server(shell: Shell, tmp_path: Path) -> None:
    check = script(
        shell,
        "check",
        'echo x >> "$HOME/ran"\nif [ -e made-b ] && [ -e "$HOME/slow" ]; then echo $$ > "$HOME/pid.new"\n'
        'mv "$HOME/pid.new" "$HOME/pid"; trap \'\' TERM; sleep 60; fi',
    )
    (shell.home / "slow").touch()
    with mortals(shell, tmp_path) as servers:
        first = next(servers)
        said = planned(first, spec(dispatch(land_verify=check)), "a", "b")
        for row in said["batch"]:
            Path(row["path"], f"made-{row['task_id']}").write_text("x\n")
        tip = shell.repo.head()
        asked(first, "stratum_parallel_done", **report(said, "a"))
        first.ask("stratum_parallel_done", **report(said, "b"))
        wait_for(shell.home / "pid")
        wait_for(shell.repo.path / ".git/refs/stratum/verdicts/known")
        pid = int((shell.home / "pid").read_text())
        os.kill(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGSTOP)
        first.kill()
        assert shell.repo.head() == tip
        (shell.home / "slow").unlink()
        second = next(servers)
        assert asked(second, "stratum_resume", flow_id=said["flow_id"])["status"] == "complete"
        assert not is_running(pid)
        second.kill()
    assert shell.repo.git("log", "--format=%s", "-2").splitlines() == ["b: do b", "a: do a"]
    assert (shell.home / "ran").read_text() == "x\n" * 3, "what had passed was not tested again"


def everything(shell: Shell, slots: Path) -> tuple[str, str, dict[str, str]]:
    """Returns the refs, the worktrees, and the records and files of slots."""
    files = {str(path): path.read_text() for path in slots.glob("*.json")}
    files |= {str(path): path.read_text() for path in slots.glob("*/*.txt")}
    return shell.repo.git("for-each-ref"), shell.repo.git("worktree", "list"), files


def looked(server: Mortal, flow: str) -> None:
    """Asks whatever only asks."""
    for tool in ("stratum_resume", "stratum_audit", "stratum_parallel_status", "stratum_check_timeouts"):
        asked(server, tool, flow_id=flow)
    for tool in ("stratum_flows", "stratum_doctor"):
        asked(server, tool)


def test_servers_that_start_beside_one_at_work_disturb_nothing(shell: Shell, tmp_path: Path) -> None:
    with mortals(shell, tmp_path) as servers:
        first = next(servers)
        said = planned(first, spec(dispatch(max_concurrent=3), "intent: after"), "a", "b", "c")
        flow = said["flow_id"]
        claim = asked(first, "stratum_task_claim", worker="w", flow_id=flow, seconds=600)
        places = {row["task_id"]: Path(row["path"]) for row in (*said["batch"], claim)}
        for task, place in places.items():
            (place / f"{task}.txt").write_text("half\n")
        slots = places["a"].parent
        before = everything(shell, slots)
        second, third = next(servers), next(servers)
        for server in (second, third):
            looked(server, flow)
        second.kill()
        third.requests.close()
        wait_until_gone(third.pid)
        third.answers.close()
        assert [shell.run(*words).code for words in (("query", "flows"), ("doctor",))] == [0, 0]
        assert shell.run("resume", flow, shell.agent("true")).code == 2
        assert everything(shell, slots) == before
        # What it was handed, it may report; so may the worker.
        done = {"lease": claim["lease"], "status": "complete", "result": {}}
        assert asked(first, "stratum_task_complete", **done)["status"] == "accepted"
        rest = sorted({"a", "b", "c"} - {claim["task_id"]})
        answers = [asked(first, "stratum_parallel_done", **report(said, task)) for task in rest]
        assert (answers[-1]["status"], answers[-1]["step_id"]) == ("execute_step", "s2")
        assert [(shell.repo.path / f"{task}.txt").read_text() for task in "abc"] == ["half\n"] * 3
        first.kill()


def test_what_a_server_at_work_has_started_is_spared_by_another(shell: Shell, tmp_path: Path) -> None:
    verify = script(shell, "verify", 'echo $$ > "$HOME/pid.new"; mv "$HOME/pid.new" "$HOME/pid"; sleep 60')
    with mortals(shell, tmp_path) as servers:
        first, second = next(servers), next(servers)
        said = planned(first, spec(dispatch(verify=verify)), "a")
        first.ask("stratum_parallel_done", **report(said, "a"))
        wait_for(shell.home / "pid")
        planned(second, spec(dispatch()), "a")
        shell.run("run", shell.spec(), shell.tasks({"id": "x"}), shell.agent("true"))
        assert is_running(int((shell.home / "pid").read_text()))
        assert (
            Path(said["batch"][0]["path"]).with_name(f"{Path(said['batch'][0]['path']).name}.json").exists()
        )
        second.kill()
        first.kill()


def test_one_who_only_looks_whether_a_flow_is_run_is_waited_for(shell: Shell, tmp_path: Path) -> None:
    with mortals(shell, tmp_path) as servers:
        server = next(servers)
        said = planned(server, spec(dispatch()), "a")
        locks = Path(said["batch"][0]["path"]).parents[1] / "locks"
        with FileLock(locks / f"flow-{said['flow_id']}.lock", thread_local=False) as glance:
            threading.Timer(0.1, glance.release).start()
            assert "batch" in asked(server, "stratum_resume", flow_id=said["flow_id"])
        server.kill()
