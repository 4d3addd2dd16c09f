"""The verb that decides at a gate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from stratum_git.app import deciding
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli import protocol
from stratum_git.core.wording import SCHEMA_VERSION
from stratum_git.model import book
from stratum_git.model.ids import FlowId
from stratum_git.store.listing import UnknownFlowError

OUTCOMES: Mapping[str, book.Answer] = {"approve": "approve", "reject": "kill", "revise": "revise"}
RESOLVERS: tuple[book.Resolver, ...] = ("human", "agent", "system")


def gate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``gate``."""
    parser.add_argument("decision", choices=tuple(OUTCOMES), help="reject ends the flow")
    parser.add_argument("flow", metavar="FLOW", help="the id of a flow")
    parser.add_argument("step", metavar="STEP", help="the id of the gate")
    parser.add_argument("--note", default="", metavar="TEXT", help="the reason, for the history")
    parser.add_argument(
        "--resolved-by",
        choices=RESOLVERS,
        default="human",
        help="who decides, for the audit (default: human)",
    )
    parser.add_argument("--json", action="store_true", help="the answer is JSON in any case")


def gate(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Decides at a gate; 0 when it counts, 2 in a conflict with what is, 1 when it cannot be done."""
    decision = deciding.Decision(
        flow=FlowId(options.flow),
        step=options.step,
        outcome=OUTCOMES[options.decision],
        note=options.note,
        resolver=options.resolved_by,
    )
    try:
        verdict = deciding.decide(Surroundings(cwd, environment), decision)
    except UnknownFlowError as error:
        return protocol.refuse(error.word, error.message)
    match verdict:
        case deciding.Decided():
            return _decided(decision, verdict)
        case deciding.Conflict(detail):
            return protocol.conflict(decision.flow, decision.step, detail)
        case deciding.Denied(code, message):
            return protocol.refuse(code, message)
        case _:
            assert_never(verdict)


def _decided(decision: deciding.Decision, verdict: deciding.Decided) -> int:
    state = verdict.state
    if state.status == "running" and state.driver == "runner":
        print(f"hint: `stratum-git resume {state.flow}` goes on", file=sys.stderr)
    return protocol.answer(
        {
            "_schema_version": SCHEMA_VERSION,
            "ok": True,
            "flow_id": state.flow,
            "step_id": decision.step,
            "outcome": decision.outcome,
            "result": verdict.result,
        }
    )
