"""A conversation with a model, kept in the folder of the attempt: a line of JSON for each message.

What stands there can be gone on with after a restart, by another attempt of the same task: it is found by its
id among the folders of the flow, and copied to where it goes on. A line that was torn is not one.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

from stratum_git.agents.output import replace_private
from stratum_git.agents.secrets import NONE, Secrets
from stratum_git.agents.stream import event_of, part, rows, words
from stratum_git.errors import HostError
from stratum_git.model.ids import Json

ID = re.compile(r"api-[0-9a-f]{24}")
LARGEST = 256 * 1024 * 1024
Message: TypeAlias = dict[str, Json]
UNDONE = "It was interrupted before this was done, or while it was: look at what is there."


@dataclass
class Transcript:
    """A conversation: its id, and its messages in the words of the API. ``hide`` are never written."""

    session: str
    folder: Path
    hide: Secrets = NONE
    messages: list[Message] = field(default_factory=list)

    def say(self, content: Sequence[Json]) -> None:
        """Adds what is said to the model; joined to what it was told last, if it has not answered that."""
        told = [self.hide.hidden_json(block) for block in content]
        if self.messages and self.messages[-1].get("role") == "user":
            blocks = self.messages[-1]["content"]
            self.messages[-1] = {"role": "user", "content": [*cast("list[Json]", blocks), *told]}
            self._rewrite()
        else:
            self._add({"role": "user", "content": told})

    def answered(self, content: Sequence[Json]) -> None:
        """Adds what the model said."""
        self._add({"role": "assistant", "content": [self.hide.hidden_json(block) for block in content]})

    def unanswered(self) -> list[Json]:
        """Returns answers for the tools that were asked for and never used: the API wants one for each."""
        if not self.messages or self.messages[-1].get("role") != "assistant":
            return []
        blocks = rows(self.messages[-1]["content"])
        uses = [words(part(dict(block), "id")) for block in blocks if block.get("type") == "tool_use"]
        return [result(use, UNDONE, wrong=True) for use in uses]

    def last_said(self) -> str:
        """Returns the text of what the model said last."""
        said = [one for one in self.messages if one.get("role") == "assistant"]
        blocks = rows(said[-1]["content"]) if said else []
        return "\n".join(words(block.get("text")) for block in blocks if block.get("type") == "text")

    def _add(self, message: Message) -> None:
        self.messages.append(message)
        try:
            with self._path.open("ab") as file:
                file.write(_line(message))
        except OSError as error:
            raise HostError(f"the conversation cannot be kept: {error}") from error

    def _rewrite(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            replace_private(fresh, b"".join(map(_line, self.messages)))
            fresh.replace(self._path)
        except OSError as error:
            raise HostError(f"the conversation cannot be kept: {error}") from error

    @property
    def _path(self) -> Path:
        return _file(self.folder, self.session)


def begun(folder: Path, hide: Secrets) -> Transcript:
    """Returns a new conversation that is kept in *folder*."""
    made = Transcript(f"api-{secrets.token_hex(12)}", folder, hide)
    made._rewrite()  # noqa: SLF001 - its own module
    return made


def gone_on(folder: Path, session: str, hide: Secrets) -> Transcript | None:
    """Returns the conversation with this id, kept in *folder* from now on; ``None`` if there is none."""
    found = max(_kept(folder, session), key=_age, default=None)
    if found is None:
        return None
    try:
        data = found.read_bytes() if found.stat().st_size <= LARGEST else b""
    except OSError as error:
        raise HostError(f"the conversation cannot be read: {error}") from error
    messages = [dict(event) for line in data.split(b"\n") if (event := event_of(line)) is not None]
    made = Transcript(session, folder, hide, messages)
    made._rewrite()  # noqa: SLF001 - its own module
    return made


def result(use: str, content: str, *, wrong: bool = False) -> Json:
    """Returns what a tool came to, in the words of the API."""
    found: dict[str, Json] = {"type": "tool_result", "tool_use_id": use, "content": content}
    return {**found, "is_error": True} if wrong else found


def text(words_said: str) -> Json:
    """Returns a text, in the words of the API."""
    return {"type": "text", "text": words_said}


def _kept(folder: Path, session: str) -> Iterator[Path]:
    if not ID.fullmatch(session):
        return
    # attempts/FLOW/STEP/TASK/N: one's own, those of the same task, those of the same flow.
    flow = folder.parents[2] if len(folder.parents) > 3 else folder.parent
    for pattern, top in (("*", folder.parent), ("*/*/*", flow)):
        yield from (path for path in top.glob(f"{pattern}/{_file(folder, session).name}") if path.is_file())


def _age(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _file(folder: Path, session: str) -> Path:
    return folder / f"conversation-{session}.jsonl"


def _line(message: Message) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
