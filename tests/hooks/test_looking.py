"""What a client is told when it begins, and when it wrote a spec; and what is noted while it works."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from stratum_git.slots.leases import lease_ref, read_lease
from tests.hooks.asking import ClientHooks
from tests.hooks.placing import driven, leased, placed
from tests.support.repos import ScratchRepo

VALID = """\
version: "0.4"
flows:
  main:
    steps:
      - {id: write, agent: default, intent: Write it}
"""


def test_a_repository_without_anything_open_says_nothing(client: ClientHooks, tmp_path: Path) -> None:
    assert client.ask("session-start").out == ""
    assert client.ask("session-start", tmp_path).out == ""


def test_project_memory_is_told_and_bounded(client: ClientHooks) -> None:
    client.repo.write(".claude/memory/MEMORY.md", "- the tests need a database\n")
    told = "What the project wants remembered (.claude/memory/MEMORY.md):\n- the tests need a database"
    assert client.ask("session-start").out == told
    # A session in a worktree, where it is not committed, has it from the main checkout.
    place = Path(client.ask("worktree-create", name="x").out)
    assert replace(client, repo=ScratchRepo(place)).ask("session-start").out == told
    client.repo.write(".claude/memory/MEMORY.md", "word " * 20_000)
    assert len(client.ask("session-start").out) < 10_000
    client.repo.write(".claude/memory/MEMORY.md", b"\xff\xfe")
    assert client.ask("session-start").out == ""


def test_a_wrong_spec_is_refused_with_every_problem(client: ClientHooks) -> None:
    path = client.repo.write("x.stratum.yaml", "version: '0.9'\nname: a\n")
    answer = client.ask("post-tool-use", tool_input={"file_path": str(path)})
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert lines[0] == f"{path} is not a valid stratum spec; 2 problem(s):"
    assert [line.split(":")[0] for line in lines[1:]] == ["  line 1", "  line 2"]
    assert all(line.endswith(")") for line in lines[1:]), "each has a hint"
    client.repo.write("x.stratum.yaml", "version: '0.4'\n" + "".join(f"n{i}: x\n" for i in range(50)))
    assert client.ask("post-tool-use", tool_input={"file_path": str(path)}).err.count("\n") >= 50
    client.repo.write("x.stratum.yaml", "version: '0.4'\n" + "".join(f"n{i}: x\n" for i in range(500)))
    told = client.ask("post-tool-use", tool_input={"file_path": str(path)}).err
    assert len(told) < 10_000
    assert told.endswith(f" more: `stratum-git validate {path}` names all")


@pytest.mark.parametrize("name", ["x.stratum.yaml", "notes.yaml", "gone.stratum.yaml"])
def test_nothing_else_is(client: ClientHooks, name: str) -> None:
    client.repo.write("x.stratum.yaml", VALID)
    client.repo.write("notes.yaml", "name: a\n")
    answer = client.ask("post-tool-use", tool_input={"file_path": name})
    assert (answer.out, answer.err, answer.code) == ("", "", 0)


def test_failures_are_noted_where_they_belong(client: ClientHooks) -> None:
    slot, other = placed(client), placed(client, "two")
    driven(client)
    attempts = client.folders.root / "attempts/f"
    client.ask("post-tool-use-failure", slot, tool_input={"command": "make\ntest"})
    client.ask("post-tool-use-failure", tool_input={"file_path": f"{other}/a.txt"}, tool_name="Edit")
    client.ask("post-tool-use-failure", tool_input={"command": "exit 3"})
    client.ask("post-tool-use-failure", tool_input={"command": "stopped"}, is_interrupt=True)
    found = {
        str(path.relative_to(attempts)): path.read_text().partition(" ")[2]
        for path in attempts.rglob("tools.log")
    }
    assert found == {
        "s1/one/1/tools.log": 'Bash failed: Exit code 3 <- {"command": "make\\ntest"}\n',
        "s1/two/1/tools.log": f'Edit failed: Exit code 3 <- {{"file_path": "{other}/a.txt"}}\n',
        "tools.log": 'Bash failed: Exit code 3 <- {"command": "exit 3"}\n',
    }
    for _ in range(120):
        client.ask("post-tool-use-failure", slot, tool_input={"command": "x" * 1000})
    assert (attempts / "s1/one/1/tools.log").stat().st_size < 70_000


def written(client: ClientHooks, prompt: str) -> Path:
    """Writes the transcript of a subagent as the client does, a system reminder first."""
    path = client.repo.path.parent / "agent-aa1cab8d9.jsonl"
    rows = [
        {"type": "attachment", "attachment": {"type": "environment"}},
        {"type": "user", "message": {"role": "user", "content": prompt}},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_subagent_is_found_by_its_prompt_and_its_work_kept(client: ClientHooks) -> None:
    slot = placed(client)
    placed(client, "two")
    leased(client, seconds=100)
    ScratchRepo(slot).write("new.txt", "work\n")
    transcript = written(client, f"Do one in {slot}, please")
    client.ask("subagent-stop", agent_transcript_path=str(transcript))
    assert client.repo.git("show", "refs/stratum/attempts/f/s1/one/1-seen:new.txt") == "work"
    assert client.repo.git("for-each-ref", "refs/stratum/attempts/f/s1/two") == ""
    row = json.loads((client.folders.attempt("f", "s1", "one", 1) / "subagent-aa1cab8d9.json").read_text())
    assert (row["said"], row["transcript"]) == ("sub done", str(transcript))
    held = read_lease(client.lender.repo, lease_ref("f", "s1", "one"))
    assert held is not None
    assert held.lease is not None
    assert held.lease.expires - row["at"] > 3000


def test_what_a_subagent_is_told_when_it_begins(client: ClientHooks) -> None:
    slot, other = placed(client), placed(client, "two")

    def call(number: int, place: Path) -> dict[str, object]:
        given = {"prompt": f"work in {place}", "subagent_type": "general-purpose"}
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": "Agent", "input": given}
        return {"type": "assistant", "message": {"content": [block]}}

    answered = {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]}}
    rows = [call(1, other), answered, {"type": "last-prompt"}, call(2, slot)]
    client.transcript.write_text("".join(json.dumps(row) + "\n" for row in rows) + "torn {")
    said = client.advice("subagent-start")
    assert f"Its place is {slot}" in said
    assert str(other) not in said
    client.transcript.write_text("".join(json.dumps(row) + "\n" for row in [*rows, call(3, other)]))
    assert f"- one: {slot}\n- two: {other}" in client.advice("subagent-start")
    # One that is in a slot knows its place by that.
    assert f"Its place is {other}" in client.advice("subagent-start", other)


def test_where_settings_name_secrets_nothing_is_noted(client: ClientHooks) -> None:
    client.repo.write(".stratum/config.yaml", "agents: {default: {command: [x], secrets: [KEY]}}\n")
    slot = placed(client)
    ScratchRepo(slot).write("new.txt", "work\n")
    client.ask("subagent-stop", slot)
    client.ask("post-tool-use-failure", slot, tool_input={"command": "x"})
    assert list(client.folders.attempts("f").rglob("*.*")) == []
    assert client.repo.git("for-each-ref", "refs/stratum/attempts") == ""


def test_slots_lie_where_the_settings_have_them(client: ClientHooks, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    client.repo.write(".stratum/config.yaml", f"slots: {{root: {tmp_path}/elsewhere}}\n")
    place = Path(client.ask("worktree-create", name="x").out)
    assert place.is_relative_to(tmp_path / "elsewhere")
    assert client.ask("session-end", place).code == 0
    assert not place.exists()
    assert not (Path(os.environ["XDG_STATE_HOME"]) / "stratum-git").exists()
