"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stratum_git.cli.main import VERBS
from stratum_git.core.parse import load_spec
from stratum_git.core.program import compile_program
from stratum_git.model.state import Program
from tests.support.shell import Shell

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def blocks(kind: str) -> list[str]:
    return [text for found, text in BLOCKS if found == kind]


def test_the_demo_does_what_is_said_of_it(shell: Shell) -> None:
    environment = {**shell.environment, "PATH": f"{Path(sys.executable).parent}:{shell.environment['PATH']}"}
    done = subprocess.run(
        ["bash", "-e"],
        input=blocks("sh")[0],
        cwd=shell.home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    story = [line.partition(" ")[2] for line in done.stdout.splitlines()[1:]]
    assert story[0] == "stratum-git: The checkouts follow main"
    assert story[1].startswith("stratum-git: write: land 3 on main at ")
    assert {line.rpartition(",")[0] for line in story[2:5]} == {
        f"agent default: write/{task}#1: complete" for task in ("one", "two", "both")
    }
    shown = subprocess.run(
        ["git", "show", "main:both.txt"], cwd=shell.home / "demo", capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"one.txt", "two.txt"} <= set(shown)


def test_the_demo_is_short_and_ends_in_the_log() -> None:
    lines = blocks("sh")[0].splitlines()
    assert len(lines) <= 11
    assert lines[-1].startswith("git log")
    assert "refs/stratum/" in lines[-1]


def test_the_first_flow_is_one_that_can_be_run() -> None:
    loaded = load_spec(blocks("yaml")[0])
    assert loaded.problems == ()
    assert loaded.spec is not None
    assert isinstance(compile_program(loaded.spec, None), Program)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_table(verb: str) -> None:
    assert re.search(rf"^\| `stratum-git {verb}\b", README, re.MULTILINE)


def test_the_sections_come_in_their_order() -> None:
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == [
        "What it does not do", "Install", "A first flow", "Verbs", "For MCP clients",
        "Guarantees, and their limits",
    ]  # fmt: skip
