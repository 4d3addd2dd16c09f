"""PostToolUse: a spec that was just written is checked, and a wrong one refused with all that is wrong."""

from __future__ import annotations

import os
from itertools import accumulate

from stratum_git.app.hooks.asked import BLOCKING, NOTHING, Answer, Asked
from stratum_git.core.heavy import posix_path
from stratum_git.core.parse import load_spec
from stratum_git.git.files import read_bounded

LIMIT = 16 * 1024 * 1024
ROOM = 9000
"""Characters of problems: what a client takes in whole. Some sixty; `validate` names all."""


def post_tool_use(asked: Asked) -> Answer:
    """Refuses a spec that is not valid. The file stays as it was written; the model is to mend it."""
    path = os.path.join(asked.cwd, asked.tool("file_path"))
    try:
        text = read_bounded(path, LIMIT).decode()
    except OSError:
        return NOTHING
    except UnicodeDecodeError as error:
        return Answer(err=f"{posix_path(path)} is not a valid spec: {error}", code=BLOCKING)
    problems = load_spec(text).problems
    if not problems:
        return NOTHING
    place = posix_path(path)
    lines = [
        f"  line {one.line}: {one.path}: {one.message}{f' ({one.hint})' if one.hint else ''}"
        for one in problems
    ]
    shown = [
        line
        for line, end in zip(lines, accumulate(len(line) + 1 for line in lines), strict=True)
        if end <= ROOM
    ]
    rest = len(lines) - len(shown)
    more = [f"  and {rest} more: `stratum-git validate {place}` names all"] if rest else []
    head = f"{place} is not a valid stratum spec; {len(lines)} problem(s):"
    return Answer(err="\n".join([head, *shown, *more]), code=BLOCKING)
