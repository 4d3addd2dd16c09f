"""A client's tasks land when the history that they make was tested, inside of the call that reports them."""

from __future__ import annotations

from pathlib import Path

from tests.server.driven import Answer, dispatch, plan, reported, row, spec
from tests.support.portal import Portal


def begun(server: Portal, *tasks: str, **keys: str) -> Answer:
    text = spec(dispatch(require=1, **keys)).replace('"0.3"', '"0.4"')
    said = plan(server, text, {"tasks": [{"id": task} for task in tasks]})
    for one in said["batch"]:
        Path(one["path"], f"{one['task_id']}.txt").write_text("x\n", encoding="utf-8")
    return said


def subjects(server: Portal, since: str) -> list[str]:
    return server.repo.git("log", "--reverse", "--format=%s", f"{since}..main").splitlines()


def test_what_fails_on_top_of_the_others_is_left_out(server: Portal) -> None:
    tip = server.repo.head()
    said = begun(server, "one", "bad", "three", land_verify='"! test -e bad.txt"')
    after = reported(server, said["flow_id"], row("one"), row("bad"), row("three"))

    assert after["status"] == "complete", after
    assert subjects(server, tip) == ["one: do one", "three: do three"]
    assert "bad.txt" not in server.repo.files()
    assert server.repo.git("status", "--porcelain") == ""
    told = server.repo.git("log", "-1", "--grep=Stratum-Event: Landed", "--format=%B", "--all")
    assert "bad: left out: `! test -e bad.txt` exited with 1" in told


def test_a_target_that_fails_already_is_told_and_tried_again(server: Portal) -> None:
    server.repo.commit("broken", {"bad.txt": "x\n"})
    said = begun(server, "four", land_verify='"! test -e bad.txt"')
    blocked = reported(server, said["flow_id"], row("four"))
    assert "land_verify fails on main already" in str(blocked), blocked

    server.repo.git("rm", "-q", "bad.txt")
    server.repo.commit("mended")
    again = server.call("stratum_resume", flow_id=said["flow_id"])
    assert (again["status"], subjects(server, "HEAD~1")) == ("complete", ["four: do four"]), again


def test_a_squash_lands_too(server: Portal) -> None:
    tip = server.repo.head()
    said = begun(server, "five", merge="squash", commit_message='"land {task.id} of {step}"')
    after = reported(server, said["flow_id"], row("five"))
    assert after["status"] == "complete", after
    assert subjects(server, tip) == ["land five of s1"]
