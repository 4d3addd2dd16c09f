"""The verb for programs: query."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import listing
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.protocol import answer, refuse
from stratum_git.cli.words import say
from stratum_git.errors import UserError
from stratum_git.model.ids import FlowId
from stratum_git.store.listing import UnknownFlowError


def query_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``query``."""
    parser.add_argument(
        "what", choices=("flows", "flow", "gates"), help="all flows, one of them, or waiting gates"
    )
    parser.add_argument("flow", nargs="?", metavar="FLOW", help="the id of a flow, with `query flow`")
    parser.add_argument(
        "--long", action="store_true", help="flows with their branches, times and the states of their tasks"
    )
    parser.add_argument("--json", action="store_true", help="the answer is JSON in any case")


def query(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints JSON; 1 when there is no such flow."""
    around = Surroundings(cwd, environment)
    if (options.what == "flow") is (options.flow is None):
        raise UserError("`query flow` takes the id of a flow, the others take none")
    if options.what == "gates" and options.long:
        raise UserError("`query gates` has no long form", hint="leave --long out")
    if options.what == "flow":
        return _flow(around, FlowId(options.flow), is_long=options.long)
    if options.what == "gates":
        found = listing.gates(around)
    else:
        found = listing.long_flows(around) if options.long else listing.brief_flows(around)
    for remark in found.remarks:
        say(remark, to=sys.stderr)
    return answer(found.rows)


def _flow(around: Surroundings, name: FlowId, *, is_long: bool) -> int:
    # A whole flow takes the engine to read; the lists do not.
    from stratum_git.app import reading

    try:
        return answer(reading.long_flow(around, name) if is_long else reading.brief_flow(around, name))
    except UnknownFlowError as error:
        return refuse(error.word, error.message)
