"""The verb that needs no repository: validate."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import checking
from stratum_git.cli.words import say


def validate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``validate``."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="spec files")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def validate(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Checks files; 0 when all are valid, 1 otherwise."""
    del cwd, environment
    checked = checking.validate(options.files)
    if options.json:
        rows = [
            {
                "file": c.file,
                "valid": not c.problems,
                "problems": [
                    {"path": p.path, "message": p.message, "line": p.line, "hint": p.hint} for p in c.problems
                ],
            }
            for c in checked
        ]
        print(json.dumps(rows, indent=2))
    else:
        for c in checked:
            for problem in c.problems:
                where = f"{c.file}:{problem.line}" if problem.line else c.file
                path = f" {problem.path}:" if problem.path else ""
                hint = f" ({problem.hint})" if problem.hint else ""
                say(f"{where}:{path} {problem.message}{hint}")
            if not c.problems:
                say(f"{c.file}: valid")
    return 1 if any(c.problems for c in checked) else 0
