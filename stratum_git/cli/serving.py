"""The verb that serves a client: mcp."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import trio

from stratum_git.app.desk import Desk
from stratum_git.app.surroundings import Surroundings
from stratum_git.server.build import build
from stratum_git.server.transport import serve


def mcp_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``mcp``: there are none."""
    del parser


def mcp(options: argparse.Namespace, cwd: Path, environment: Mapping[str, str]) -> int:
    """Serves MCP on standard input and output until the client leaves."""
    del options
    desk = Desk(Surroundings(cwd, environment))
    try:
        trio.run(serve, build(desk))
    finally:
        desk.close()
    return 0
