"""Finds the JSON object that a program returned: in a file, or last on its standard output.

What is found is JSON in the strict sense: a name given twice, ``NaN``, ``1e999`` or half a character is
refused, since whoever reads it later may take it for something else.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from stratum_git.core.strict_json import read_json
from stratum_git.model.ids import Json

LIMIT = 16 * 1024 * 1024
TRIES = 500
"""Beginnings that come to nothing; agents that print pieces of JSON line by line have a few."""
NEAR = 32 * 1024
START = re.compile(r"""^[ \t]*(?=\{\s*["}]|\[\s*[\[{])""", re.MULTILINE)
"""Where an object may begin, or a list of objects, whose last one is not an answer. Not at ``[INFO] ...``."""
REST = re.compile(r"[ \t\r]*(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was returned; ``None`` when nothing was."""

    value: Json


@dataclass(frozen=True, slots=True)
class BadAnswer:
    """Something was returned that is not a JSON object."""

    reason: str


Found: TypeAlias = Answer | BadAnswer


def find_answer(file: Path, stdout: bytes, *, cut: bool = False) -> Found:
    """Returns the object in *file*, when that is there and not empty, else the last one on *stdout*.

    ``cut`` says that *stdout* is only the end of what was written.
    """
    written = _read(file)
    if isinstance(written, BadAnswer):
        return written
    try:
        text = written.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return BadAnswer(f"the result file is not UTF-8: {error.reason} at byte {error.start}")
    if text.strip():
        return _strict(text, "the result file")
    last = last_object(stdout.decode("utf-8", "replace"), cut=cut)
    return Answer(None) if last is None else _strict(last, "the JSON object at the end of the output")


def last_object(text: str, *, cut: bool = False) -> str | None:
    """Returns the text of the last JSON object that has its lines for itself, if there is one.

    Read forwards: from the end, an object inside of another one would be taken for the last.
    """
    if cut:
        text = text.partition("\n")[2]
    decoder = json.JSONDecoder()
    found: str | None = None
    end = failed = 0
    for match in START.finditer(text):
        start = match.end()
        # In what was cut, an indented object may be a part of one whose beginning is missing.
        if start < end or (cut and start > match.start()):
            continue
        try:
            value, stop = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            failed += 1
            if failed > TRIES:
                # Each was read to where it went wrong, again and again: only the very end is looked at now.
                return last_object(text[-NEAR:], cut=True) if len(text) > NEAR else found
            continue
        if REST.match(text, stop):
            end = stop
            found = text[start:stop] if isinstance(value, dict) else found
    return found


def _read(file: Path) -> bytes | BadAnswer:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError as error:
        return BadAnswer(f"the result file cannot be read: {error.strerror}")
    # A folder would be no file to Python either, which is an error there and none of ours.
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        return BadAnswer("the result file is not a regular file")
    with os.fdopen(handle, "rb") as opened:
        data = opened.read(LIMIT + 1)
    return BadAnswer(f"the result file is larger than {LIMIT} bytes") if len(data) > LIMIT else data


def _strict(text: str, what: str) -> Found:
    try:
        value = read_json(text)
    except (ValueError, RecursionError) as error:
        return BadAnswer(f"{what} is not JSON: {error}")
    return Answer(value) if isinstance(value, dict) else BadAnswer(f"{what} is not a JSON object")
