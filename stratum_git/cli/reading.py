"""The verbs that only look: validate, query, log, diff, logs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import reading
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import UserError
from stratum_git.model.ids import FlowId
from stratum_git.store.flows import UnknownFlowError, flow_ref


def validate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``validate``."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="spec files")
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def validate(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Checks files; 0 when all are valid, 1 otherwise."""
    del cwd, environment
    checked = reading.validate(options.files)
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
                print(f"{where}:{path} {problem.message}{hint}")
            if not c.problems:
                print(f"{c.file}: valid")
    return 1 if any(c.problems for c in checked) else 0


def query_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``query``."""
    parser.add_argument(
        "what", choices=("flows", "flow", "gates"), help="all flows, one of them, or waiting gates"
    )
    parser.add_argument("flow", nargs="?", metavar="FLOW", help="the id of a flow, with `query flow`")
    parser.add_argument("--json", action="store_true", help="the answer is JSON in any case")


def query(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints JSON; 1 when there is no such flow."""
    around = Surroundings(cwd, environment)
    if (options.what == "flow") is (options.flow is None):
        raise UserError("`query flow` takes the id of a flow, the others take none")
    try:
        match options.what:
            case "flow":
                answer: object = reading.flow(around, FlowId(options.flow))
            case "flows":
                answer = reading.flows(around)
            case _:
                answer = reading.gates(around)
    except UnknownFlowError as error:
        print(json.dumps({"error": {"code": "NOT_FOUND", "message": error.message}}))
        return 1
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0


def log_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``log``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.add_argument("-n", type=int, dest="limit", metavar="N", help="only the last N events")


def log(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints the events of a flow, oldest first."""
    # GitPython takes a while to import, and only this verb needs it.
    from stratum_git.git.history import flow_log
    from stratum_git.git.refs import read_ref

    repo = Surroundings(cwd, environment).repository()
    ref = flow_ref(FlowId(options.flow))
    if read_ref(repo, ref) is None:
        raise UnknownFlowError(
            f"there is no flow called {options.flow}", hint="see `stratum-git query flows`"
        )
    entries = flow_log(repo, ref, options.limit)
    if options.json:
        rows = [
            {"commit": e.oid, "at": e.at, "subject": e.subject, "body": e.body, "trailers": dict(e.trailers)}
            for e in entries
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    for entry in entries:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
        print(f"{entry.oid[:10]} {when} {entry.trailers.get('Stratum-By', ''):<16} {entry.subject}")
        for line in entry.body.splitlines():
            print(f"{'':47}{line}")
    return 0


def diff_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``diff``."""
    _attempt_arguments(parser)


def diff(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints a patch; 1 when it is empty."""
    around = Surroundings(cwd, environment)
    found = reading.diff(around, FlowId(options.flow), options.task, options.attempt)
    sys.stdout.buffer.write(found)
    sys.stdout.flush()
    return 0 if found else 1


def logs_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``logs``."""
    _attempt_arguments(parser)


def logs(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints what an agent printed."""
    around = Surroundings(cwd, environment)
    path = reading.log_file(around, FlowId(options.flow), options.task, options.attempt)
    try:
        sys.stdout.buffer.write(path.read_bytes())
    except FileNotFoundError:
        print(f"{path} is not there: the agent was not started", file=sys.stderr)
        return 1
    sys.stdout.flush()
    return 0


def _attempt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument("task", metavar="TASK", help="the id of a task, or of a step that one agent did")
    parser.add_argument("--attempt", type=int, metavar="N", help="which attempt; the last one if left out")
