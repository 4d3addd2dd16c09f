"""A secret that an agent was given is in no object, log, answer or argument of the program's."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.client import call, client_of
from tests.support.shell import SPEC, Said, Shell

VALUE = "sk-live-0123456789abcdef"
STEPS = """\
version: "0.4"
flows:
  main:
    input: {x: {type: string, required: false}}
    steps:
      - {id: one, type: inline, intent: say}
      - {id: two, type: inline, intent: say, depends_on: [one]}
"""
CONFIG = """\
agents:
  default: {command: [sh, %s], secrets: [API_KEY], env: {OTHER_TOKEN: tok-9876543210}}
"""


class Vault(Shell):
    """A user with a secret in his environment."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "API_KEY": VALUE}

    def play(self, script: str, spec: str = SPEC, code: int = 0, *words: str) -> Said:
        path = self.file("agent", script)
        self.repo.write(".stratum/config.yaml", CONFIG % path)
        self.repo.commit("settings")
        said = self.run("run", self.spec(spec), self.tasks({"id": "a"}), "--json", *words)
        assert said.code == code, said.err + said.out
        return said

    def objects(self) -> bytes:
        """Everything that is in the repository's storage."""
        asked = ["git", "cat-file", "--batch", "--batch-all-objects"]
        return subprocess.run(asked, cwd=self.repo.path, capture_output=True, check=True).stdout

    def written(self) -> dict[str, bytes]:
        """Every file of the program's own, but for what it set aside."""
        files = [path for path in (self.home / "state").rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in files if "left" not in path.parts}

    def findings(self) -> str:
        return self.run("query", "flow", self.flow(), "--long").out


@pytest.fixture
def vault(shell: Shell) -> Vault:
    return Vault(shell.home, shell.repo)


def has_none(vault: Vault, *said: Said) -> None:
    for answer in said:
        assert VALUE not in answer.out + answer.err
    assert [name for name, data in vault.written().items() if VALUE.encode() in data] == []
    assert VALUE.encode() not in vault.objects()


def test_what_an_agent_says_is_told_without_it(vault: Vault) -> None:
    script = """
    echo "my key is $API_KEY and $OTHER_TOKEN"; echo "$API_KEY" >&2
    echo x >"$STRATUM_TASK.txt"
    echo "{\\"note\\": \\"$API_KEY\\"}" >"$STRATUM_RESULT_FILE"
    """
    said = vault.play(script, f"{SPEC}        verify: echo $API_KEY\n        setup: echo $API_KEY\n")
    flow = vault.flow()
    log = vault.run("logs", flow, "a")

    has_none(vault, said, log, vault.run("query", "flow", flow, "--long"), vault.run("log", flow))
    assert "my key is [API_KEY] and [OTHER_TOKEN]" in log.out


def test_why_an_attempt_failed_is_told_without_it(vault: Vault) -> None:
    said = vault.play('echo "no access with $API_KEY" >&2; exit 1', code=1)
    has_none(vault, said)
    assert "no access with [API_KEY]" in vault.findings()
    said = vault.play("echo x >x.txt", f"{SPEC}        verify: echo $API_KEY; exit 1\n", 1)
    has_none(vault, said)


@pytest.mark.parametrize("isolation", ["worktree", "branch"])
@pytest.mark.parametrize(
    ("script", "names"),
    [
        ('echo "key: $API_KEY" >conf.ini', "conf.ini"),
        ('mkdir -p d/e; echo "key: $API_KEY" >d/e/conf.ini; git add .', "d/e/conf.ini"),
        ('echo "key: $API_KEY" >staged.ini; git add .; echo clean >staged.ini', "staged.ini"),
        ('echo "key: $API_KEY" >>a.txt', "a.txt"),
        ('ln -s "$API_KEY" link', "link"),
        ('echo x >"$API_KEY"', "[API_KEY]"),
    ],
)
def test_a_file_with_it_is_no_part_of_a_commit(vault: Vault, script: str, names: str, isolation: str) -> None:
    staged = "git add" in script
    said = vault.play(f"echo fine >fine.txt; {script}", f"{SPEC}        isolation: {isolation}\n", 1)

    found = vault.findings()
    assert '"kind": "secret"' in found
    assert f"a secret is in {names}: kept out of the commit" in found
    assert VALUE not in said.out + said.err + found
    reachable = subprocess.run(
        ["git", "log", "--all", "-p", "--format=%B"], cwd=vault.repo.path, capture_output=True, check=True
    ).stdout
    assert VALUE.encode() not in reachable
    if not staged:
        has_none(vault, said)
    left = [path for path in (vault.home / "state").glob("**/left/**/*") if not path.is_dir()]
    assert [str(path).rpartition("/left/")[2] for path in left] == [names]
    assert vault.repo.show(f"stratum/{vault.flow()}/a:fine.txt") == "fine"
    assert vault.repo.show(f"stratum/{vault.flow()}/a:a.txt") == "a"


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ('echo "$API_KEY" >conf.ini; git add .; git commit -qm x', "conf.ini"),
        ('echo "$API_KEY" >c; git add .; git commit -qm x; git rm -q c; git commit -qm y; echo z >z', "c"),
        ('git commit -q --allow-empty -m "with $API_KEY"', "commit "),
        ('echo x >"$API_KEY"; git add .; git commit -qm x', "tree "),
    ],
)
def test_a_commit_with_it_never_lands_and_is_kept(vault: Vault, script: str, names: str) -> None:
    before = vault.repo.head()
    said = vault.play(script, code=1)

    assert vault.repo.git("rev-parse", "main~1") == before
    found = vault.findings()
    assert '"kind": "secret"' in found
    assert f"a secret is in the commits of the attempt, in {names}" in found
    ref = f"refs/stratum/attempts/{vault.flow()}/build/a/1"
    assert ref in found
    assert vault.repo.git("rev-parse", "--verify", ref)
    assert VALUE not in said.out + said.err + found


def test_a_flow_does_not_begin_with_it(vault: Vault) -> None:
    vault.play("echo x >x.txt")
    before = vault.flows()
    given = vault.run("run", vault.spec(), vault.tasks({"id": "b", "note": f"use {VALUE}"}))
    spec = vault.run("run", vault.spec(f"{SPEC}        verify: curl -H {VALUE}\n"), vault.tasks({"id": "b"}))

    assert (given.code, spec.code) == (2, 2)
    assert "the input tasks has a secret in it, and is written into the history" in given.err
    assert "the spec has a secret in it" in spec.err
    assert vault.flows() == before
    has_none(vault, given, spec)


def test_doctor_names_the_secrets_and_not_their_values(vault: Vault) -> None:
    vault.repo.write(
        ".stratum/config.yaml", "agents: {default: {command: 'true', secrets: [API_KEY, NONE]}}\n"
    )
    found = vault.run("doctor")

    assert "API_KEY, NONE; not set: NONE" in found.out
    assert VALUE not in found.out


async def test_a_client_that_tells_it_is_not_repeated(vault: Vault) -> None:
    vault.repo.write(".stratum/config.yaml", "agents: {default: {command: 'true', secrets: [API_KEY]}}\n")
    async with client_of(vault) as client:
        flow = await call(client, "stratum_plan", spec=STEPS, flow="main", inputs={})
        one = {"flow_id": flow["flow_id"], "step_id": "one", "result": {"said": [f"with {VALUE}"]}}
        answer = await call(client, "stratum_step_done", **one)
        refused = await call(client, "stratum_plan", spec=STEPS, flow="main", inputs={"x": VALUE})
        audit = await call(client, "stratum_audit", flow_id=flow["flow_id"])

    assert answer["step_id"] == "two"
    assert refused["status"] == "error"
    assert VALUE not in json.dumps([answer, refused, audit])
    assert VALUE.encode() not in vault.objects()


def test_it_is_no_argument_of_any_process(vault: Vault) -> None:
    seen = vault.home / "seen"
    script = f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' >{seen}; echo x >x.txt"
    vault.play(script)

    assert "stratum_git" in seen.read_text(errors="replace")
    assert VALUE not in seen.read_text(errors="replace")


def test_everything_that_is_written_is_for_its_owner_alone(vault: Vault) -> None:
    before = os.umask(0)
    try:
        script = (
            'echo x >"$STRATUM_TASK.txt"; echo {} >"$STRATUM_RESULT_FILE"; git init -q inner; echo y >inner/y'
        )
        spec = f"{SPEC}        task_retries: 0\n        setup: 'true'\n        verify: 'true'\n"
        vault.play(script, spec, 1)
        vault.play('echo x >"$STRATUM_TASK.txt"; echo "$API_KEY" >k', spec, 1)
    finally:
        os.umask(before)
    state = next((vault.home / "state" / "stratum-git").iterdir())
    wrong = [
        f"{stat.S_IMODE(path.lstat().st_mode):o} {path.relative_to(state)}"
        for path in (state, *state.rglob("*"))
        if not path.is_symlink() and path.lstat().st_mode & 0o077 and not is_of_a_slot(path, state)
    ]
    assert wrong == []


def is_of_a_slot(path: Path, state: Path) -> bool:
    """Whether a path is inside of a checkout, whose modes are git's; its folder is for the owner alone."""
    inside = path.relative_to(state).parts
    return inside[:1] in {("slots",), ("bases",), ("layers",), ("originals",), ("trash",)} and len(inside) > 2
