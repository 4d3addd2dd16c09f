"""The fence as the user meets it: around agents, ``setup`` and ``verify``, and away where he says so."""

from __future__ import annotations

import pytest

from tests.support.fence_world import SAYS
from tests.support.shell import SPEC, Shell

HOSTILE = """
for words in 'stash' 'tag v2' 'branch new' 'config a.b c' 'worktree prune' 'gc'; do
    git $words && echo "$words" >>"$ESCAPED"
done
git -C "$REPO" checkout --detach && echo detach >>"$ESCAPED"
git -C "$REPO" commit --allow-empty -m x && echo commit >>"$ESCAPED"
cd "$REPO" && git add -A && echo add >>"$ESCAPED"
exit 0
"""
WORKS = 'echo "$STRATUM_TASK" >"$STRATUM_TASK.txt"; git add -A; git commit -q -m "mine"; git tag v1'


def play(shell: Shell, spec: str, agent: str, code: int = 0) -> str:
    said = shell.run("run", shell.spec(spec), shell.tasks({"id": "a"}, {"id": "b"}), shell.agent(agent))
    assert said.code == code, said.err + said.out
    return said.out + said.err


def logs(shell: Shell, name: str = "output.log") -> str:
    found = sorted((shell.home / "state").glob(f"**/attempts/**/{name}"))
    return "".join(path.read_text() for path in found)


@pytest.mark.parametrize("isolation", ["worktree", "branch", "none"])
def test_agents_work_and_move_nothing_of_the_users(shell: Shell, isolation: str) -> None:
    shell.repo.write("a.txt", "the user is at work\n")
    before = (
        shell.repo.git("for-each-ref", "--format=%(refname)"),
        (shell.repo.path / ".git/config").read_bytes(),
    )
    head = (shell.repo.path / ".git/HEAD").read_bytes()
    escaped = shell.home / "escaped"
    own = (
        ""
        if isolation == "none"
        else 'echo "$STRATUM_TASK" >"$STRATUM_TASK.txt"; git add -A; git commit -q -m x;'
    )
    # In a clone of its own the first six would be allowed.
    hostile = HOSTILE[HOSTILE.index("git -C") :] if isolation == "branch" else HOSTILE
    play(
        shell,
        f"{SPEC}        isolation: {isolation}\n",
        f"REPO={shell.repo.path} ESCAPED={escaped}\n{own}{hostile}",
    )

    assert not escaped.exists(), escaped.read_text()
    assert logs(shell).count(SAYS) == 2 * (3 if isolation == "branch" else 9)
    refs = [
        ref for ref in shell.repo.git("for-each-ref", "--format=%(refname)").split() if "stratum" not in ref
    ]
    assert "\n".join(refs) == before[0]
    assert (shell.repo.path / ".git/config").read_bytes() == before[1]
    assert (shell.repo.path / ".git/HEAD").read_bytes() == head
    assert shell.repo.git("stash", "list") == ""
    assert (shell.repo.path / "a.txt").read_text() == "the user is at work\n"


def test_commands_of_the_spec_are_fenced_too(shell: Shell) -> None:
    play(shell, f"{SPEC}        setup: git tag v1\n", "true", code=1)
    assert SAYS in logs(shell, "setup-1.log")
    play(shell, f"{SPEC}        verify: git status && git tag v1\n", "echo x >$STRATUM_TASK.txt", code=1)
    assert SAYS in logs(shell, "verify-1.log")
    assert shell.repo.git("tag") == ""


def test_an_agent_can_be_let_out_and_doctor_says_so(shell: Shell) -> None:
    shell.repo.write(
        ".stratum/config.yaml",
        f"agents:\n  default: {{command: [sh, -c, '{WORKS}'], fence: off}}\n"
        "  b: {command: 'true', hooks: [x]}\n",
    )
    shell.repo.commit("settings")
    said = shell.run("run", shell.spec(), shell.tasks({"id": "a"}))
    assert said.code == 0, said.err
    assert shell.repo.git("tag") == "v1"
    found = shell.run("doctor").out
    assert "fence of default" in found
    assert "fence of b" not in found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fence: maybe", "fence is not on or off"),
        ("hooks: all", "hooks is not inherit, off or a list of hooks"),
        ("hooks: [../evil]", "hooks is not inherit, off or a list of hooks"),
        ("hooks: off, fence: off", "hooks is what the fence does"),
    ],
)
def test_settings_that_make_no_sense_are_refused(shell: Shell, words: str, message: str) -> None:
    shell.repo.write(".stratum/config.yaml", f"agents: {{default: {{command: 'true', {words}}}}}\n")
    said = shell.run("run", shell.spec(), shell.tasks({"id": "a"}))
    assert said.code == 2
    assert message in said.err


def test_commands_of_the_spec_are_led_to_no_other_repository(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As it is when the program is started by a git hook.
    monkeypatch.setenv("GIT_DIR", str(shell.repo.path / ".git"))
    play(shell, f"{SPEC}        verify: git rev-parse --absolute-git-dir\n", "echo x >$STRATUM_TASK.txt")

    assert "/worktrees/slot-" in logs(shell, "verify-1.log")
