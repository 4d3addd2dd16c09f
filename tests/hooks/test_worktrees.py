"""The client's own worktrees: slots at its HEAD, and nothing done in one is ever lost."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from stratum_git.agents.identity import own_identity
from stratum_git.app.client_worktrees import ClientWorktree, Returned, Stays, client_worktrees
from stratum_git.app.recovery import give_back
from stratum_git.app.retention import Removed, retain
from stratum_git.app.surroundings import Surroundings
from stratum_git.app.workshop import make_context
from stratum_git.errors import StratumError
from stratum_git.git.repository import open_repository
from tests.hooks.asking import ClientHooks
from tests.support.repos import ScratchRepo


def made(client: ClientHooks, name: str = "agent-aa1cab8d9", cwd: Path | None = None) -> Path:
    answer = client.ask("worktree-create", cwd, name=name)
    assert (answer.err, answer.code) == ("", 0)
    return Path(answer.out)


def died(client: ClientHooks) -> ClientWorktree:
    """Has the client's process be one that is gone."""
    (lent,) = client_worktrees(client.folders)
    gone = replace(lent, owner=replace(own_identity(), start_time=1))
    file = client.folders.worktrees / f"{lent.key}.json"
    row = json.loads(file.read_text())
    row["owner"]["pid"], row["owner"]["start_time"] = os.getpid(), 1
    file.write_text(json.dumps(row))
    assert gone.is_over()
    return gone


def retained(client: ClientHooks, older_than: float = 3600.0, **more: bool) -> Removed:
    return retain(Surroundings(client.repo.path, os.environ), older_than, **more)


def branches(client: ClientHooks) -> list[str]:
    return client.repo.git("branch", "--format=%(refname:short)").splitlines()


def refs(client: ClientHooks) -> list[str]:
    return client.repo.git("for-each-ref", "--format=%(refname)", "refs/stratum").splitlines()


def test_it_starts_from_the_head_of_whoever_asks_and_not_from_the_remote(
    client: ClientHooks, tmp_path: Path
) -> None:
    origin = tmp_path / "origin.git"
    client.repo.git("clone", "-q", "--bare", str(client.repo.path), str(origin))
    client.repo.git("remote", "add", "origin", str(origin))
    client.repo.git("fetch", "-q", "origin")
    client.repo.git("remote", "set-head", "origin", "main")
    head = client.repo.commit("not pushed", {"new.txt": "new\n"})
    place = ScratchRepo(made(client))
    assert place.head() == head
    assert place.git("branch", "--show-current") == "worktree-agent-aa1cab8d9"
    assert place.git("status", "--porcelain") == ""
    assert (place.path / "new.txt").read_text() == "new\n"
    # And from within it another one starts from there.
    further = place.commit("in it", {"more.txt": "more\n"})
    assert ScratchRepo(made(client, "inner", place.path)).head() == further
    assert client.repo.git("status", "--porcelain") == ""


def test_sixteen_at_once_get_sixteen_places_of_one_name_too(client: ClientHooks) -> None:
    def one(number: int) -> Path:
        session = replace(client, session=f"{client.session}-{number}")
        return made(session, "same" if number % 2 else f"agent-{number}")

    with ThreadPoolExecutor(16) as threads:
        places = list(threads.map(one, range(16)))
    assert len(set(places)) == 16
    at = {ScratchRepo(place).git("branch", "--show-current") for place in places}
    assert len(at) == 16
    assert {"worktree-same", "worktree-same-2", "worktree-same-8", "worktree-agent-0"} <= at
    assert {ScratchRepo(place).head() for place in places} == {client.repo.head()}


def test_a_subagent_that_did_nothing_leaves_nothing_and_a_warm_slot(client: ClientHooks) -> None:
    place = made(client)
    for hook in ("subagent-stop", "session-end"):
        answer = client.ask(hook, place)
        assert (answer.err, answer.code) == ("", 0)
    assert branches(client) == ["main"]
    assert refs(client) == []
    assert client_worktrees(client.folders) == ()
    # The path that the model was told is nobody's, and its slot is the next one's.
    assert not place.exists()
    inode = {path.stat().st_ino for path in client.folders.slots.glob("slot-????????") if path.is_dir()}
    again = made(client, "agent-other")
    assert {again.stat().st_ino} == inode
    assert again != place


def test_a_session_may_go_on_with_its_last_subagents(client: ClientHooks) -> None:
    names = [f"a{number}" for number in range(7)]
    places = {name: made(client, f"agent-{name}") for name in names}
    for name in names[:5]:
        client.ask("subagent-stop", places[name], agent_id=name)
    assert [name for name in names if places[name].exists()] == names[1:]
    # One that goes on is not among those that rest.
    client.ask("subagent-start", places["a1"], agent_id="a1")
    for name in names[5:]:
        client.ask("subagent-stop", places[name], agent_id=name)
    assert [name for name in names if places[name].exists()] == ["a1", *names[3:]]
    client.ask("session-end")
    assert client_worktrees(client.folders) == ()


@pytest.mark.parametrize("how", ["uncommitted", "committed", "stashed away by a reset"])
def test_what_a_subagent_did_stays_and_is_on_a_ref_when_it_stops(client: ClientHooks, how: str) -> None:
    place = ScratchRepo(made(client))
    place.write("new.txt", "work\n")
    if how != "uncommitted":
        place.commit("work")
    if how == "stashed away by a reset":
        place.git("reset", "-q", "--hard", "HEAD~1")
    answer = client.ask("subagent-stop", place.path)
    assert answer.code == 0
    assert place.path.is_dir()
    if how == "stashed away by a reset":
        # It is no file of it now, and the slot still has it.
        assert "there is work in it" in client.ask("session-end").err
        return
    assert place.git("show", "refs/stratum/worktrees/worktree-agent-aa1cab8d9:new.txt") == "work"
    assert place.git("diff", "--cached", "--name-only") == "", "its index is as it was"
    # The session ends, its process dies: still there, and told.
    assert client.ask("session-end").code == 0
    died(client)
    said = client.ask("session-start").out
    assert f"{place.path}, on the branch worktree-agent-aa1cab8d9" in said


def test_removal_puts_everything_on_a_ref_before_the_slot_goes(client: ClientHooks) -> None:
    place = ScratchRepo(made(client, "feature/x"))
    place.commit("mine", {"mine.txt": "mine\n"})
    place.write("a.txt", "changed\n")
    place.write("untracked.txt", "new\n")
    answer = client.ask("worktree-remove", place.path, worktree_path=str(place.path))
    ref = "refs/stratum/worktrees/worktree-feature+x"
    assert answer.err == f"what was in {place.path} is kept: git branch NAME {ref}"
    assert not place.path.exists()
    assert branches(client) == ["main"]
    shown = {
        name: client.repo.git("show", f"{ref}:{name}") for name in ("mine.txt", "a.txt", "untracked.txt")
    }
    assert shown == {"mine.txt": "mine", "a.txt": "changed", "untracked.txt": "new"}
    # A second one of that name is told apart from the first.
    first = client.repo.git("rev-parse", ref)
    second = ScratchRepo(made(client, "feature/x"))
    assert second.git("branch", "--show-current") == "worktree-feature+x"
    second.write("second.txt", "second\n")
    client.ask("worktree-remove", worktree_path=str(second.path))
    assert client.repo.git("show", f"{ref}:second.txt") == "second"
    assert client.repo.git("rev-parse", f"{ref}-{first[:12]}") == first


def test_what_no_commit_can_hold_keeps_the_worktree(client: ClientHooks) -> None:
    place = made(client)
    ScratchRepo.make(place / "inner").commit("of its own", {"x": "x\n"})
    answer = client.ask("worktree-remove", worktree_path=str(place))
    assert "no commit can hold inner/" in answer.err
    assert (place / "inner/x").exists()


def test_while_the_session_lives_nobody_takes_it(client: ClientHooks) -> None:
    place = made(client)
    other = replace(client, session="another")
    assert other.ask("session-start").out == ""
    context = make_context(Surroundings(client.repo.path, os.environ), open_repository(client.repo.path), ())
    try:
        give_back(context)
        context.pool.tidy()
    finally:
        context.close()
    assert ScratchRepo(place).git("status", "--porcelain") == ""
    # Of a session that died it is taken when nothing was done in it.
    died(client)
    assert other.ask("session-start").out == ""
    assert not place.exists()
    assert branches(client) == ["main"]


def test_nobody_takes_it_from_under_a_process_that_is_in_it(client: ClientHooks) -> None:
    place = made(client)
    lent = died(client)
    with subprocess.Popen(["sleep", "60"], cwd=place) as process:
        assert client.lender.take_back(lent) == Stays("somebody is in it")
        process.kill()
    assert client.lender.take_back(lent) == Returned()


def test_the_same_name_is_the_same_place_for_the_same_session(client: ClientHooks) -> None:
    place = made(client, "named")
    (place / "w.txt").write_text("w\n")
    assert made(client, "named") == place
    died(client)
    # Its session is over: whoever comes with that name goes on there.
    assert made(replace(client, session="next"), "named") == place
    (lent,) = client_worktrees(client.folders)
    assert not lent.is_over()


def test_gc_ends_old_ones_and_loses_nothing(client: ClientHooks) -> None:
    place = ScratchRepo(made(client))
    commit = place.commit("mine", {"mine.txt": "mine\n"})
    place.write("later.txt", "later\n")
    lent = died(client)
    # Neither is it old enough, nor does a dry run do anything.
    assert retained(client).paths == []
    assert retained(client, worktrees=True, dry_run=True).paths == [place.path]
    assert place.path.exists()
    done = retained(client, worktrees=True)
    assert (done.paths, done.kept) == ([place.path], {lent.kept: f"it has what was in {place.path}"})
    assert client.repo.git("rev-parse", "worktree-agent-aa1cab8d9") == commit
    assert client.repo.git("show", f"{lent.kept}:later.txt") == "later"
    assert not place.path.exists()
    assert client_worktrees(client.folders) == ()
    # What was kept goes when it is old, and is told.
    assert list(retained(client).refs) == []
    assert list(retained(client, older_than=-10.0).refs) == [lent.kept]


def test_a_worktree_that_somebody_deleted_is_forgotten(client: ClientHooks) -> None:
    place = made(client)
    client.repo.git("worktree", "remove", "-f", "-f", str(place))
    assert client.ask("worktree-remove", worktree_path=str(place)).code == 0
    assert client_worktrees(client.folders) == ()
    assert branches(client) == ["main"]


def test_one_that_was_killed_while_it_was_made_leaves_nothing(client: ClientHooks) -> None:
    made(client)
    lent = died(client)
    (client.folders.slots / f"{Path(lent.path).name}.json").unlink()
    assert client.lender.take_back(replace(lent, path="")) == Returned()
    assert branches(client) == ["main"]
    assert client_worktrees(client.folders) == ()


def test_only_a_client_that_can_be_seen_to_be_gone_is_gone(client: ClientHooks) -> None:
    made(client)
    (lent,) = client_worktrees(client.folders)
    assert not lent.is_over()
    assert lent.owner is not None
    gone = replace(lent, owner=replace(lent.owner, start_time=1))
    assert gone.is_over()
    assert not replace(gone, owner=None).is_over()
    assert not replace(gone, owner=replace(lent.owner, host="elsewhere")).is_over()
    assert not replace(gone, numbers="pid:[1]").is_over()
    assert replace(lent, owner=replace(lent.owner, boot_id="before"), numbers="pid:[1]").is_over()


@pytest.mark.parametrize("name", ["../../etc", "a b;c", "x.lock", "..", "-f", "ü" * 300, "a" * 300])
def test_any_name_gets_a_branch(client: ClientHooks, name: str) -> None:
    assert ScratchRepo(made(client, name)).git("branch", "--show-current").startswith("worktree-")


def test_it_has_the_ignored_files_that_are_to_be_in_it(client: ClientHooks) -> None:
    client.repo.commit(
        "ignore", {".gitignore": ".env*\nbuild/\n", ".worktreeinclude": ".env*\nb.txt\nnew.txt\n"}
    )
    for name in (".env", "dir/.env.local", "build/out", "new.txt"):
        client.repo.write(name, f"{name}\n")
    client.repo.write("b.txt", "not committed\n")
    place = made(client)
    assert (place / ".env").read_text() == ".env\n"
    assert (place / "dir/.env.local").read_text() == "dir/.env.local\n"
    assert (place / "b.txt").read_text() == "b\n"
    assert not (place / "new.txt").exists()
    assert not (place / "build").exists()
    # They are no work, and do not get to whoever comes next.
    client.ask("session-end")
    client.repo.git("rm", "-q", ".worktreeinclude")
    assert not (made(client, "next") / ".env").exists()


def test_where_there_can_be_none_it_says_why(client: ClientHooks, tmp_path: Path) -> None:
    with pytest.raises(StratumError, match="is not in a git repository"):
        client.ask("worktree-create", tmp_path, name="x")
    empty = ScratchRepo.make(tmp_path / "empty")
    with pytest.raises(StratumError, match="has no commit yet"):
        client.ask("worktree-create", empty.path, name="x")
    foreign = client.ask("worktree-remove", worktree_path=str(tmp_path))
    assert foreign.err == f"{tmp_path} is no worktree of stratum-git's: it was left as it is"


def test_removal_names_what_git_ignores_and_nobody_keeps(client: ClientHooks) -> None:
    (client.repo.path / ".git/info/exclude").write_text("*.log\n")
    place = Path(client.ask("worktree-create", name="x").out)
    (place / "a.log").write_text("words")
    answer = client.ask("worktree-remove", worktree_path=str(place))
    assert answer.err == f"nothing had been done in {place}; what git ignores is gone with it: a.log"
