"""What all fake programs have in common: how they are told what to play, and how they refuse.

A script is a file of JSON that a variable of the environment names: ``{"lanes": [{"match": PATTERN,
"resumed": BOOL, "steps": [...]}]}``. The first lane that fits the prompt is played.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Steps: TypeAlias = Sequence[Mapping[str, Any]]


class Refused(Exception):  # noqa: N818 - reads as what happened
    """It was started in a way that it does not know: what it says of that, and its exit code."""

    def __init__(self, said: str, code: int = 1) -> None:
        super().__init__(said)
        self.code = code


def prompt_on_input(without: str) -> str:
    """Returns the prompt on standard input; raises Refused with the words *without* when there is none."""
    prompt = sys.stdin.read()
    if not prompt.strip():
        raise Refused(without)
    return prompt


def steps_for(variable: str, prompt: str, *, resumed: bool) -> Steps:
    """Returns what the script that *variable* names has for a prompt; raises Refused when that is nothing."""
    if variable not in os.environ:
        raise Refused(f"Error: {variable} names no script")
    for lane in json.loads(Path(os.environ[variable]).read_text())["lanes"]:
        wanted = lane.get("resumed")
        if (wanted is None or wanted == resumed) and re.search(lane.get("match", ""), prompt):
            found: Steps = lane["steps"]
            return found
    raise Refused("Error: the script has no lane for this prompt")


def played(arguments: Sequence[str], version: str, run: Callable[[Sequence[str]], int]) -> int:
    """Returns the exit code of a program that tells its *version* and else does what *run* does."""
    if list(arguments) == ["--version"]:
        sys.stdout.write(f"{version}\n")
        return 0
    try:
        return run(arguments)
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return error.code
