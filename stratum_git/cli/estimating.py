"""The verb that says what a flow will do and may take, before it is done: estimate."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from stratum_git.app import estimating
from stratum_git.app.checking import read_spec
from stratum_git.app.surroundings import Surroundings
from stratum_git.cli.inputs import read_input
from stratum_git.cli.words import say
from stratum_git.core.estimate_words import lines
from stratum_git.model.ids import FlowId
from stratum_git.model.state import Driver


def estimate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``estimate``."""
    parser.add_argument("spec", metavar="SPEC", help="a .stratum.yaml file, or the id of a flow with --of")
    parser.add_argument("--of", action="store_true", help="SPEC is a flow: say what is left of it")
    parser.add_argument("--flow", metavar="F", help="which flow of the file; needed when it has several")
    parser.add_argument(
        "--input", action="append", default=[], metavar="K=V", help="an input: K=V, or K=@FILE"
    )
    parser.add_argument(
        "--client", action="store_true", help="an MCP client drives the flow, and not `stratum-git run`"
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON")


def estimate(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Prints a numbered plan with what is known of its time and cost; 0."""
    around = Surroundings(cwd, environment)
    if options.of:
        found = estimating.of_flow(around, FlowId(options.spec))
    else:
        inputs = dict(read_input(text, cwd) for text in options.input)
        driver: Driver = "client" if options.client else "runner"
        found = estimating.of_spec(around, read_spec(Path(options.spec)), options.flow, inputs, driver)
    if options.json:
        print(json.dumps(estimating.estimate_row(found), indent=2, ensure_ascii=False))
        return 0
    for line in lines(found):
        say(line)
    return 0
