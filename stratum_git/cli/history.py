"""The verb that tells the story of a flow: log."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.words import say
from stratum_git.git.history import flow_log
from stratum_git.model.ids import FlowId
from stratum_git.store.listing import known_ref


def log_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``log``."""
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.add_argument("-n", type=int, dest="limit", metavar="N", help="only the last N events")


def log(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints the events of a flow, oldest first."""
    repo = Surroundings(cwd, environment).repository()
    ref = known_ref(repo, FlowId(options.flow))
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
        say(f"{entry.oid[:10]} {when} {entry.trailers.get('Stratum-By', ''):<16} {entry.subject}")
        for line in entry.body.splitlines():
            say(f"{'':47}{line}")
    return 0
