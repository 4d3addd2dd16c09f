"""What a run of Claude Code cost, as far as it tells.

A result has the costs of the run (``usage``), or of the whole conversation (``total_cost_usd`` and
``modelUsage``): 2.1.328 adds up over all runs of a conversation, 2.1.197 does not. So what a conversation had
cost is noted beside each attempt, in ``conversation.json``, and taken off in the next attempt of the task.
Where nobody noted it, all of the conversation is told: rather too much than too little. A run that was ended
tells no money; it is in what the next one tells. While it runs, and where a conversation goes on, of its own
subagents only what they read is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git.agents.claude_events import Run, tokens_in
from stratum_git.agents.output import replace_private
from stratum_git.agents.stream import event_of, number, part
from stratum_git.errors import HostError
from stratum_git.model.ids import Json

FILE = "conversation.json"


@dataclass(frozen=True, slots=True)
class Totals:
    """Money and tokens."""

    usd: float
    read: int
    written: int


def usage_of(run: Run, former: Totals | None) -> dict[str, Json]:
    """Returns the costs of *run* in the words of ``Finished.usage``; *former* is what was noted before it."""
    own, whole = _own(run), totals_of(run.result or {})
    found: dict[str, Json] = {}
    if whole is not None:
        before = former if former is not None and _goes_on(former, whole, own) else Totals(0.0, 0, 0)
        found = {"usd": whole.usd - before.usd, "turns": int(number((run.result or {}).get("num_turns")))}
        own = Totals(
            0.0, max(own.read, whole.read - before.read), max(own.written, whole.written - before.written)
        )
    if own.read or own.written or whole is not None:
        found |= {"tokens": own.read + own.written, "input_tokens": own.read, "output_tokens": own.written}
    names: dict[str, Json] = {"model": run.model, "session_id": run.session}
    return found | {name: value for name, value in names.items() if value is not None}


def _own(run: Run) -> Totals:
    """Returns the tokens that a run has told as it went on, and at its end."""
    usage = (run.result or {}).get("usage")
    read = max(run.counter.input_tokens, tokens_in(usage) if isinstance(usage, dict) else 0)
    return Totals(0.0, read, max(run.counter.output_tokens, int(number(part(usage, "output_tokens")))))


def totals_of(result: Mapping[str, Json]) -> Totals | None:
    """Returns what a result says in all; ``None`` when it is none."""
    if "total_cost_usd" not in result:
        return None
    models = result.get("modelUsage")
    each = [row for row in models.values() if isinstance(row, dict)] if isinstance(models, dict) else []
    names = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    read = sum(int(number(row.get(name))) for row in each for name in names)
    written = sum(int(number(row.get("outputTokens"))) for row in each)
    return Totals(number(result.get("total_cost_usd")), read, written)


def note(folder: Path, run: Run, former: Totals | None) -> None:
    """Notes what the conversation has cost by now. Raises HostError."""
    if run.session is None:
        return
    found = totals_of(run.result or {})
    if found is None:
        # It was ended: its money is not known, its tokens are.
        own, before = _own(run), former or Totals(0.0, 0, 0)
        found = Totals(before.usd, before.read + own.read, before.written + own.written)
    row = {"session_id": run.session, "usd": found.usd, "read": found.read, "written": found.written}
    try:
        replace_private(folder / FILE, json.dumps(row).encode())
    except OSError as error:
        raise HostError(f"what the conversation cost cannot be noted: {error}") from error


def noted(folder: Path, session: str) -> Totals | None:
    """Returns what was last noted of a conversation, by the attempts beside *folder*; ``None`` if nothing."""
    return max(_notes(folder, session), key=lambda one: (one.usd, one.read), default=None)


def _notes(folder: Path, session: str) -> Iterator[Totals]:
    for path in folder.parent.glob(f"*/{FILE}"):
        try:
            row = event_of(path.read_bytes())
        except OSError:
            continue
        if row is not None and row.get("session_id") == session:
            yield Totals(
                number(row.get("usd")), int(number(row.get("read"))), int(number(row.get("written")))
            )


def _goes_on(former: Totals, now: Totals, own: Totals) -> bool:
    """Returns whether *now* counts what was before: then at least the run's own is there besides."""
    return now.read - former.read >= own.read and now.written - former.written >= own.written
