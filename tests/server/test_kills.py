"""Servers that are killed in the middle of something, and others that start beside one that is at work."""

from __future__ import annotations

import os
import signal
from pathlib import Path

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
        assert '"occupant"' not in record.read_text()
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
