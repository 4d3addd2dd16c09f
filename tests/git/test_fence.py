"""Git that an agent starts moves nothing but the agent's own branch. All of it: ``tests/soak/fence.py``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from stratum_git.errors import HostError
from stratum_git.git.fence import Fence, Post
from stratum_git.git.repository import Repository, open_repository
from stratum_git.model.ids import Hooks
from tests.soak.fence import try_all
from tests.support.fence_table import CASES, CLONE, GAPS, Case
from tests.support.fence_words import document
from tests.support.fence_world import SAYS, World
from tests.support.repos import ScratchRepo

ROOT = Path(__file__).parents[2]
FEW = 8
"""Of how many things one is tried here; which one it is does not change, so that a failure comes again."""

HOOK = """#!/bin/sh
echo "$0 $*" >>"$TMP/ran"
cat >>"$TMP/heard"
echo "$MARK" >>"$TMP/mark"
git config a.b c 2>>"$TMP/err"
[ "${0##*/}" != "$FAILS" ]
"""


@pytest.mark.parametrize("share", range(2))
def test_only_the_own_branch_moves(tmp_path: Path, share: int) -> None:
    tried = try_all(tmp_path, CASES[share * 4 :: FEW], private=False)

    assert len(tried) > 40
    assert [wrong for _, wrong in tried if wrong is not None] == []


def test_the_gaps_are_as_they_are_told(tmp_path: Path) -> None:
    assert [wrong for _, wrong in try_all(tmp_path, GAPS, private=False) if wrong is not None] == []


def test_in_a_private_clone_nothing_reaches_the_user(tmp_path: Path) -> None:
    assert [wrong for _, wrong in try_all(tmp_path, CLONE[::2], private=True) if wrong is not None] == []


def test_garbage_is_collected_in_a_private_clone_and_the_users_objects_stay(tmp_path: Path) -> None:
    world = World(tmp_path, private=True)
    environment = world.build()
    done = world.run("git gc -q --prune=now && git repack -adq && git prune --expire=now", environment)

    assert done.returncode == 0, done.stderr
    assert world.run("$REAL -C $MAIN fsck --strict && git fsck", environment).returncode == 0


def test_the_published_table_is_the_one_that_is_tried() -> None:
    assert (ROOT / "contracts" / "fence.md").read_text(encoding="utf-8") == document(), (
        "python -m tests.support.fence_words > contracts/fence.md"
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.build()
    return made


def put_hooks(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(HOOK)
        (folder / name).chmod(0o755)


def commit(world: World, hooks: Hooks, before: str = "", fails: str = "") -> tuple[int, list[str]]:
    """Commits as the agent; returns how git ended, and which of the user's hooks ran."""
    environment = {**world.environment(hooks), "FAILS": fails, "MARK": "from the agent"}
    done = world.run(f"{before}\necho x >x && git add x && git commit -q -m 'a message'", environment)
    ran = world.root / "now" / "tmp" / "ran"
    lines = ran.read_text().splitlines() if ran.exists() else []
    return done.returncode, [line.split()[0].rpartition("/")[2] for line in lines]


@pytest.mark.parametrize(
    ("hooks", "ran"),
    [
        ("inherit", ["pre-commit", "commit-msg", "post-commit"]),
        ("off", []),
        (("commit-msg", "no-such-hook"), ["commit-msg"]),
    ],
)
def test_the_users_hooks_run_as_the_policy_says(world: World, hooks: Hooks, ran: Sequence[str]) -> None:
    put_hooks(world.main / ".git" / "hooks", "pre-commit", "commit-msg", "post-commit")

    assert commit(world, hooks) == (0, list(ran))


def test_a_hook_is_called_as_git_would_and_its_git_is_fenced(world: World) -> None:
    put_hooks(world.main / ".git" / "hooks", "commit-msg", "post-rewrite")
    before = world.state()
    code, _ = commit(world, "inherit")
    tmp = world.root / "now" / "tmp"

    assert code == 0
    own = world.main / ".git" / "worktrees" / "slot" / "COMMIT_EDITMSG"
    assert (tmp / "ran").read_text().split() == [str(world.main / ".git/hooks/commit-msg"), str(own)]
    assert (tmp / "mark").read_text() == "from the agent\n"
    assert (tmp / "err").read_text().startswith(SAYS)
    assert world.state() == before
    world.run("git commit -q --amend -m other", world.environment())
    old, new = (tmp / "heard").read_text().split()
    assert len(old) == len(new) == 40


def test_a_hook_of_the_users_can_refuse(world: World) -> None:
    put_hooks(world.main / ".git" / "hooks", "pre-commit")

    assert commit(world, "inherit", fails="pre-commit") == (1, ["pre-commit"])


def test_the_users_own_reference_transaction_hears_and_can_refuse(world: World) -> None:
    put_hooks(world.main / ".git" / "hooks", "reference-transaction")
    code, ran = commit(world, "inherit")

    assert (code, set(ran)) == (0, {"reference-transaction"})
    assert " refs/heads/stratum/f/t\n" in (world.root / "now" / "tmp" / "heard").read_text()
    assert commit(world, "inherit", "echo y >y; git add y", fails="reference-transaction")[0] == 128


def test_hooks_that_are_part_of_the_checkout_run_from_the_agents_own(world: World) -> None:
    world.run("$REAL config core.hooksPath .hooks", dict(os.environ))
    put_hooks(world.slot / ".hooks", "pre-commit")

    assert commit(world, "inherit") == (0, ["pre-commit"])
    # A task may be to add a hook.
    put_hooks(world.slot / ".hooks", "commit-msg")
    assert commit(world, "inherit", "rm $TMP/ran; echo y >y; git add y")[1] == ["pre-commit", "commit-msg"]


def test_who_switches_hooks_off_for_a_command_switches_off_the_users_and_not_the_fence(world: World) -> None:
    put_hooks(world.main / ".git" / "hooks", "pre-commit")
    environment = {**world.environment(), "FAILS": "pre-commit"}
    bare = "git -c core.hooksPath=/dev/null"

    assert world.run(f"{bare} commit -q --allow-empty -m x", environment).returncode == 0
    assert SAYS in world.run(f"{bare} update-ref refs/heads/main HEAD", environment).stderr


def test_other_repositories_have_their_own_hooks(world: World) -> None:
    put_hooks(world.main / ".git" / "hooks", "post-commit")
    put_hooks(world.root / "now" / "tmp" / "x" / ".git" / "hooks", "pre-commit", "reference-transaction")
    assert commit(world, "inherit", "git init -q $TMP/x; cd $TMP/x") == (
        0,
        ["pre-commit", "reference-transaction", "reference-transaction"],
    )


def test_submodules_of_a_slot_are_the_agents(world: World) -> None:
    script = """
    set -e
    export GIT_CONFIG_KEY_$GIT_CONFIG_COUNT=protocol.file.allow GIT_CONFIG_VALUE_$GIT_CONFIG_COUNT=always
    export GIT_CONFIG_COUNT=$((GIT_CONFIG_COUNT + 1))
    git submodule -q update --init
    cd sub
    git checkout -q -b new && git tag v5 && git config a.b c && git commit -q --allow-empty -m x
    git push -q origin new
    """
    modules = "printf '[submodule \"sub\"]\\n\\tpath = sub\\n\\turl = '$REMOTE'\\n' >.gitmodules"
    link = (
        "git add .gitmodules; git update-index --add --cacheinfo 160000,$(git -C $REMOTE rev-parse main),sub"
    )
    assert world.run(f"{modules}; {link}", dict(os.environ)).returncode == 0
    assert SAYS in world.run(script, world.environment()).stderr
    # What the user has set up in his own checkout can be filled here.
    world.run(
        "$REAL config submodule.sub.url $REMOTE; $REAL config submodule.sub.active true", dict(os.environ)
    )
    before = world.state()
    done = world.run(script, world.environment())
    assert done.stderr.splitlines()[0].startswith(f"{SAYS}`git push`")
    assert world.state() == before


@pytest.mark.parametrize("name", ["a b'c", 'a"b=c', "a[x]*?", "a\\b$c ä"])
def test_any_path_is_fenced(tmp_path: Path, name: str) -> None:
    world = World(tmp_path / name)
    environment = world.build()
    case = Case("refused", "git tag v2")

    assert world.attempt(case, environment).verdict(case) is None
    case = Case("refused", '"$REAL" -C "$MAIN" tag v2')
    assert world.attempt(case, environment).verdict(case) is None


@pytest.mark.parametrize("shell", ["bash", "busybox"])
def test_the_scripts_are_for_any_shell(world: World, shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    words = [program, "--posix"] if shell == "bash" else [program, "sh"]
    environment = world.environment()
    git = next((world.root / "fence").glob("*/bin/git"))
    for verb, code in (("status", 0), ("stash", 1), ("gc", 1), ("log", 0)):
        done = subprocess.run(
            [*words, str(git), verb], cwd=world.slot, env=environment, capture_output=True, check=False
        )
        assert (done.returncode, SAYS.encode() in done.stderr) == (code, bool(code)), done.stderr


def test_settings_that_were_given_with_the_environment_stay(repo: Repository, tmp_path: Path) -> None:
    given = {**os.environ, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"}
    environment = Fence(repo, tmp_path / "fence").around(given, Post(repo.root))

    assert environment["GIT_CONFIG_COUNT"] == "4"
    said = subprocess.run(
        ["git", "config", "a.b"], cwd=repo.root, env=environment, capture_output=True, check=True
    )
    assert said.stdout == b"c\n"


def test_a_fence_within_a_fence_ends_at_the_real_git(scratch: ScratchRepo, tmp_path: Path) -> None:
    fence, other = (Fence(open_repository(scratch.path), tmp_path / name) for name in ("fence", "other"))
    once = fence.around(os.environ, Post(scratch.path))
    twice = fence.around(once, Post(scratch.path))
    nested = other.around(twice, Post(scratch.path))

    assert twice["PATH"] == once["PATH"]
    assert (
        subprocess.run(
            ["git", "log"], cwd=scratch.path, env=nested, capture_output=True, check=False
        ).returncode
        == 0
    )


def test_what_an_agent_changed_in_the_fence_is_put_right(scratch: ScratchRepo, tmp_path: Path) -> None:
    fence = Fence(open_repository(scratch.path), tmp_path / "fence")
    before = fence.around(os.environ, Post(scratch.path))
    (place,) = (tmp_path / "fence").iterdir()
    (place / "bin" / "git").write_text("#!/bin/sh\n")
    (place / "hooks" / "reference-transaction").unlink()
    (place / "hooks" / "post-commit").write_text("#!/bin/sh\n")
    (place / "config").chmod(0o777)

    assert fence.around(os.environ, Post(scratch.path)) == before
    assert (place / "bin" / "git").stat().st_size > 1000
    assert {path.name for path in (place / "hooks").iterdir()} == {"reference-transaction", "pre-push"}
    assert {path.stat().st_mode & 0o777 for path in place.rglob("*")} == {0o700}


def test_where_there_is_no_git_nothing_can_be_fenced(repo: Repository, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no git in the agent's PATH"):
        Fence(repo, tmp_path / "fence").around({"PATH": str(tmp_path)}, Post(repo.root))
