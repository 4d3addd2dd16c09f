"""How a fake is started as a program: ``python -m stratum_git.fakes.NAME --script F --port-file P``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from stratum_git.fakes.loopback import Dialect, Limits, listening


def start(dialect: Dialect, description: str, arguments: list[str] | None = None) -> None:
    """Serves until its limits end it. The port file appears, whole, when it listens."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--script", type=Path, required=True, help="the JSON of what the model says")
    parser.add_argument("--port-file", type=Path, required=True, help="where the port is written")
    parser.add_argument("--log", type=Path, help="every request, a line of JSON each")
    parser.add_argument("--deadline", type=float, default=300.0, help="seconds until it ends by itself")
    parser.add_argument("--idle", type=float, help="seconds without a request after which it ends")
    parser.add_argument("--watch", type=int, help="a process with which it ends")
    asked = parser.parse_args(arguments)
    limits = Limits(asked.deadline, asked.idle, asked.watch)
    script = json.loads(asked.script.read_text(encoding="utf-8"))
    with listening(dialect, script, log=asked.log, limits=limits) as server:
        beside = asked.port_file.with_name(asked.port_file.name + ".new")
        beside.write_text(str(server.port), encoding="utf-8")
        beside.replace(asked.port_file)
        server.ended.wait()
