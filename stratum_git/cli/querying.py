"""The verb for programs: query."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import listing
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import UserError
from stratum_git.model.ids import FlowId
from stratum_git.store.listing import UnknownFlowError


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
                # A whole flow takes the engine to read; the lists do not.
                from stratum_git.app import reading

                answer: object = reading.flow(around, FlowId(options.flow))
            case "flows":
                answer = listing.flows(around)
            case _:
                answer = listing.gates(around)
    except UnknownFlowError as error:
        print(json.dumps({"error": {"code": "NOT_FOUND", "message": error.message}}))
        return 1
    print(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0
