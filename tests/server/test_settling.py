"""A client settles what its flow left: resolves a conflict, lands what did not land, undoes what did."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from stratum_git.server.boundary import LONGEST, shortened
from tests.server.driven import Answer, dispatch, plan, refs, reported, row, spec
from tests.support.client import call
from tests.support.contracts import conforms
from tests.support.portal import Portal


@pytest.fixture(autouse=True)
def tidy(server: Portal) -> Iterator[None]:
    """Holds every test to it that the user's checkout is as the branch is."""
    yield
    assert server.repo.git("status", "--porcelain") == ""


def conflicted(server: Portal, name: str, **keys: str) -> str:
    """Returns a flow that is over, in which b is parked: a has made the same file otherwise.

    What it says is of the file's own, or the resolution of another test would be remembered.
    """
    keys = {"require": "1", "on_quorum": "keep", **keys}
    said = plan(
        server, spec(dispatch(**keys)).replace('"0.3"', '"0.4"'), {"tasks": [{"id": "a"}, {"id": "b"}]}
    )
    for one in said["batch"]:
        Path(one["path"], name).write_text(f"{name} by {one['task_id']}\n", encoding="utf-8")
    end = reported(server, said["flow_id"], row("a"), row("b"))
    assert end["status"] == "complete", end
    return str(said["flow_id"])


def follow(server: Portal, said: Answer, which: int = 0) -> Answer:
    """Calls what an answer says may be called next."""
    coming = said["next"][which]
    assert coming["why"]
    return server.call(coming["tool"], **coming["args"])


def holds_to(said: Answer, contract: str) -> None:
    """Raises when an answer is not what the command line prints, with what comes next beside it."""
    conforms({key: value for key, value in said.items() if key != "next"}, contract)


def subjects(server: Portal, since: str) -> list[str]:
    return server.repo.git("log", "--reverse", "--format=%s", f"{since}..main").splitlines()


def test_a_conflict_is_opened_edited_and_landed(server: Portal) -> None:
    head = server.repo.head()
    checks = {"verify": '["grep -q by one.txt"]', "land_verify": '"grep -q by one.txt"'}
    flow = conflicted(server, "one.txt", **checks)
    found = server.call("stratum_conflicts", flow_id=flow)
    assert [one["task_id"] for one in found["conflicts"]] == ["b"]

    opened = follow(server, found)
    holds_to(opened, "resolve-result.v1")
    assert (opened["status"], opened["paths"], opened["is_new"]) == ("open", ["one.txt"], True)
    place = Path(opened["path"])
    assert "<<<<<<<" in (place / "one.txt").read_text(encoding="utf-8")
    again = server.call("stratum_conflict_resolve", flow_id=flow, task_id="b")
    assert (again["path"], again["is_new"]) == (opened["path"], False)

    early = follow(server, opened)
    holds_to(early, "resolve-result.v1")
    assert (early["status"], early["path"]) == ("unresolved", opened["path"])
    assert "one.txt" in str(early["findings"])
    assert subjects(server, head) == ["a: do a"]
    # It breaks what the tests want, and lands when it does not.
    (place / "one.txt").write_text("neither\n", encoding="utf-8")
    broken = follow(server, early)
    assert (broken["status"], "grep -q by one.txt" in str(broken["findings"])) == ("unresolved", True)
    (place / "one.txt").write_text("by both\n", encoding="utf-8")
    landed = follow(server, broken)
    holds_to(landed, "resolve-result.v1")
    assert (landed["status"], landed["commit"], landed["next"]) == ("landed", server.repo.head(), [])
    assert subjects(server, head) == ["a: do a", "b: do b"]
    assert (server.repo.path / "one.txt").read_text(encoding="utf-8") == "by both\n"

    more = server.call("stratum_conflict_resolve", flow_id=flow, task_id="b", action="done")
    assert (more["status"], more["commit"]) == ("landed", landed["commit"])
    over = server.call("stratum_conflict_resolve", flow_id=flow, task_id="b")
    assert (over["status"], over["error_type"]) == ("error", "no_conflict")
    assert follow(server, over)["conflicts"] == []


def test_a_conflict_is_given_up_and_what_was_done_is_kept(server: Portal) -> None:
    flow = conflicted(server, "two.txt")
    unopened = server.call("stratum_conflict_resolve", flow_id=flow, task_id="b", action="abort")
    assert unopened["error_type"] == "not_open"
    opened = follow(server, unopened)
    (Path(opened["path"]) / "two.txt").write_text("half\n", encoding="utf-8")
    given_up = follow(server, opened, 1)
    holds_to(given_up, "resolve-result.v1")
    assert given_up["status"] == "given_up"
    assert server.repo.show(f"{given_up['kept']}:two.txt") == "half"
    assert follow(server, given_up)["attempt"] == opened["attempt"] + 1


def test_what_landed_is_undone_and_lands_again(server: Portal) -> None:
    head = server.repo.head()
    flow = conflicted(server, "three.txt")
    tip, before = server.repo.head(), refs(server.repo)
    look = server.call("stratum_undo", flow_id=flow, dry_run=True)
    holds_to(look, "undo-result.v1")
    assert [one["new"] for one in look["targets"]] == [head]
    assert refs(server.repo) == before

    server.repo.write("three.txt", "mine\n")
    refused = follow(server, look)
    assert (refused["status"], refused["error_type"]) == ("error", "checkout_in_the_way")
    assert server.repo.head() == tip
    server.repo.git("checkout", "-q", "three.txt")
    undone = follow(server, refused)
    holds_to(undone, "undo-result.v1")
    assert (server.repo.head(), (server.repo.path / "three.txt").exists()) == (head, False)
    twice = server.call("stratum_undo", flow_id=flow)
    assert [one["was_undone"] for one in twice["targets"]] == [True]

    before = refs(server.repo)
    way = {"task_ids": ["a"], "strategy": "squash"}
    dry = server.call("stratum_land", flow_id=flow, dry_run=True, **way)
    holds_to(dry, "land-result.v1")
    assert refs(server.repo) == before
    assert dry["next"][0]["args"] == {"flow_id": flow, **way}
    landed = follow(server, dry)
    holds_to(landed, "land-result.v1")
    assert landed["steps"][0]["tree"] == dry["steps"][0]["tree"]
    assert (len(subjects(server, head)), landed["steps"][0]["strategy"]) == (1, "squash")
    rest = server.call("stratum_land", flow_id=flow)
    assert [one["outcome"] for one in rest["steps"][0]["tasks"]] == ["parked"]
    assert [one["task_id"] for one in follow(server, rest)["conflicts"]] == ["b"]


def test_a_call_that_was_given_up_goes_on_and_others_are_told_to_wait(server: Portal) -> None:
    head = server.repo.head()
    hold, begun = server.shell.home / "hold", server.shell.home / "begun"
    waits = f"if test -e {hold}; then touch {begun}; fi; while test -e {hold}; do sleep 0.02; done"
    flow = conflicted(server, "four.txt", land_verify=f'"{waits}"')
    opened = server.call("stratum_conflict_resolve", flow_id=flow, task_id="b")
    (Path(opened["path"]) / "four.txt").write_text("by both\n", encoding="utf-8")
    hold.touch()
    done = {"flow_id": flow, "task_id": "b", "action": "done"}

    async def leave() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: call(server.client, "stratum_conflict_resolve", **done))
            with trio.fail_after(20):
                while not begun.exists():
                    await trio.sleep(0.02)
            nursery.cancel_scope.cancel()

    trio.from_thread.run(leave, trio_token=server.token)
    busy = server.call("stratum_land", flow_id=flow)
    assert (busy["status"], busy["error_type"]) == ("error", "flow_busy")
    assert busy["next"][0]["tool"] == "stratum_parallel_wait"
    assert server.call("stratum_land", flow_id=flow, dry_run=True)["steps"]
    assert subjects(server, head) == ["a: do a"]

    hold.unlink()
    deadline = time.monotonic() + 20
    while (said := server.call("stratum_conflict_resolve", **done))["status"] == "error":
        assert (said["error_type"], time.monotonic() < deadline) == ("flow_busy", True), said
    assert (said["status"], subjects(server, head)) == ("landed", ["a: do a", "b: do b"])


def test_what_is_asked_wrongly_is_refused(server: Portal) -> None:
    going = plan(server, spec("intent: do it"))["flow_id"]
    refused = server.call("stratum_undo", flow_id=going)
    assert (refused["error_type"], refused["next"][0]["tool"]) == ("not_over", "stratum_parallel_cancel")
    none = server.call("stratum_land", flow_id="none")
    assert (none["error_type"], none["next"][0]["tool"]) == ("flow_not_found", "stratum_flows")
    unknown = server.call("stratum_conflict_resolve", flow_id=going, task_id="zz")
    assert unknown["error_type"] == "task_not_found"
    assert server.is_wrong("stratum_conflict_resolve", flow_id=going, task_id="a", action="guess")
    assert server.is_wrong("stratum_land", flow_id=going, strategy="manual")


def test_an_answer_that_is_too_long_is_told_from_its_beginning(server: Portal) -> None:
    rows = [{"commit": f"{number:040}", "subject": "ä" * 50} for number in range(2000)]
    step = {"commits": rows, "changed": [{"path": f"{number}.txt"} for number in range(9)], "notes": []}
    told = shortened({"steps": [step], "next": []})
    kept = told["steps"][0]["commits"]
    assert len(json.dumps(told, ensure_ascii=False)) <= LONGEST
    assert kept == rows[: len(kept)]
    assert told["omitted"] == {"commits": 2000 - len(kept)}
    assert len(kept) > 100
    assert len(step["commits"]) == 2000
    short = {"steps": [{"commits": rows[:3]}]}
    assert shortened(short) == short
