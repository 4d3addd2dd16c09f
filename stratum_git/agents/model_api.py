"""What a model answers, in words that know no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from stratum_git.model.ids import Json


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that went in for the first time, came out, were written to the cache, and read from it."""

    incoming: int = 0
    outgoing: int = 0
    written: int = 0
    read: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.incoming + other.incoming,
            self.outgoing + other.outgoing,
            self.written + other.written,
            self.read + other.read,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said: blocks in the words of the API, why it stopped, which model it was."""

    content: Sequence[Json]
    stop: str
    model: str
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Full:
    """The server has no room now. ``after`` are the seconds to wait, where it told that."""

    reason: str
    after: float | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server does not take the request, nor would it later. ``status`` is that of HTTP."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """There was no answer, or none that is whole."""

    reason: str


Answered: TypeAlias = Reply | Full | Refusal | Broken


class Model(Protocol):
    """Whoever answers."""

    async def ask(
        self,
        model: str,
        system: str,
        messages: Sequence[Mapping[str, Json]],
        tools: Sequence[Json],
    ) -> Answered:
        """Returns what the model answers, or why it does not."""
