"""How long the program takes to start, beside an interpreter that does nothing, in turn:

    .venv/bin/python -m tests.bench.start [--rounds N]

``--help``, ``--version``, every hook with nothing to do and with something, the kinds of ``query`` in a small
repository with a flow, and the MCP server's first answer beside the import of its SDK and a bare server of
that. ``query_flow`` is one that whoever ran it has told, ``query_flow_untold`` one that nobody has. The place
of a subagent that ``changed`` something is captured; a worktree that is made is one of idle slots, and one
that is removed has nothing in it.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench import suite
from tests.bench.rounds import Samples, Took, Way, alternate, started
from tests.hooks.asking import ClientHooks
from tests.hooks.placing import driven, leased, placed
from tests.support.repos import ScratchRepo

FILES = (250,)

BIN = Path(sys.executable).parent
OURS = str(BIN / "stratum-git")
PYTHON = (sys.executable, "-c", "pass")
QUERIES = ("flows", "flow", "gates", "sessions")
SDK = "import mcp.server.mcpserver, mcp.types"
SPEC = """\
version: "0.4"
flows:
  main:
    input: {tasks: {type: array}}
    steps:
      - id: build
        type: parallel_dispatch
        source: $.input.tasks
        intent_template: "do {task.id}"
"""
STATE = {
    "name": "main", "status": "running", "book": {}, "cursor": "s1", "position": 0, "steps": 1, "seq": 1,
    "base": "", "target": "", "driver": "client", "started": 1.0, "updated": 2.0, "tasks": None,
}  # fmt: skip
GREETING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    },
}


@dataclass(frozen=True)
class Asked:
    """A hook, what it is told, and where it is called."""

    name: str
    said: bytes
    at: Path


def measure(repository: Path, rounds: int) -> dict[str, Any]:
    """Returns medians in milliseconds, and ratios to a bare interpreter; the repository is not looked at."""
    # An installation has this; a checkout in which nothing may write it would be measured without.
    if not compileall.compile_dir(suite.ROOT / "stratum_git", quiet=1):
        raise SystemExit("the program could not be compiled")
    with tempfile.TemporaryDirectory(prefix="bench-start-") as folder:
        top = Path(folder).resolve()
        client = _client(top)
        idle = ScratchRepo.make(top / "idle")
        idle.commit("first", {"a.txt": "a\n"})
        found = _figures(alternate(_commands(client, idle, top), max(rounds, 5)), "python")
        return {**found, **_servers(client, max(rounds, 5))}


def _client(top: Path, name: str = "repo") -> ClientHooks:
    repo = ScratchRepo.make(top / name)
    repo.commit("first", {f"{n % 20}/{n}.txt": f"{n}\n" * 20 for n in range(200)})
    return ClientHooks(repo, top / "state")


def _commands(client: ClientHooks, idle: ScratchRepo, top: Path) -> dict[str, Way]:
    slot = placed(client)
    leased(client)
    driven(client)
    _open_flow(client.repo)
    own = {"PATH": f"{BIN}:{os.environ['PATH']}", "XDG_STATE_HOME": str(client.state)}
    world = {**client.environment(), **own}
    queried = _with_a_flow(top, world)
    ways: dict[str, Way] = {
        "python": lambda: started(PYTHON, idle.path, world),
        "git_rev_parse": lambda: started(("git", "rev-parse", "HEAD"), idle.path, world),
        "help": lambda: started((OURS, "--help"), idle.path, world),
        "version": lambda: started((OURS, "--version"), idle.path, world),
    }
    for kind in QUERIES:
        words = (OURS, "query", kind, *((queried.flow,) if kind == "flow" else ()))
        ways[f"query_{kind}"] = lambda words=words: started(words, queried.at, world)  # type: ignore[misc]
    ways["query_flow_untold"] = lambda: _untold(queried, world)
    ways |= _lending(_client(top, "lent"), world)
    ways["hook_subagent_stop_changed"] = _changing(_client(top, "changed"), world)
    lost = ClientHooks(idle, top / "state")
    for who, name in ((lost, "idle"), (client, "busy")):
        for asked in _hooks(who, slot if who is client else idle.path):
            words = (OURS, "hook", asked.name)
            ways[f"hook_{asked.name.replace('-', '_')}_{name}"] = lambda words=words, asked=asked: started(  # type: ignore[misc]
                words, asked.at, world, asked.said, codes=(0, 2)
            )
    return ways


def _open_flow(repo: ScratchRepo) -> None:
    """Makes a flow that is not over, for a session to be told of when it starts."""
    commit = repo.commit("flow", {"state.json": json.dumps(STATE)})
    repo.git("update-ref", "refs/stratum/flows/f", commit)


@dataclass(frozen=True)
class Queried:
    """A repository in which a flow ran, and what it is called."""

    at: Path
    flow: str


def _with_a_flow(top: Path, world: Mapping[str, str]) -> Queried:
    repo = ScratchRepo.make(top / "flows")
    repo.commit("first", {"a.txt": "a\n", "x.stratum.yaml": SPEC})
    tasks = top / "tasks.json"
    tasks.write_text(json.dumps([{"id": f"t{number}"} for number in range(4)]))
    agent = "default=sh -c 'echo x > $STRATUM_TASK'"
    words = (OURS, "run", "x.stratum.yaml", "--input", f"tasks=@{tasks}", "--agent", agent, "--quiet")
    started(words, repo.path, world)
    told = json.loads(started((OURS, "query", "flows"), repo.path, world).said)
    return Queried(repo.path, str(told[0].get("flow_id") or told[0]["flow"]))


def _untold(queried: Queried, world: Mapping[str, str]) -> Took:
    """Asks for a flow of which nothing is written down, as within a moment of its last event."""
    (queried.at / ".git/stratum/told").unlink(missing_ok=True)
    return started((OURS, "query", "flow", queried.flow), queried.at, world)


def _changing(client: ClientHooks, world: Mapping[str, str]) -> Way:
    """Returns the end of a subagent that has written in its slot since it was last captured."""
    slot = placed(client)
    leased(client, seconds=3600)
    said, number = client.said("subagent-stop", slot), count()

    def ended() -> Took:
        (slot / "0/0.txt").write_text(f"changed {next(number)}\n")
        return started((OURS, "hook", "subagent-stop"), slot, world, said)

    return ended


def _lending(client: ClientHooks, world: Mapping[str, str]) -> dict[str, Way]:
    """Returns how a worktree is made and given back; what is not measured of it is done besides."""
    at, number = client.repo.path, count()

    def made() -> Took:
        said = client.said("worktree-create", name=f"agent-{next(number)}")
        return started((OURS, "hook", "worktree-create"), at, world, said)

    def removed(place: bytes) -> Took:
        said = client.said("worktree-remove", worktree_path=place.decode().strip())
        return started((OURS, "hook", "worktree-remove"), at, world, said)

    def making() -> Took:
        took = made()
        removed(took.said)
        return took

    return {
        "hook_worktree_create_warm": making,
        "hook_worktree_remove_untouched": lambda: removed(made().said),
    }


def _hooks(client: ClientHooks, slot: Path) -> list[Asked]:
    """Returns the hooks that can be called again and again: those that end something are in ``hooks.py``."""
    repo = client.repo
    spec = repo.write("x.stratum.yaml", (suite.ROOT / "scripts/demo.stratum.yaml").read_bytes())
    if slot != repo.path:
        repo.write(".claude/memory/MEMORY.md", "what was agreed\n")
    written = spec if slot != repo.path else spec.with_suffix(".py")
    own: Mapping[str, tuple[Path, dict[str, object]]] = {
        "session-start": (repo.path, {}),
        "stop": (repo.path, {}),
        "pre-tool-use": (repo.path, {"tool_input": {"command": "cd src && git stash | tee log"}}),
        "post-tool-use": (repo.path, {"tool_input": {"file_path": str(written)}}),
        "post-tool-use-failure": (slot, {"tool_input": {"command": "make"}}),
        "subagent-start": (slot, {}),
        "subagent-stop": (slot, {}),
    }
    return [Asked(name, client.said(name, at, **more), at) for name, (at, more) in own.items()]


def _servers(client: ClientHooks, rounds: int) -> dict[str, Any]:
    world = client.environment()
    at = client.repo.path
    bare = "from mcp.server.mcpserver import MCPServer\nMCPServer('bare', log_level='WARNING').run()"
    samples = alternate(
        {
            "sdk": lambda: started((sys.executable, "-c", SDK), at, world),
            "bare_server": lambda: greeted((sys.executable, "-c", bare), at, world),
            "server": lambda: greeted((OURS, "mcp"), at, world),
        },
        rounds,
    )
    pairs = zip(samples.of["server"], samples.of["sdk"], strict=True)
    above = sorted((one.wall - other.wall) * 1000 for one, other in pairs)[rounds // 2]
    return {**_figures(samples, "sdk"), "server_above_sdk_ms": round(above, 1)}


def greeted(words: tuple[str, ...], at: Path, world: Mapping[str, str]) -> Took:
    """Returns what it takes until a server has answered ``initialize``; ends it."""
    pipe = subprocess.PIPE
    began = time.perf_counter()
    with subprocess.Popen(
        words, cwd=at, env=world, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(GREETING).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        took = time.perf_counter() - began
        process.stdin.close()
    if "result" not in answer:
        raise SystemExit(f"{' '.join(words)} did not answer: {answer}")
    return Took(took)


def _figures(samples: Samples, beside: str) -> dict[str, Any]:
    found: dict[str, Any] = {f"{name}_ms": samples.ms(name) for name in samples.of}
    found |= {f"{name}_ratio": samples.ratio(name, beside) for name in samples.of if name != beside}
    return found


def main(show: Callable[[str], object] = print) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(suite.environment(Path(home)))
        (Path(home) / "tmp").mkdir()
        show(json.dumps(measure(Path(), options.rounds), indent=1))


if __name__ == "__main__":
    main()
