"""What codex notes of a conversation in a file of its own: the tokens that all of it has used, the model.

Its events tell costs only when a turn is complete, and then those of the whole conversation. So the file is
read before a conversation goes on, while it runs, and after it was ended. The format is codex's own and not
promised: what cannot be read is not known, and nothing is told of it. Read of 0.169.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git.agents.stream import Lines, event_of, number, part, words
from stratum_git.model.ids import Json

THREAD = re.compile(r"[0-9A-Za-z_-]{1,100}")
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of a conversation: what went in, cached or not, what came out, in how many requests."""

    incoming: int = 0
    outgoing: int = 0
    requests: int = 0

    def since(self, before: Tokens) -> Tokens:
        """Returns what came after *before*."""
        return Tokens(
            self.incoming - before.incoming,
            self.outgoing - before.outgoing,
            self.requests - before.requests,
        )


class Rollout:
    """The file of one conversation, below the folder *home* of codex."""

    def __init__(self, home: Path, thread: str) -> None:
        self.tokens = Tokens()
        self.model: str | None = None
        self._home, self._thread = home, thread
        self._path: Path | None = None
        self._at = 0
        self._lines = Lines()

    def look(self) -> bool:
        """Reads what is new; returns whether there is such a file at all."""
        self._path = self._path or self._found()
        if self._path is None:
            return False
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                while data := file.read(CHUNK):
                    self._at += len(data)
                    for line in self._lines.feed(data):
                        self._hear(event_of(line or b"") or {})
        except OSError:
            return False
        return True

    def _found(self) -> Path | None:
        if not THREAD.fullmatch(self._thread):
            return None
        # One folder a day: year, month, day.
        return next((self._home / "sessions").glob(f"*/*/*/rollout-*-{self._thread}.jsonl"), None)

    def _hear(self, event: Mapping[str, Json]) -> None:
        payload = event.get("payload")
        if event.get("type") == "turn_context":
            self.model = words(part(payload, "model")) or self.model
        # At the end of a request, and again when what it asked for is done.
        used = part(payload, "thread_token_usage") or part(payload, "info", "total_token_usage")
        incoming, outgoing = int(number(part(used, "input_tokens"))), int(number(part(used, "output_tokens")))
        if incoming + outgoing > self.tokens.incoming + self.tokens.outgoing:
            self.tokens = Tokens(incoming, outgoing, self.tokens.requests + 1)
