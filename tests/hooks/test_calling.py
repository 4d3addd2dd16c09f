"""The scripts and the verb as the client calls them: quick, and never in its way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stratum_git.app.hooks.calls import HOOKS
from stratum_git.git.process import processes_started
from stratum_git.resources import hooks
from tests.hooks.asking import EVENTS, ClientHooks
from tests.hooks.placing import driven, leased, placed

PROGRAM = str(Path(sys.executable).with_name("stratum-git"))
HEAVY = (
    "trio", "yaml", "jsonschema", "git", "mcp", "subprocess", "filelock", "regex",
    "argparse", "contextlib", "dataclasses", "hashlib", "inspect", "pathlib", "shlex", "traceback", "typing",
    "stratum_git.git.process",
)  # fmt: skip
STATE = json.dumps(
    {
        "name": "main", "status": "running", "book": {}, "cursor": "s1", "position": 0, "steps": 1, "seq": 1,
        "base": "", "target": "", "driver": "client", "started": 1.0, "updated": 2.0, "tasks": None,
    }
)  # fmt: skip
LOADED = """\
import io, sys
from stratum_git.cli.main import main
sys.stdin = io.TextIOWrapper(io.BytesIO(sys.argv[2].encode()))
code = main(["hook", sys.argv[1]])
print(code, *(name for name in sys.argv[3].split() if name in sys.modules), file=sys.stderr)
"""


def loaded(client: ClientHooks, name: str, **more: Any) -> str:
    words = [sys.executable, "-c", LOADED, name, client.said(name, **more).decode(), " ".join(HEAVY)]
    done = subprocess.run(words, capture_output=True, text=True, env=client.environment(), check=True)
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("session-start", {}),
        ("session-end", {}),
        ("stop", {}),
        ("pre-tool-use", {"tool_input": {"command": "git stash; curl https://example.org"}}),
        ("post-tool-use", {"tool_input": {"file_path": "a.py"}}),
        ("post-tool-use-failure", {"tool_input": {"command": "make"}}),
        ("subagent-start", {}),
        ("subagent-stop", {}),
    ],
)
def test_what_has_nothing_to_say_loads_next_to_nothing(
    client: ClientHooks, name: str, more: dict[str, object]
) -> None:
    # Idle slots, of flows that are over, are nothing to speak of.
    (client.folders.slots / "slot-00000001.json").write_text('{"kind": "worktree", "ready": true}')
    assert loaded(client, name, **more) == "0"


def test_a_repository_with_a_task_in_it_is_looked_at(client: ClientHooks) -> None:
    slot = placed(client)
    stash = {"command": "git stash"}
    assert loaded(client, "pre-tool-use", cwd=slot, tool_input=stash) == "0 shlex"
    assert loaded(client, "pre-tool-use", cwd=slot, tool_input={"command": "make"}) == "0"


def test_what_looks_loads_no_engine(client: ClientHooks) -> None:
    client.repo.write(".claude/memory/MEMORY.md", "remember this")
    engine = {"trio", "yaml", "jsonschema", "git", "mcp", "regex", "argparse"}
    assert not engine & set(loaded(client, "session-start").split())


@pytest.mark.parametrize(
    ("name", "code", "more"),
    [
        ("session-start", 0, {}),
        ("stop", 2, {}),
        ("post-tool-use-failure", 0, {"tool_input": {"command": "make"}}),
        ("subagent-start", 0, {}),
        # It changed nothing.
        ("subagent-stop", 0, {}),
    ],
)
def test_what_has_something_to_say_starts_no_git(
    client: ClientHooks, name: str, code: int, more: dict[str, object]
) -> None:
    slot = placed(client)
    leased(client, seconds=3600)
    driven(client)
    client.repo.write(".claude/memory/MEMORY.md", "remember this")
    client.repo.git("update-ref", "refs/stratum/flows/f", client.repo.commit("flow", {"state.json": STATE}))
    for _ in range(2):
        at = client.repo.path if name in {"session-start", "stop"} else slot
        assert loaded(client, name, cwd=at, **more) == str(code)
        # The second time all of it is in packs.
        client.repo.git("gc", "-q", "--prune=now")
        client.repo.git("pack-refs", "--all")
        (client.folders.root / "clients" / client.session / "told").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["session-start", "stop", "subagent-start"])
def test_git_says_the_same_where_it_has_to_be_asked(client: ClientHooks, name: str) -> None:
    slot = placed(client)
    leased(client, seconds=3600)
    driven(client)
    client.repo.git("update-ref", "refs/stratum/flows/f", client.repo.commit("flow", {"state.json": STATE}))
    at = slot if name == "subagent-start" else client.repo.path
    given = client.ask(name, at)
    assert given.out or given.err
    (client.folders.root / "clients" / client.session / "told").unlink(missing_ok=True)
    client.repo.git("config", "extensions.worktreeConfig", "true")
    before = processes_started()
    other = client.ask(name, at)
    assert (other.out, other.err, other.code) == (given.out, given.err, given.code)
    assert processes_started() > before


def called(script: Path, given: bytes, cwd: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}", **more}
    return subprocess.run(
        [str(script)], input=given, cwd=cwd, env=environment, capture_output=True, check=False
    )


def test_every_event_has_its_script_and_every_script_its_verb() -> None:
    told = json.loads((hooks() / "hooks.json").read_text())["hooks"]
    scripts = {path.name for path in hooks().iterdir() if not path.suffix}
    named = {
        entry["command"].rpartition("/")[2] for one in told.values() for row in one for entry in row["hooks"]
    }
    assert scripts == named == set(HOOKS) == set(EVENTS)
    assert {event["hook_event_name"] for event in EVENTS.values()} == set(told)
    for name in scripts:
        lines = (hooks() / name).read_text().splitlines()
        assert len(lines) == 3
        assert lines[-1] == f"exec stratum-git hook {name}"
        assert os.access(hooks() / name, os.X_OK)
    # The client gives up on a hook later than the hook does.
    limits = {
        entry["command"].rpartition("/")[2]: entry["timeout"]
        for o in told.values()
        for r in o
        for entry in r["hooks"]
    }
    assert all(HOOKS[name][0] < limits[name] for name in HOOKS)


def test_a_script_without_the_program_says_so_and_holds_nobody_up(
    client: ClientHooks, tmp_path: Path
) -> None:
    done = called(hooks() / "stop", b"{}", client.repo.path, PATH="/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (0, b"")
    assert re.fullmatch(rb"stratum-git is not on PATH: its hook stop does nothing\n", done.stderr)


def test_a_script_answers_as_its_verb_does(client: ClientHooks) -> None:
    done = called(hooks() / "worktree-create", client.said("worktree-create", name="x"), client.repo.path)
    assert done.returncode == 0
    assert Path(done.stdout.decode().strip()).is_dir()


@pytest.mark.parametrize("given", [b"", b"[]", b'{"cwd": 3, "session_id": []}', b'{"cwd": "/gone/away"}'])
def test_nonsense_is_answered_by_nothing(client: ClientHooks, given: bytes) -> None:
    words = [PROGRAM, "hook", "stop"]
    done = subprocess.run(words, input=given, cwd=client.repo.path, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b""), done
    assert len(done.stderr.splitlines()) <= 1


def test_a_hook_that_hangs_ends_by_itself_and_is_noted(client: ClientHooks) -> None:
    slot = placed(client)
    # A record that nobody ever ends to write.
    slot.with_suffix(".json").unlink()
    os.mkfifo(slot.with_suffix(".json"))
    began = time.monotonic()
    given = client.said("pre-tool-use", slot, tool_input={"command": "git stash"})
    done = subprocess.run([PROGRAM, "hook", "pre-tool-use"], input=given, capture_output=True, check=False)
    assert time.monotonic() - began < 10
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"stratum-git hook pre-tool-use: it took more than 2 s\n"
    assert "it took more than 2 s" in (client.folders.root / "hooks.log").read_text()


def test_a_hook_that_hangs_while_it_cleans_up_ends_too() -> None:
    hangs = """
import os, time
from stratum_git.cli.answering import deadline
with deadline(0.05, lambda: os._exit(7), 0.05):
    try:
        time.sleep(20)
    finally:
        time.sleep(20)
"""
    done = subprocess.run([sys.executable, "-c", hangs], timeout=10, capture_output=True, check=False)
    assert done.returncode == 7, done.stderr


def test_a_hook_that_must_answer_fails_with_the_reason(client: ClientHooks, tmp_path: Path) -> None:
    given = client.said("worktree-create", tmp_path, name="x")
    done = subprocess.run([PROGRAM, "hook", "worktree-create"], input=given, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is not in a git repository" in done.stderr


def test_there_is_no_hook_of_another_name(client: ClientHooks) -> None:
    done = subprocess.run([PROGRAM, "hook", "nope"], input=b"{}", capture_output=True, check=False)
    assert done.returncode == 0
    assert b"there is no hook called 'nope'" in done.stderr
