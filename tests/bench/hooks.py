"""Measures how long a client waits for each hook, from starting the script to its end:

    .venv/bin/python -m tests.bench.hooks [--times N] [--files N]

Beside them an interpreter that does nothing, `git rev-parse`, and `git worktree add`, since what else the
machine does counts in all of them. `stop` and the like are called where they have work: a task is handed out.
Prints one object of medians, fastest and slowest, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stratum_git.app.hooks.calls import HOOKS
from stratum_git.resources import hooks
from tests.hooks.asking import ClientHooks
from tests.hooks.placing import driven, leased, placed
from tests.support.repos import ScratchRepo


def measured(times: int, once: Callable[[int], object]) -> dict[str, float]:
    """Returns figures of *once*, called with the number of each time."""
    took = []
    for number in range(times):
        began = time.perf_counter()
        once(number)
        took.append((time.perf_counter() - began) * 1000)
    return {
        "median": round(statistics.median(took), 1),
        "min": round(min(took), 1),
        "max": round(max(took), 1),
    }


def started(words: Sequence[str], given: bytes, client: ClientHooks) -> bytes:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        words,
        input=given,
        cwd=client.repo.path,
        env={**client.environment(), "PATH": path},
        capture_output=True,
        check=False,
    )
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--files", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-hooks-") as folder:
        top = Path(folder)
        os.environ.update(
            HOME=folder, XDG_STATE_HOME=str(top / "state"), GIT_CONFIG_GLOBAL=os.devnull,
            GIT_AUTHOR_NAME="b", GIT_AUTHOR_EMAIL="b@x", GIT_COMMITTER_NAME="b", GIT_COMMITTER_EMAIL="b@x",
        )  # fmt: skip
        repo = ScratchRepo.make(top / "repo")
        repo.commit("first", {f"{n % 20}/{n}.txt": f"{n}\n" * 20 for n in range(options.files)})
        client = ClientHooks(repo, top / "state")
        print(json.dumps(figures(client, options.times), indent=1))


def figures(client: ClientHooks, times: int) -> dict[str, dict[str, float]]:
    """Returns how long each hook takes."""
    repo = client.repo
    slot = placed(client)
    leased(client)
    driven(client)
    spec = repo.write(
        "x.stratum.yaml", (Path(__file__).parents[2] / "scripts/demo.stratum.yaml").read_bytes()
    )
    more: dict[str, dict[str, object]] = {
        "pre-tool-use": {"tool_input": {"command": "cd src && git stash | tee log"}},
        "post-tool-use": {"tool_input": {"file_path": str(spec)}},
        "post-tool-use-failure": {"cwd": str(slot), "tool_input": {"command": "make"}},
        "subagent-start": {"cwd": str(slot)},
        "subagent-stop": {"cwd": str(slot)},
    }
    made: list[str] = []

    def asked(name: str, number: int) -> None:
        own = dict(more.get(name, {}))
        if name == "worktree-create":
            own["name"] = f"agent-{number}"
        if name == "worktree-remove":
            own["worktree_path"] = made.pop()
        cwd = Path(str(own.pop("cwd"))) if "cwd" in own else None
        said = started([str(hooks() / name)], client.said(name, cwd, **own), client).decode()
        if name == "worktree-create":
            made.append(said)

    found = {
        "python -c pass": measured(times, lambda _: started([sys.executable, "-c", "pass"], b"", client)),
        "git rev-parse": measured(times, lambda _: started(["git", "rev-parse"], b"", client)),
        "git worktree add": measured(
            times, lambda n: started(["git", "worktree", "add", str(repo.path.parent / f"w{n}")], b"", client)
        ),
    }
    for name in HOOKS:
        if name != "session-end":
            found[name] = measured(times, lambda n, name=name: asked(name, n))  # type: ignore[misc]
    warm = measured(min(times, 8), lambda n: asked("worktree-create", 100 + n))
    return {**found, "worktree-create, warm": warm}


if __name__ == "__main__":
    main()
