"""The verb that serves a client: mcp."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import trio

from stratum_git.app.desk import Desk
from stratum_git.app.surroundings import Surroundings
from stratum_git.errors import UserError
from stratum_git.server.build import SETS, build
from stratum_git.server.transport import serve


def mcp_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``mcp``."""
    parser.add_argument(
        "--toolsets",
        default=",".join(SETS),
        metavar="SETS",
        help=f"only these sets of tools, with commas between: {', '.join(SETS)}",
    )


def mcp(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Serves MCP on standard input and output until the client leaves."""
    sets = tuple(name.strip() for name in options.toolsets.split(",") if name.strip())
    unknown = [name for name in sets if name not in SETS]
    if unknown:
        raise UserError(f"there is no set of tools called {unknown[0]}", hint=f"known: {', '.join(SETS)}")
    desk = Desk(Surroundings(cwd, environment))
    try:
        trio.run(serve, build(desk, sets))
    finally:
        desk.close()
    return 0
