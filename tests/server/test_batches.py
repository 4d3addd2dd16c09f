"""A client fans tasks out: places to work in, work that is found there, one history, nothing lost."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stratum_git.slots.mounts import take_off
from stratum_git.slots.occupancy import try_lock
from tests.server.driven import Answer, decided, dispatch, done, plan, refs, reported, row, spec
from tests.support.mortal import mortals
from tests.support.portal import Portal, serving, settle_in
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell


def git(path: Path | str, *words: str) -> str:
    return ScratchRepo(Path(path)).git(*words)


def fan(
    server: Portal, *tasks: str | Mapping[str, object], more: tuple[str, ...] = (), **keys: Any
) -> tuple[str, Answer]:
    """Begins a flow of one dispatch step; returns its id and the answer."""
    rows = [{"id": task} if isinstance(task, str) else dict(task) for task in tasks]
    said = plan(server, spec(dispatch(**keys), *more), {"tasks": rows})
    assert said["status"] == "parallel_dispatch", said
    return str(said["flow_id"]), said


def places(said: Answer) -> dict[str, Path]:
    """Returns where each task of a batch is to be done."""
    return {one["task_id"]: Path(one["path"]) for one in said["batch"]}


def write(place: Path, name: str, text: str = "x\n") -> None:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def leases(repo: ScratchRepo, flow: str) -> list[str]:
    return repo.git("for-each-ref", "--format=%(refname)", f"refs/stratum/leases/{flow}").split()


def kept(repo: ScratchRepo, flow: str) -> dict[str, list[str]]:
    """Returns the files of what attempts left, by step, task and number."""
    prefix = f"refs/stratum/attempts/{flow}/"
    found = repo.git("for-each-ref", "--format=%(refname)", prefix).split()
    return {ref.removeprefix(prefix): repo.files(ref) for ref in found}


def occupied(server: Portal, flow: str) -> list[Path]:
    """Returns the slots that somebody of a flow is in: those on their way out are held by the server."""
    found = []
    for record in (server.shell.home / "state").glob("**/*-????????.json"):
        lock = try_lock(record.with_suffix(""))
        if lock is not None:
            with suppress(FileNotFoundError):
                found += [record] if f'"{flow}"' in record.read_text(encoding="utf-8") else []
            lock.release()
    return found


def subjects(repo: ScratchRepo, since: str, until: str = "main") -> list[str]:
    return repo.git("log", "--reverse", "--format=%s", f"{since}..{until}").splitlines()


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Holds every test to it that the user's checkout is as the branch is."""
    yield
    if "server" in request.fixturenames:
        server: Portal = request.getfixturevalue("server")
        assert server.repo.git("status", "--porcelain") == ""


# --- places, and what is found in them --------------------------------------------------------------------


def test_every_task_has_a_worktree_at_its_base_on_its_branch(server: Portal) -> None:
    head = server.repo.head()
    name, said = fan(server, {"id": "a", "description": "first", "files_owned": ["a/"]}, "b")

    worktrees = server.repo.git("worktree", "list", "--porcelain")
    for one in said["batch"]:
        path, task = Path(one["path"]), one["task_id"]
        assert one["branch"] == f"refs/heads/stratum/{name}/{task}"
        assert git(path, "symbolic-ref", "HEAD") == one["branch"]
        assert git(path, "rev-parse", "HEAD") == one["base"] == head
        assert git(path, "status", "--porcelain") == ""
        assert f"worktree {path}\n" in worktrees
        assert server.repo.path not in path.parents
    first, second = said["batch"]
    assert (first["files_owned"], first["changes"], first["intent"], first["findings"]) == (
        ["a/"],
        "required",
        "do a",
        [],
    )
    assert (second["files_owned"], second["changes"], second["attempt"]) == ([], "optional", 1)
    assert len({first["lease"], second["lease"]}) == 2
    assert len(leases(server.repo, name)) == 2
    # Asked again, the places are the same.
    assert server.call("stratum_resume", flow_id=name)["batch"] == said["batch"]


def test_a_place_that_lost_its_mount_is_told_with_its_files(tmp_path: Path) -> None:
    with serving(settle_in(tmp_path)) as server:
        name, said = fan(server, "a")
        place = places(said)["a"]
        if not place.is_mount():
            pytest.skip("nothing can be mounted here")
        write(place, "mine.txt")
        # As after a restart of the machine.
        take_off(place)

        again = server.call("stratum_resume", flow_id=name)
        assert again["batch"] == said["batch"]
        assert (place / "mine.txt").read_text(encoding="utf-8") == "x\n"
        write(place, "a.txt", "changed\n")
        assert reported(server, name, row("a"))["status"] == "complete"
        changed = server.repo.git("diff", "--name-status", "main~", "main").split()
        assert changed == ["M", "a.txt", "A", "mine.txt"]


def test_work_lands_as_one_commit_per_task_committed_or_not(server: Portal) -> None:
    head = server.repo.head()
    name, said = fan(server, "loose", "own", "none")
    where = places(said)
    write(where["loose"], "loose/new.txt")
    write(where["loose"], "a.txt", "changed\n")
    for number in (1, 2):
        write(where["own"], f"own/{number}.txt")
        git(where["own"], "add", "-A")
        git(where["own"], "commit", "-qm", f"mine {number}")
    write(where["own"], "own/3.txt")
    (where["own"] / "dir/c.txt").unlink()

    end = reported(server, name, row("loose"), row("own"), row("none", result={"said": "nothing to do"}))

    assert end["status"] == "complete"
    assert subjects(server.repo, head) == ["loose: do loose", "own: do own"]
    assert server.repo.git("rev-list", "--count", "--merges", f"{head}..main") == "0"
    trailers = "%(trailers:key=Stratum-Task,valueonly,separator=)"
    assert server.repo.git("log", "-2", f"--format={trailers}").split() == ["own", "loose"]
    assert set(server.repo.git("diff", "--name-status", head, "main").splitlines()) == {
        "M\ta.txt",
        "A\tloose/new.txt",
        "A\town/1.txt",
        "A\town/2.txt",
        "A\town/3.txt",
        "D\tdir/c.txt",
    }
    # The user's checkout follows.
    assert (server.repo.path / "a.txt").read_text(encoding="utf-8") == "changed\n"
    assert not (server.repo.path / "dir/c.txt").exists()
    rows = {one["task_id"]: one for one in end["output"]["tasks"]}
    assert rows["none"]["result"] == {"said": "nothing to do"}
    assert {one["status"] for one in rows.values()} == {"complete"}
    assert (leases(server.repo, name), occupied(server, name)) == ([], [])
    server.repo.git("revert", "--no-edit", f"{head}..main")


def test_parts_are_reported_and_the_next_tasks_come_with_what_they_need(server: Portal) -> None:
    head = server.repo.head()
    tasks = ("a", "b", {"id": "c", "depends_on": ["a"]}, "d", {"id": "e", "depends_on": ["b", "c"]})
    name, said = fan(server, *tasks, max_concurrent=2)
    where = places(said)
    assert list(where) == ["a", "b"]
    write(where["a"], "parts/a.txt")
    said = reported(server, name, row("a"))
    assert (said["status"], list(places(said))) == ("parallel_dispatch", ["b", "c"])
    assert places(said)["b"] == where["b"]
    where = places(said)
    assert (where["c"] / "parts/a.txt").is_file()
    write(where["b"], "parts/b.txt")
    write(where["c"], "parts/c.txt")
    said = reported(server, name, row("c"))
    assert list(places(said)) == ["b", "d"]
    assert not (places(said)["d"] / "parts").exists()
    said = reported(server, name, row("b"), row("d"))
    where = places(said)
    assert list(where) == ["e"]
    assert sorted(path.name for path in (where["e"] / "parts").iterdir()) == ["a.txt", "b.txt", "c.txt"]
    assert server.repo.head() == head
    (where["e"] / "parts/a.txt").write_text("changed by e\n", encoding="utf-8")

    assert reported(server, name, row("e"))["status"] == "complete"

    assert subjects(server.repo, head) == ["a: do a", "b: do b", "c: do c", "e: do e"]
    assert (server.repo.path / "parts/a.txt").read_text(encoding="utf-8") == "changed by e\n"


def test_a_place_is_given_again_clean(server: Portal) -> None:
    name, said = fan(server, "a")
    write(places(said)["a"], "rubbish.log")
    reported(server, name, row("a", "failed"))
    other, said = fan(server, "z")

    assert not (places(said)["z"] / "rubbish.log").exists()
    assert git(places(said)["z"], "status", "--porcelain", "--ignored") == ""
    assert reported(server, other, row("z"))["status"] == "complete"


def test_more_tasks_than_places_come_one_batch_after_another(server: Portal) -> None:
    tasks = [f"t{n}" for n in range(20)]
    name, said = fan(server, *tasks, max_concurrent=20)
    assert list(places(said)) == tasks[:16]
    for task, place in places(said).items():
        write(place, f"many/{task}.txt")
    said = reported(server, name, *map(row, places(said)))
    assert list(places(said)) == tasks[16:]
    for task, place in places(said).items():
        write(place, f"many/{task}.txt")

    assert reported(server, name, *map(row, places(said)))["status"] == "complete"

    assert len(list((server.repo.path / "many").iterdir())) == 20


# --- what is not taken ------------------------------------------------------------------------------------


def test_a_task_that_owns_files_and_changed_none_is_done_again_alone(server: Portal) -> None:
    head = server.repo.head()
    name, said = fan(server, {"id": "a", "files_owned": ["x/a.txt"]}, {"id": "b", "files_owned": ["x/b.txt"]})
    write(places(said)["a"], "x/a.txt")

    said = reported(server, name, row("a"), row("b"))

    assert (said["status"], said["retries_remaining"]) == ("ensure_failed", 1)
    assert said["violations"] == [
        "require='all' not satisfied: 1 completed, 1 failed",
        "b: no_change: no file was changed",
    ]
    (again,) = said["batch"]
    assert (again["task_id"], again["attempt"], again["findings"]) == ("b", 2, ["no file was changed"])
    assert server.repo.head() == head
    write(Path(again["path"]), "x/b.txt")
    assert reported(server, name, row("b"))["status"] == "complete"
    assert subjects(server.repo, head) == ["a: do a", "b: do b"]


def test_a_task_that_changed_what_it_does_not_own_is_not_landed_and_its_work_is_kept(server: Portal) -> None:
    name, said = fan(server, {"id": "a", "files_owned": ["y/a.txt"]}, {"id": "b", "files_owned": ["y/b.txt"]})
    where = places(said)
    write(where["a"], "y/a.txt")
    write(where["b"], "y/b.txt")
    write(where["b"], "y/a.txt", "not mine\n")

    said = reported(server, name, row("a"), row("b"))

    assert said["status"] == "ensure_failed"
    assert said["violations"][1] == "b: scope: changed outside of files_owned (y/b.txt): y/a.txt"
    assert not (server.repo.path / "y").exists()
    assert "y/a.txt" in kept(server.repo, name)["s1/b/1"]
    said = reported(server, name, row("b", "failed", "no idea"))
    assert (said["error_type"], said["step_id"]) == ("retries_exhausted", "s1")
    assert said["violations"] == ["require='all' not satisfied: 1 completed, 1 failed"]
    assert not (server.repo.path / "y").exists()
    assert (leases(server.repo, name), occupied(server, name)) == ([], [])


def test_a_report_that_makes_no_sense_is_refused_and_changes_nothing(server: Portal) -> None:
    name, said = fan(server, "a", "b", {"id": "c", "depends_on": ["a"]})
    write(places(said)["a"], "z.txt")
    before = refs(server.repo)
    for rows, merge, kind in (
        ([row("nobody")], "clean", "unknown_task"),
        ([row("a"), row("nobody")], "clean", "unknown_task"),
        ([row("a"), row("b"), row("a")], "clean", "duplicate_task"),
        ([{"status": "complete", "result": {}}], "clean", "invalid_task_results"),
        ([{"task_id": 3, "status": "complete"}], "clean", "invalid_task_results"),
        ([{"task_id": "a", "result": {}}], "clean", "invalid_status"),
        ([row("a", "done")], "clean", "invalid_status"),
        ([row("a", "Complete")], "clean", "invalid_status"),
        ([row("a")], "banana", "invalid_merge_status"),
        ([row("a")], "", "invalid_merge_status"),
    ):
        said = reported(server, name, *rows, merge=merge)
        assert (said["status"], said["error_type"]) == ("error", kind), rows
        assert said["next"]
        assert refs(server.repo) == before, rows
    # Nothing is said of any task: nothing happens, and nothing is complete.
    said = reported(server, name)
    assert (said["status"], list(places(said))) == ("parallel_dispatch", ["a", "b"])
    assert (places(said)["a"] / "z.txt").is_file()
    server.call("stratum_skip_step", flow_id=name, step_id="s1", reason="over")


def test_two_tasks_that_conflict_land_one_after_the_other(server: Portal) -> None:
    head = server.repo.head()
    name, said = fan(server, "a", "b")
    for task, place in places(said).items():
        write(place, "same.txt", f"by {task}\n")

    said = reported(server, name, row("a"), row("b"))

    assert said["status"] == "ensure_failed"
    assert "b: conflicts in same.txt" in said["violations"]
    assert subjects(server.repo, head) == ["a: do a"]
    (again,) = said["batch"]
    assert (again["task_id"], again["attempt"], again["base"]) == ("b", 2, server.repo.head())
    assert again["findings"] == ["the result conflicts with what landed before it, in same.txt"]
    place = Path(again["path"])
    assert (place / "same.txt").read_text(encoding="utf-8") == "by a\n"
    parked = server.repo.git("rev-parse", f"refs/stratum/conflicts/{name}/s1/b")
    assert "<<<<<<<" in server.repo.show(f"{parked}:same.txt")
    write(place, "same.txt", "by a and b\n")
    end = reported(server, name, row("b"))
    assert (end["status"], end["output"]["merge_status"]) == ("complete", "clean")
    assert subjects(server.repo, head) == ["a: do a", "b: do b"]
    assert (server.repo.path / "same.txt").read_text(encoding="utf-8") == "by a and b\n"


def test_a_conflict_is_claimed_of_all_tasks_or_of_none(server: Portal) -> None:
    name = plan(server, spec(dispatch(), max_rounds=3), {"tasks": [{"id": "a"}, {"id": "b"}]})["flow_id"]
    before = refs(server.repo)
    refused = reported(server, name, row("a"), merge="conflict")
    assert (refused["error_type"], refused["status"]) == ("premature_conflict", "error")
    assert "not reported are: b" in refused["message"]
    assert refused["hint"]
    assert refs(server.repo) == before
    assert reported(server, name, row("a"))["status"] == "parallel_dispatch"
    said = reported(server, name, row("b"), merge="conflict")
    assert said["violations"] == ["merge conflict: merge_status='conflict'"]


def test_a_conflict_that_the_client_claims_lands_nothing_yet(server: Portal) -> None:
    head = server.repo.head()
    name, said = fan(server, "a")
    write(places(said)["a"], "claimed.txt")
    said = reported(server, name, row("a"), merge="conflict")
    assert (said["status"], said["violations"]) == (
        "ensure_failed",
        ["merge conflict: merge_status='conflict'"],
    )
    assert (server.repo.head(), said["batch"]) == (head, [])
    assert reported(server, name)["status"] == "complete"
    assert subjects(server.repo, head) == ["a: do a"]


def test_postconditions_of_the_step_see_the_whole_and_hold_it_back(server: Portal) -> None:
    head = server.repo.head()
    ensure = """ensure: ["file_exists('whole.txt')", "len(result.completed) == 2"]"""
    text = spec(f"{dispatch()}, {ensure}")
    said = plan(server, text, {"tasks": [{"id": "a"}, {"id": "b"}]})
    name = said["flow_id"]
    where = places(said)
    write(where["a"], "half.txt")
    said = reported(server, name, row("a"), row("b"))
    assert (said["status"], said["batch"]) == ("ensure_failed", [])
    assert said["violations"] == ["ensure 'file_exists('whole.txt')' failed"]
    assert server.repo.head() == head
    assert reported(server, name)["error_type"] == "retries_exhausted"
    assert server.repo.head() == head


# --- enough -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("require", "needed"), [("any", 1), ("2", 2)])
def test_enough_results_land_and_the_work_of_the_others_is_kept(
    server: Portal, require: str, needed: int
) -> None:
    head = server.repo.head()
    name, said = fan(server, "a", "b", "c", require=require)
    for task, place in places(said).items():
        write(place, f"{require}-{task}.txt")
    good = ["a", "c"][:needed]

    end = reported(server, name, *map(row, good))

    assert end["status"] == "complete"
    assert [one["task_id"] for one in end["output"]["completed"]] == good
    assert subjects(server.repo, head) == [f"{task}: do {task}" for task in good]
    left = kept(server.repo, name)
    assert {key: f"{require}-{key[3]}.txt" in files for key, files in left.items()} == {
        f"s1/{task}/1": True for task in "abc" if task not in good
    }
    assert (leases(server.repo, name), occupied(server, name)) == ([], [])


def test_a_task_that_is_reported_once_more_is_as_it_was(server: Portal) -> None:
    head = server.repo.head()
    name, said = fan(server, {"id": "a", "files_owned": ["o/a"]}, {"id": "b", "files_owned": ["o/b"]}, "c")
    for task, place in places(said).items():
        write(place, f"o/{task}")
    said = reported(server, name, row("a"))
    assert list(places(said)) == ["b", "c"]
    said = reported(server, name, row("a"), row("b"))
    assert (said["status"], list(places(said))) == ("parallel_dispatch", ["c"])

    end = reported(server, name, row("a"), row("b"), row("c"))

    assert (end["status"], len(end["output"]["completed"])) == ("complete", 3)
    assert subjects(server.repo, head) == ["a: do a", "b: do b", "c: do c"]


def test_a_result_is_on_the_branch_of_its_task(server: Portal) -> None:
    name, said = fan(server, "a", "b")
    where = places(said)
    write(where["a"], "branch.txt")
    write(where["b"], "failed.txt")

    reported(server, name, row("a"), row("b", "failed", "broken"))

    assert "branch.txt" in server.repo.files(f"stratum/{name}/a")
    assert kept(server.repo, name).keys() == {"s1/b/1"}
    assert "failed.txt" in kept(server.repo, name)["s1/b/1"]
    server.call("stratum_skip_step", flow_id=name, step_id="s1", reason="over")


def test_success_out_of_reach_is_known_at_once(server: Portal) -> None:
    name, said = fan(server, "a", "b", "c", require="2")
    said = reported(server, name, row("a", "failed"), row("b", "failed"))

    assert (said["status"], list(places(said))) == ("ensure_failed", ["a", "b", "c"])
    assert reported(server, name, row("a"), row("b"))["status"] == "complete"


# --- elsewhere --------------------------------------------------------------------------------------------


def test_work_is_kept_when_the_step_is_left_out(server: Portal) -> None:
    name, said = fan(server, "a", "b", more=("intent: after",))
    write(places(said)["a"], "skipped.txt")

    after = server.call("stratum_skip_step", flow_id=name, step_id="s1", reason="no time")

    assert after["step_id"] == "s2"
    assert "skipped.txt" in kept(server.repo, name)["s1/a/1"]
    assert (leases(server.repo, name), occupied(server, name)) == ([], [])
    assert reported(server, name, row("a"))["error_type"] == "step_mismatch"
    assert not (server.repo.path / "skipped.txt").exists()


def test_work_is_kept_when_the_flow_is_taken_back(server: Portal) -> None:
    text = spec("intent: before", dispatch().replace("$.input", "$.input"))
    name = plan(server, text, {"tasks": [{"id": "a"}, {"id": "b"}]})["flow_id"]
    server.call("stratum_commit", flow_id=name, label="start")
    said = done(server, name, "s1")
    server.call("stratum_commit", flow_id=name, label="fanned")
    write(places(said)["a"], "first.txt")
    said = server.call("stratum_revert", flow_id=name, label="fanned")
    assert (said["status"], said["reverted_to"]) == ("parallel_dispatch", "fanned")
    where = places(said)
    assert not (where["a"] / "first.txt").exists()
    assert ["first.txt" in files for files in kept(server.repo, name).values()] == [True]
    write(where["b"], "second.txt")

    assert server.call("stratum_revert", flow_id=name, label="start")["step_id"] == "s1"

    assert sorted(
        f for files in kept(server.repo, name).values() for f in files if "." in f and "nd" in f
    ) == ["second.txt"]
    assert (leases(server.repo, name), occupied(server, name)) == ([], [])
    where = places(done(server, name, "s1"))
    assert not (where["b"] / "second.txt").exists()
    write(where["b"], "third.txt")
    assert reported(server, name, row("a"), row("b"), step="s2")["status"] == "complete"
    assert (server.repo.path / "third.txt").is_file()


def test_work_is_kept_when_the_flow_around_is_killed(server: Portal) -> None:
    text = (
        spec(
            "intent: before",
            "function: review, on_approve: s3, on_revise: s1, on_kill: null",
            "flow: within, inputs: {tasks: $.input.tasks}",
        )
        + "  within:\n    input: {tasks: {type: array}}\n    steps: [{id: s1, "
        + dispatch()
        + "}]\n"
    )
    name = plan(server, text, {"tasks": [{"id": "a"}]})["flow_id"]
    done(server, name, "s1")
    server.call("stratum_commit", flow_id=name, label="gate")
    said = decided(server, name, "s2", "approve")
    assert said["status"] == "execute_flow"
    child = said["child_flow_id"]
    where = places(said["child_step"])
    write(where["a"], "inner.txt")
    server.call("stratum_revert", flow_id=name, label="gate")

    assert decided(server, name, "s2", "kill")["status"] == "killed"

    assert "inner.txt" in kept(server.repo, child)["s1/a/1"]
    assert (leases(server.repo, child), occupied(server, child)) == ([], [])
    assert reported(server, child, row("a"))["status"] == "error"


def test_work_is_kept_when_the_step_that_a_flow_does_is_left_out(server: Portal) -> None:
    inner = f"  within:\n    input: {{tasks: {{type: array}}}}\n    steps: [{{id: s1, {dispatch()}}}]\n"
    middle = "  middle:\n    input: {tasks: {type: array}}\n    steps:\n      - {id: m, flow: within, "
    text = spec("flow: middle, inputs: {tasks: $.input.tasks}", "intent: x") + (
        f"{middle}inputs: {{tasks: $.input.tasks}}}}\n{inner}"
    )
    said = plan(server, text, {"tasks": [{"id": "a"}]})
    name, child = said["parent_flow_id"], said["child_flow_id"]
    grandchild = said["child_step"]["child_flow_id"]
    assert said["child_step"]["child_step"]["flow_id"] == grandchild
    write(places(said["child_step"]["child_step"])["a"], "deep.txt")

    assert server.call("stratum_skip_step", flow_id=name, step_id="s1", reason="no")["step_id"] == "s2"

    assert [resumed(server, one)["error_type"] for one in (child, grandchild)] == ["cancelled", "cancelled"]
    assert "deep.txt" in kept(server.repo, grandchild)["s1/a/1"]
    assert (leases(server.repo, grandchild), occupied(server, grandchild)) == ([], [])


def resumed(server: Portal, name: str) -> Answer:
    return server.call("stratum_resume", flow_id=name)


def test_work_is_kept_when_the_flow_is_cancelled_in_a_terminal(server: Portal) -> None:
    name, said = fan(server, "a", "b")
    write(places(said)["a"], "cancelled.txt")

    cancelled = server.shell.run("cancel", name, timeout=30)

    assert cancelled.code == 0, cancelled
    assert resumed(server, name)["error_type"] == "cancelled"
    assert "cancelled.txt" in kept(server.repo, name)["s1/a/1"]
    assert (leases(server.repo, name), occupied(server, name)) == ([], [])


# --- servers that go, checkouts that are in the way -------------------------------------------------------


def test_a_report_to_another_server_lands_what_was_begun_with_one_that_was_killed(
    shell: Shell, tmp_path: Path
) -> None:
    text = spec(dispatch(), "intent: after")
    with mortals(shell, tmp_path) as servers:
        first = next(servers)
        first.ask("stratum_plan", spec=text, flow="main", inputs={"tasks": [{"id": "a"}, {"id": "b"}]})
        said = first.answer()["result"]["structuredContent"]
        first.kill()
        where = places(said)
        write(where["a"], "a/new.txt")
        second = next(servers)
        name = said["flow_id"]
        second.ask(
            "stratum_parallel_done", flow_id=name, step_id="s1", task_results=[row("a")], merge_status="clean"
        )
        part = second.answer()["result"]["structuredContent"]
        assert places(part) == {"b": where["b"]}
        second.kill()
    write(where["b"], "b/new.txt")
    with serving(shell) as server:
        after = reported(server, name, row("b"))
        assert (after["status"], after["step_id"]) == ("execute_step", "s2")
        assert (leases(server.repo, name), occupied(server, name)) == ([], [])
    assert subjects(shell.repo, "main~2") == ["a: do a", "b: do b"]
    assert shell.repo.git("status", "--porcelain") == ""


@pytest.mark.parametrize("times", [6, pytest.param(100, marks=pytest.mark.soak)])
def test_a_server_that_is_killed_while_it_takes_a_report_loses_nothing(
    shell: Shell, tmp_path: Path, times: int
) -> None:
    chance, took = random.Random(times), 0.2
    with serving(shell) as server, mortals(shell, tmp_path) as servers:
        for number, mortal in zip(range(times), servers, strict=False):
            name, said = fan(server, "a", "b", {"id": "c", "depends_on": ["a"]}, more=("intent: after",))
            for task, place in places(said).items():
                write(place, f"{number}/{task}.txt")
            rows = [row("a"), row("b")]
            given = {"flow_id": name, "step_id": "s1", "task_results": rows, "merge_status": "clean"}
            mortal.ask("stratum_parallel_done", **given)
            time.sleep(chance.uniform(0, 1.5 * took))
            mortal.kill()
            began = time.monotonic()
            said = resumed(server, name)
            if {"a", "b"} & places(said).keys():
                assert all((place / f"{number}").is_dir() for place in places(said).values())
                said = reported(server, name, *rows)
            assert list(places(said)) == ["c"]
            took = time.monotonic() - began
            assert (places(said)["c"] / f"{number}/a.txt").is_file()
            assert reported(server, name, row("c"))["step_id"] == "s2"
            assert sorted(path.name for path in (shell.repo.path / f"{number}").iterdir()) == [
                "a.txt",
                "b.txt",
            ]
            assert (leases(shell.repo, name), occupied(server, name)) == ([], [])
    assert len(subjects(shell.repo, "HEAD~" + str(2 * times))) == 2 * times
    assert shell.repo.git("status", "--porcelain") == ""


def test_tasks_are_reported_at_once_through_two_servers(shell: Shell) -> None:
    tasks = [f"t{n}" for n in range(6)]
    with serving(shell) as one, serving(shell) as other, ThreadPoolExecutor(6) as pool:
        name, said = fan(one, *tasks, max_concurrent=6)
        for task, place in places(said).items():
            write(place, f"{task}.txt")
        found = list(pool.map(lambda n: reported((one, other)[n % 2], name, row(tasks[n])), range(6)))
        assert sorted(said["status"] for said in found) == ["complete", *["parallel_dispatch"] * 5]
    assert sorted(subjects(shell.repo, "main~6")) == [f"{task}: do {task}" for task in tasks]
    assert shell.repo.git("status", "--porcelain") == ""


def test_a_worker_who_takes_a_task_while_its_report_is_judged_keeps_it(shell: Shell, tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    wait = shell.file("wait", f"#!/bin/sh\ntouch '{begun}'; while [ ! -e '{go}' ]; do sleep 0.02; done\n")
    wait.chmod(0o755)
    with serving(shell) as one, serving(shell) as other, ThreadPoolExecutor(1) as pool:
        text = spec(dispatch(verify=str(wait))).replace('version: "0.3"', 'version: "0.4"')
        said = plan(one, text, {"tasks": [{"id": "a"}]})
        name = str(said["flow_id"])
        write(places(said)["a"], "a.txt")
        report = pool.submit(reported, one, name, row("a"))
        while not begun.exists():
            assert not report.done()
            time.sleep(0.01)
        taken = other.call("stratum_task_claim", flow_id=name, worker="w", seconds=60)
        go.touch()
        assert taken["status"] == "claimed", taken
        assert (report.result()["status"], report.result()["error_type"]) == ("error", "task_claimed")
        assert Path(taken["path"]).is_dir()
        said = other.call("stratum_task_complete", lease=taken["lease"], status="complete", result={})
        assert said["status"] != "error", said
        assert subjects(shell.repo, "HEAD~1") == ["a: do a"]


def test_a_checkout_that_is_in_the_way_blocks_the_landing_until_it_is_not(shell: Shell) -> None:
    with serving(shell) as server:
        name, said = fan(server, "a", more=("intent: after",))
        write(places(said)["a"], "a.txt", "by a\n")
        head = shell.repo.head()
        write(shell.repo.path, "a.txt", "by the user\n")
        said = reported(server, name, row("a"))
        assert (said["status"], said["error_type"]) == ("error", "landing_blocked")
        assert "a.txt" in said["message"]
        assert (shell.repo.head(), resumed(server, name)["error_type"]) == (head, "landing_blocked")
        assert (shell.repo.path / "a.txt").read_text(encoding="utf-8") == "by the user\n"
        shell.repo.git("checkout", "a.txt")
        assert resumed(server, name)["step_id"] == "s2"
    assert (shell.repo.path / "a.txt").read_text(encoding="utf-8") == "by a\n"
    assert shell.repo.git("status", "--porcelain") == ""


def test_what_the_user_commits_meanwhile_stays(server: Portal) -> None:
    name, said = fan(server, "a")
    write(places(said)["a"], "mine.txt")
    server.repo.commit("by the user", {"yours.txt": "x\n"})

    assert reported(server, name, row("a"))["status"] == "complete"

    assert subjects(server.repo, "main~2") == ["by the user", "a: do a"]


# --- other kinds of places --------------------------------------------------------------------------------


def test_private_clones_are_places_too(server: Portal) -> None:
    head = server.repo.head()
    name, said = fan(server, "a", "b", isolation="branch")
    for task, place in places(said).items():
        assert (place / ".git").is_dir()
        assert git(place, "rev-parse", "HEAD") == head
        write(place, f"cloned/{task}.txt")
    git(places(said)["b"], "add", "-A")
    git(places(said)["b"], "commit", "-qm", "mine")

    assert reported(server, name, row("a"), row("b"))["status"] == "complete"

    assert subjects(server.repo, head) == ["a: do a", "b: do b"]
    assert occupied(server, name) == []


def test_without_isolation_tasks_are_done_in_the_checkout_and_nothing_is_landed(server: Portal) -> None:
    head = server.repo.head()
    name, said = fan(server, {"id": "a", "files_owned": ["free.txt"]}, "b", isolation="none")
    assert set(places(said).values()) == {server.repo.path}
    write(server.repo.path, "free.txt")

    end = reported(server, name, row("a"), row("b"))

    assert (end["status"], server.repo.head()) == ("complete", head)
    assert server.repo.git("status", "--porcelain") == "?? free.txt"
    (server.repo.path / "free.txt").unlink()


@pytest.mark.parametrize("commits", [False, True])
def test_a_client_that_does_everything_by_itself_and_reports_at_once_goes_through(
    server: Portal, commits: bool
) -> None:
    tasks = [f"t{n}" for n in range(5)]
    needs = {"id": "last", "depends_on": tasks}
    name, _ = fan(server, *tasks, needs, more=("intent: after",))
    write(server.repo.path, f"self-{commits}.txt")
    if commits:
        server.repo.git("add", "-A")
        server.repo.git("commit", "-qm", "all of it")

    after = reported(server, name, row("last"), *map(row, tasks))

    assert (after["status"], after["step_id"]) == ("execute_step", "s2")
    assert (server.repo.path / f"self-{commits}.txt").is_file()
    assert (leases(server.repo, name), occupied(server, name)) == ([], [])
    if not commits:
        (server.repo.path / f"self-{commits}.txt").unlink()


def test_git_does_not_complain_of_anything(server: Portal) -> None:
    said = subprocess.run(
        ["git", "fsck", "--connectivity-only", "--no-dangling"],
        cwd=server.repo.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout + said.stderr.replace("notice: HEAD points to an unborn branch", "") == ""


def test_who_merges_by_hand_finds_the_results_on_their_branches(server: Portal) -> None:
    tip = server.repo.git("rev-parse", "main")
    begun = plan(server, spec(dispatch(merge="manual"), "intent: x"), {"tasks": [{"id": "hand"}]})
    name, (row,) = begun["flow_id"], begun["batch"]
    Path(row["path"], "by-hand.txt").write_text("x\n", encoding="utf-8")
    after = reported(server, name, {"task_id": "hand", "status": "complete"})
    assert (after["status"], after["step_id"]) == ("execute_step", "s2")
    assert server.repo.git("rev-parse", "main") == tip
    assert server.repo.show(f"stratum/{name}/hand:by-hand.txt") == "x"


@pytest.mark.parametrize("field", ["on_conflict: agent"])
def test_what_nobody_does_at_a_landing_is_refused_and_not_left_out(server: Portal, field: str) -> None:
    text = spec(dispatch() + f", {field}").replace('"0.3"', '"0.4"')
    refused = plan(server, text, {"tasks": [{"id": "a"}]})
    assert refused["error_type"] == "ir_semantic_error"
    assert refused["path"] == f"flows.main.steps.s1.{field.partition(':')[0]}"


def test_candidates_are_tasks_of_the_batch_and_one_of_them_lands(server: Portal) -> None:
    text = spec(dispatch(max_concurrent=4), "intent: x").replace('"0.3"', '"0.4"')
    begun = plan(server, text, {"tasks": [{"id": "b", "candidates": 2}, {"id": "c"}]})
    name, where = begun["flow_id"], places(begun)
    assert list(where) == ["b@1", "b@2", "c"]
    write(where["b@1"], "best.txt", "long\n" * 9)
    write(where["b@2"], "best.txt", "short\n")
    write(where["c"], "c.txt")
    refused = reported(server, name, row("b"))
    assert (refused["error_type"], refused["hint"]) == ("task_has_candidates", "report b@1, b@2")

    said = reported(server, name, row("c"), row("b@2"))
    assert (said["status"], list(places(said))) == ("parallel_dispatch", ["b@1"])
    end = reported(server, name, row("b@1"))

    assert (end["status"], end["step_id"]) == ("execute_step", "s2")
    assert server.repo.show("main:best.txt") == "short"
    assert {key: "best.txt" in files for key, files in kept(server.repo, name).items()} == {
        "s1/b@1/1": True,
        "s1/b@2/1": True,
    }
    assert server.repo.show(f"stratum/{name}/b:best.txt") == "short"
    assert (leases(server.repo, name), occupied(server, name)) == ([], [])


def test_a_client_whose_merge_failed_does_the_candidates_again(server: Portal) -> None:
    text = spec(dispatch(max_concurrent=4) + ", retries: 2").replace('"0.3"', '"0.4"')
    begun = plan(server, text, {"tasks": [{"id": "again", "candidates": 2}]})
    name = begun["flow_id"]
    said = reported(server, name, row("again@1"), row("again@2", "failed"), merge="conflict")
    assert (said["status"], list(places(said))) == ("ensure_failed", ["again@1", "again@2"])
    end = reported(server, name, row("again@1", "failed"), row("again@2"))
    assert end["status"] == "complete"
    assert end["output"]["completed"][0]["chosen"] == "again@2"
