"""Shows a run while it goes on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TextIO

import trio

from stratum_git.cli.words import safe
from stratum_git.core.narration import narrate
from stratum_git.dispatch.notices import Line, Notice, Recorded, Remark
from stratum_git.model.effects import Effect, Launch
from stratum_git.model.messages import StepReported, TaskReported
from stratum_git.model.state import FannedOut

ROWS = 20


@dataclass
class Row:
    """An attempt at work: since when, and the last line it wrote."""

    since: float
    line: str = ""


@dataclass
class Plain:
    """One line per event, as it happens."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False

    def __call__(self, notice: Notice) -> None:
        """Shows a notice."""
        if self.quiet:
            return
        text = _text(notice)
        if text:
            print(safe(text), file=self.out, flush=True)

    def tick(self) -> None:
        """Does nothing: what was printed stays."""

    def close(self) -> None:
        """Does nothing: every line is out."""


class Live:
    """Events scroll by above a table of what is at work now."""

    def __init__(self, out: TextIO) -> None:
        # rich takes a tenth of a second to import; whoever reads a pipe does not wait for it.
        from rich.console import Console
        from rich.live import Live as RichLive

        self._rows: dict[str, Row] = {}
        self._counts = ""
        self._console = Console(file=out, highlight=False)
        self._live = RichLive(console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def __call__(self, notice: Notice) -> None:
        """Shows a notice."""
        if isinstance(notice, Line):
            row = self._rows.get(_name(notice))
            if row is not None:
                row.line = notice.text
            return
        if isinstance(notice, Recorded):
            self._take(notice)
        text = _text(notice)
        if text:
            self._live.console.print(safe(text), markup=False)
        self.tick()

    def tick(self) -> None:
        """Draws the table anew."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        at = trio.current_time()
        for name, row in list(self._rows.items())[:ROWS]:
            table.add_row(
                Text(name, style="bold"),
                f"{at - row.since:5.0f} s",
                Text(row.line, overflow="ellipsis", no_wrap=True),
            )
        if len(self._rows) > ROWS:
            table.add_row(f"and {len(self._rows) - ROWS} more")
        if self._counts:
            table.add_row(self._counts)
        self._live.update(table)

    def close(self) -> None:
        """Takes the table away."""
        self._live.stop()

    def _take(self, notice: Recorded) -> None:
        event = notice.event
        if isinstance(event, StepReported | TaskReported):
            task = event.task if isinstance(event, TaskReported) else None
            self._rows.pop(_key(event.step, task, event.attempt), None)
        for effect in notice.effects:
            self._launch(effect)
        fan = None if notice.state.cursor is None else notice.state.step(notice.state.cursor)
        total = fan.graph.size if isinstance(fan, FannedOut) else 0
        if total:
            self._counts = (
                f"{getattr(fan, 'running', 0)} running, {getattr(fan, 'verified', 0)} verified, "
                f"{getattr(fan, 'dead', 0)} failed or stopped, of {total}"
            )

    def _launch(self, effect: Effect) -> None:
        if isinstance(effect, Launch):
            self._rows[_key(effect.step, effect.task, effect.attempt)] = Row(trio.current_time())


def make_progress(out: TextIO, *, quiet: bool) -> Plain | Live:
    """Returns what shows a run on *out*."""
    return Live(out) if out.isatty() and not quiet else Plain(out, quiet)


def _text(notice: Notice) -> str:
    match notice:
        case Recorded(event, state, effects, _):
            story = narrate(event, state, effects)
            return "\n".join((story.subject, *(f"  {line}" for line in story.details)))
        case Remark(text):
            return text
        case Line():
            return ""


def _name(line: Line) -> str:
    return _key(line.step, line.task, line.attempt)


def _key(step: str, task: str | None, attempt: int) -> str:
    return f"{step if task is None else f'{step}/{task}'}#{attempt}"
