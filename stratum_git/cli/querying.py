"""The verb for programs: query."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import listing
from stratum_git.app.refused import Refused
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.protocol import answer, refuse
from stratum_git.cli.words import say
from stratum_git.errors import UserError
from stratum_git.model.ids import FlowId
from stratum_git.store.listing import UnknownFlowError


def query_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``query``."""
    parser.add_argument(
        "what",
        choices=("flows", "flow", "gates", "sessions", "session"),
        help="all flows, one of them, waiting gates, all sessions, or one of them",
    )
    parser.add_argument("flow", nargs="?", metavar="FLOW", help="the id of a flow or session, for one")
    parser.add_argument(
        "--long", action="store_true", help="flows with their branches, times and the states of their tasks"
    )
    parser.add_argument("--last", type=int, metavar="N", help="of flows, only the N that began last")
    parser.add_argument("--json", action="store_true", help="the answer is JSON in any case")


def query(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints JSON; 1 when there is no such flow."""
    around = Surroundings(cwd, environment)
    if (options.what in {"flow", "session"}) is (options.flow is None):
        raise UserError("`query flow` and `query session` take an id, the others take none")
    if options.what in {"gates", "sessions", "session"} and options.long:
        raise UserError(f"`query {options.what}` has no long form", hint="leave --long out")
    if options.last is not None and (options.what != "flows" or options.last < 1):
        raise UserError("`--last` takes a number from 1 on, and goes with `query flows`")
    if options.what == "flow":
        return _flow(around, FlowId(options.flow), is_long=options.long)
    if options.what == "session":
        return _session(around, FlowId(options.flow))
    if options.what == "gates":
        found = listing.gates(around)
    elif options.what == "sessions":
        found = listing.session_rows(around)
    else:
        told = listing.long_flows if options.long else listing.brief_flows
        found = told(around, options.last)
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


def _session(around: Surroundings, name: FlowId) -> int:
    from stratum_git.app import sessions_told

    try:
        return answer(sessions_told.session_row(sessions_told.sight_from(around), name))
    except UnknownFlowError as error:
        return refuse(error.word, f"there is no session called {name[:100]}")
    except Refused as error:
        return refuse("NOT_A_SESSION", error.message)
