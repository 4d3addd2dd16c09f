"""The verb that looks whether all is well: doctor."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app.doctor.whole import examine
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.words import say

MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``doctor``."""
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def doctor(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints what every check came to; 1 when one failed."""
    found = examine(Surroundings(cwd, environment))
    if options.json:
        print(json.dumps([finding.row() for finding in found], indent=2, ensure_ascii=False))
    for finding in () if options.json else found:
        say(f"{MARKS[finding.verdict]} {finding.check}: {finding.detail}")
        if finding.hint and finding.verdict != "ok":
            say(f"     {finding.hint}")
        if finding.fix and finding.fix not in finding.hint and finding.verdict != "ok":
            say(f"     $ {finding.fix}")
    return 1 if any(finding.verdict == "fail" for finding in found) else 0
