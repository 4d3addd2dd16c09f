"""How much is loaded for what has to be quick: exact, where times are not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stratum_git import __version__
from stratum_git.cli.main import VERBS, overview
from tests.support.repos import ScratchRepo
from tests.support.shell import Shell
from tests.surface.test_querying import waiting

PROGRAM = str(Path(sys.executable).with_name("stratum-git"))
LOADED = """\
import __future__, sys
before = set(sys.modules)
from stratum_git.cli.main import main
main(sys.argv[1:])
print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""
COUNTED = """\
import sys
from stratum_git.cli.main import main
from stratum_git.git.process import processes_started
main({words})
print(processes_started(), file=sys.stderr)
"""
ALONE = ["stratum_git", "stratum_git.cli", "stratum_git.cli.main"]


def said(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",), ("--version",)])
def test_help_and_version_load_one_module(words: tuple[str, ...]) -> None:
    assert said(sys.executable, "-c", LOADED, *words).stderr.split() == ALONE


def test_help_is_the_same_whoever_prints_it() -> None:
    assert said(PROGRAM, "--help").stdout == overview()
    # Not what is answered at once: another option stands before it.
    assert said(PROGRAM, "-h", "-h").stdout == overview()
    assert said(PROGRAM, "--version").stdout == f"stratum-git {__version__}\n"


def test_help_names_every_verb_and_fits_a_terminal() -> None:
    lines = overview().splitlines()
    for verb, (_, line, _) in VERBS.items():
        assert [row for row in lines if re.fullmatch(rf"  {verb} +{re.escape(line)}", row)]
    assert max(map(len, lines)) < 80


def test_help_to_a_full_disk_fails_and_says_why() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 3
    assert "No space left" in done.stderr


def test_a_server_starts_without_what_few_of_its_tools_need() -> None:
    code = "import sys, stratum_git.cli.serving\nprint(*sys.modules)"
    loaded = said(sys.executable, "-c", code).stdout.split()
    assert "stratum_git.server.build" in loaded
    late = ("git", "anthropic", "stratum_git.install", "stratum_git.app.doctor")
    assert [name for name in loaded if name in late or name.startswith("stratum_git.install.")] == []


HEAVY = {
    "trio", "yaml", "secrets", "random", "logging", "concurrent.futures", "shutil", "traceback", "subprocess",
    "argparse", "dataclasses", "pathlib", "typing", "inspect", "hashlib", "contextlib",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["flows", "gates", "sessions"])
def test_a_query_loads_nothing_that_it_has_no_use_for(scratch: ScratchRepo, kind: str) -> None:
    scratch.commit("first")
    words = (sys.executable, "-c", LOADED, "query", kind)
    done = subprocess.run(words, cwd=scratch.path, capture_output=True, text=True, check=True)
    loaded = done.stderr.split()
    assert "stratum_git.store.headers" in loaded
    # Without what starts git there is no git.
    assert not (HEAVY | {"stratum_git.git.process", "stratum_git.cli.program"}) & set(loaded)


def test_a_flow_that_nobody_has_told_is_told_without_git(shell: Shell) -> None:
    flow = waiting(shell)
    (shell.repo.path / ".git/stratum/told").unlink()
    words = (sys.executable, "-c", LOADED, "query", "flow", flow)
    done = subprocess.run(words, cwd=shell.repo.path, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "stratum_git.core.overview" in loaded
    heavy = {"dataclasses", "inspect", "argparse", "subprocess", "threading", "logging", "hashlib"}
    assert not (heavy | {"stratum_git.git.process", "stratum_git.cli.program"}) & loaded


@pytest.mark.parametrize("kind", ["flows", "gates", "sessions"])
def test_a_query_that_has_to_ask_git_starts_few(scratch: ScratchRepo, kind: str) -> None:
    scratch.commit("first")
    scratch.git("config", "extensions.worktreeConfig", "true")
    code = COUNTED.format(words=["query", kind])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=scratch.path, capture_output=True, text=True, check=True
    )
    # Its version, where the repository is, who may write there, the refs, and what they point to.
    assert 0 < int(done.stderr) <= 5
