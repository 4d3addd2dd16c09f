"""What a model has been told so far, whatever the API: who said what, in which order.

Turns are counted from this alone, never from how often was asked, so that a request that is tried again,
or a conversation that is taken up again by another process, gets the answer that it would have had.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["user", "assistant", "result"]

MACHINE = re.compile(
    r"\s*<(system-reminder|task-notification|local-command|command-name|environment_context)\b"
)
"""How texts begin that a client puts in by itself: they are no prompt of a person's."""


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that was said: by a person, by the model (its calls as JSON), or by a tool."""

    role: Role
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request, as a script looks at it. ``tools`` are the names of those that the model may call."""

    said: Sequence[Said]
    system: str = ""
    model: str = ""
    tools: Sequence[str] = ()

    @property
    def first_user(self) -> str:
        """Returns all that was said before the model said anything: the prompt, and what the client adds."""
        return _joined(self.said[: _index(self.said, "assistant")])

    @property
    def last_prompt(self) -> str:
        """Returns what a person said last, and not the client in their name."""
        found = self._prompt()
        return self.said[found].text if found >= 0 else ""

    @property
    def last_user_text(self) -> str:
        """Returns all that came after what the model said last: results and prompts."""
        return _joined(self._since_model())

    @property
    def results(self) -> list[Said]:
        """Returns what tools have answered, all of it."""
        return [one for one in self.said if one.role == "result"]

    @property
    def last_results(self) -> list[Said]:
        """Returns what tools answered to the last calls; none after a prompt."""
        return [one for one in self._since_model() if one.role == "result"]

    @property
    def last_tool_result(self) -> str:
        """Returns the last answer of a tool to the last calls, ``""`` when there is none."""
        found = self.last_results
        return found[-1].text if found else ""

    @property
    def all_text(self) -> str:
        """Returns everything, the system prompt too."""
        return self.system + "\n" + _joined(self.said)

    @property
    def turns_since_prompt(self) -> int:
        """Returns how often the model has spoken since a person did."""
        return _turns(self.said[self._prompt() + 1 :])

    @property
    def turns(self) -> int:
        """Returns how often the model has spoken in all."""
        return _turns(self.said)

    def _prompt(self) -> int:
        prompts = [n for n, one in enumerate(self.said) if one.role == "user" and not MACHINE.match(one.text)]
        return prompts[-1] if prompts else -1

    def _since_model(self) -> Sequence[Said]:
        spoken = [n for n, one in enumerate(self.said) if one.role == "assistant"]
        return self.said[spoken[-1] + 1 :] if spoken else self.said


def _joined(said: Sequence[Said]) -> str:
    return "\n".join(one.text for one in said)


def _index(said: Sequence[Said], role: Role) -> int:
    return next((n for n, one in enumerate(said) if one.role == role), len(said))


def _turns(said: Sequence[Said]) -> int:
    """Counts runs, since one answer may be told in several pieces."""
    roles = [one.role for one in said]
    return sum(
        role == "assistant" and before != "assistant"
        for before, role in zip(["user", *roles], roles, strict=False)
    )
