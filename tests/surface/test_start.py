"""How much is loaded for what has to be quick: exact, where times are not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stratum_git import __version__
from stratum_git.cli.main import VERBS, overview

PROGRAM = str(Path(sys.executable).with_name("stratum-git"))
LOADED = """\
import __future__, sys
before = set(sys.modules)
from stratum_git.cli.main import main
main(sys.argv[1:])
print(*sorted(set(sys.modules) - before), file=sys.stderr)
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
