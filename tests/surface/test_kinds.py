"""A flow of three tasks with agents of each kind, as their user runs it: two are done, one is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from stratum_git.fakes import codex, messages_api, opencode
from stratum_git.model.ids import Json
from tests.support.other_kinds import HAIKU, KEY
from tests.support.shell import SPEC, Shell

SPEC_ANY = SPEC + "        require: 2\n        on_quorum: keep\n        task_retries: 0\n"
TASKS: tuple[Json, ...] = ({"id": "one"}, {"id": "two"}, {"id": "three"})


def lanes(write: str, command: str) -> Json:
    """Returns a script: task three is refused, the others make a file and commit it."""
    steps = [{write: "%s.txt", "text": "made\n"}, {command: "git add -A; git commit -qm made"}]
    done: list[Json] = [
        {"match": f"do {name}", "steps": [*json.loads(json.dumps(steps) % name), {"text": "done"}]}
        for name in ("one", "two")
    ]
    return {"lanes": [*done, {"match": "do three", "steps": [{"error": 400, "message": "not this one"}]}]}


@contextmanager
def fake(shell: Shell, kind: str, program: ModuleType) -> Iterator[str]:
    script = shell.file("script.json", json.dumps(lanes("write", "bash")))
    words = json.dumps([sys.executable, "-P", "-m", program.__name__])
    yield f"{{kind: {kind}, command: {words}, env: {{{program.SCRIPT}: '{script}'}}}}"


@contextmanager
def model(shell: Shell) -> Iterator[str]:
    made = {"path": "{{reall:do (\\w+)}}.txt", "content": "made\n"}
    commit = {"command": "git add -A; git commit -qm made"}
    turns = [
        [
            {"type": "tool_use", "name": "write_file", "input": made},
            {"type": "tool_use", "name": "run", "input": commit},
        ],
        "done",
    ]
    refused = {"error": {"status": 400, "message": "not this one"}}
    script = {
        "lanes": [
            {"name": "three", "match": {"first_user": "do three"}, "turns": [refused]},
            {"name": "others", "turns": turns},
        ]
    }
    with messages_api.serve(script) as api:
        env = f"{{ANTHROPIC_API_KEY: {KEY}, ANTHROPIC_BASE_URL: '{api.url}'}}"
        yield f"{{kind: api, model: {HAIKU}, env: {env}}}"
        assert len(api.to("others")) == 4


@pytest.mark.parametrize("kind", ["codex", "opencode", "api"])
def test_two_of_three_land_and_the_third_is_told(shell: Shell, kind: str) -> None:
    programs = {"codex": codex, "opencode": opencode}
    staged = fake(shell, kind, programs[kind]) if kind in programs else model(shell)
    with staged as settings:
        folder = shell.repo.path / ".stratum"
        folder.mkdir()
        (folder / "config.yaml").write_text(f"agents: {{default: {settings}}}\n")
        (folder / ".gitignore").write_text("*\n")

        said = shell.run("run", str(shell.file("spec.yaml", SPEC_ANY)), shell.tasks(*TASKS), "--json")

    assert said.code == 0, said.out + said.err
    landed = shell.repo.git("ls-tree", "--name-only", "HEAD").split()
    assert {"one.txt", "two.txt"} <= set(landed)
    assert "three.txt" not in landed
    log = shell.repo.git("log", "--format=%B", "--all")
    assert "not this one" in log + said.out + said.err
    state = shell.home / "state"
    kept = [path for path in state.rglob("*") if path.is_file() and path.name != "prompt.md"]
    assert [path for path in kept if KEY.encode() in path.read_bytes()] == []
