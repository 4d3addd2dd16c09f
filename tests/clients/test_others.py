"""The same flow by other clients: codex and opencode with a scripted model, MCP Inspector without one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stratum_git.fakes import responses_api
from tests.clients.around import approved, assert_landed, assert_nothing_left
from tests.clients.story import PAGES, PROMPT, SPEC, Driver, by_hand, claudes, lane, subagents
from tests.support.clients import House, housed, installed, shelf
from tests.support.shell import Shell

pytestmark = pytest.mark.soak
OURS = [sys.executable, "-P", "-m", "stratum_git", "mcp"]


@contextmanager
def dwelling(shell: Shell, place: Path, driver: Driver, **more: Any) -> Iterator[House]:
    """Gives a house with a Node that is new enough, for clients that need one."""
    node = shelf() / "node22/node_modules/.bin"
    with housed(shell, place, {"lanes": [lane(driver)]}, **more) as house:
        house.more = {"PATH": f"{node}:{house.environment['PATH']}"}
        yield house


def test_codex_does_the_flow(shell: Shell, tmp_path: Path) -> None:
    program = installed("cc_codex", ".bin/codex", "codex")
    named = lambda tool: {"name": tool, "namespace": "mcp__stratum"}  # noqa: E731 - one of several ways
    driver = Driver(named, by_hand("exec_command", "cmd"))
    with dwelling(shell, tmp_path / "house", driver, serve=responses_api.serve) as house:
        settings = [
            'model = "fake"',
            'model_provider = "fake"',
            f'[model_providers.fake]\nname = "fake"\nbase_url = "{house.api.url}/v1"\nwire_api = "responses"',
            f"[mcp_servers.stratum]\ncommand = {json.dumps(OURS[0])}\nargs = {json.dumps(OURS[1:])}",
            "required = true  # else the first turn has no tools: it does not wait for servers",
        ]
        shell.file(".codex/config.toml", "\n".join(settings))
        since = house.repo.head()
        bold = "--dangerously-bypass-approvals-and-sandbox"
        run = house.start([str(program), "exec", "--json", bold, PROMPT])
        flow = approved(house, run)
        assert "All is done: the pages." in run.out
        assert_landed(house, since)
        assert_nothing_left(house, flow)


def test_opencode_does_the_flow(shell: Shell, tmp_path: Path) -> None:
    program = installed("cc_oc", ".bin/opencode", "opencode")
    driver = Driver(lambda tool: {"name": f"stratum_{tool}"}, by_hand("bash", "command"))
    with dwelling(shell, tmp_path / "house", driver) as house:
        settings = {
            "provider": {"anthropic": {"options": {"baseURL": f"{house.api.url}/v1", "apiKey": "fake"}}},
            "model": "anthropic/claude-sonnet-4-5",
            "mcp": {"stratum": {"type": "local", "command": OURS, "enabled": True}},
            "permission": "allow",
        }
        shell.file("config/opencode/opencode.json", json.dumps(settings))
        house.more = {**house.more, "XDG_CONFIG_HOME": str(shell.home / "config")}
        since = house.repo.head()
        run = house.start([str(program), "run", "--format", "json", PROMPT])
        flow = approved(house, run)
        assert "All is done: the pages." in run.out
        assert_landed(house, since)
        assert_nothing_left(house, flow)


class Inspector:
    """MCP Inspector without a window: a server for each call, so nothing but the repository remembers."""

    def __init__(self, house: House, program: Path) -> None:
        self._house = house
        self._program = program

    def ask(self, *words: str) -> dict[str, Any]:
        """Returns what a request was answered."""
        run = self._house.start([str(self._program), "--cli", *OURS, *words]).wait()
        assert run.code == 0, run.told()
        found: dict[str, Any] = json.loads(run.out)
        return found

    def call(self, tool: str, **given: Any) -> dict[str, Any]:
        """Returns the structured answer of a tool; its text is the same."""
        said = [f"{name}={one if isinstance(one, str) else json.dumps(one)}" for name, one in given.items()]
        words = ["--tool-arg", *said] if said else []
        answer = self.ask("--method", "tools/call", "--tool-name", f"stratum_{tool}", *words)
        found: dict[str, Any] = answer["structuredContent"]
        assert json.loads(answer["content"][0]["text"]) == found
        return found


@pytest.mark.parametrize("folder", ["cc_insp", "cc_insp2"])
def test_inspector_does_the_flow(shell: Shell, tmp_path: Path, folder: str) -> None:
    program = installed(folder, ".bin/mcp-inspector", "mcp-inspector")
    with dwelling(shell, tmp_path / "house", Driver(claudes, subagents)) as house:
        by, since = Inspector(house, program), house.repo.head()
        flow = by.call("plan", spec=SPEC, flow="pages", inputs={"goal": "pages"})["flow_id"]
        tasks = [{"id": page, "files_owned": [f"pages/{page}.md"]} for page in PAGES]
        said = by.call("step_done", flow_id=flow, step_id="plan", result={"tasks": tasks})
        for one in said["batch"]:
            place = Path(one["path"], "pages")
            place.mkdir()
            (place / f"{one['task_id']}.md").write_text(f"page {one['task_id']}\n", encoding="utf-8")
        done = [{"task_id": page, "status": "complete", "result": {}} for page in PAGES]
        given = {"flow_id": flow, "step_id": "write", "task_results": done, "merge_status": "clean"}
        assert by.call("parallel_done", **given)["status"] == "await_gate"
        assert shell.run("gate", "approve", flow, "look").code == 0
        assert by.call("resume", flow_id=flow)["step_id"] == "tell"
        end = by.call("step_done", flow_id=flow, step_id="tell", result={"summary": "the pages"})
        assert (end["status"], end["output"]) == ("complete", {"summary": "the pages"})
        assert by.call("flows")["flows"][0]["status"] == "complete"
        assert_landed(house, since)
        assert_nothing_left(house, flow)


def test_inspector_finds_no_fault_with_the_schemas_of_tools(shell: Shell, tmp_path: Path) -> None:
    program = installed("cc_insp2", ".bin/mcp-inspector", "mcp-inspector")
    with dwelling(shell, tmp_path / "house", Driver(claudes, subagents)) as house:
        run = house.start([str(program), "--cli", "--strict", *OURS, "--method", "tools/list"]).wait()
        assert (run.code, run.err) == (0, "")
        assert len(json.loads(run.out)["tools"]) >= 37
