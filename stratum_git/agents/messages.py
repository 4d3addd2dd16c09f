"""Asks a model through Anthropic's own library: the one module that imports it, and it takes a second.

Whoever needs it imports this module late. Nothing is tried again in here: whoever runs attempts knows when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import anthropic

from stratum_git.agents.model_api import Answered, Broken, Full, Refusal, Reply, Tokens
from stratum_git.agents.stream import part, words
from stratum_git.model.ids import Json

MOST = 32_000
"""Tokens of one answer."""
SILENCE = 600.0
"""Seconds that the server may be silent."""
FULL = frozenset({429, 503, 529})
REFUSED = frozenset({400, 401, 403, 404, 413, 422})


@dataclass
class MessagesApi:
    """A connection to the API, as a context. ``base_url`` is where it is, if not where it always is."""

    key: str
    base_url: str | None = None

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        client = anthropic.AsyncAnthropic(
            api_key=self.key,
            # Else the library looks into the environment of this process, which is not the agent's.
            base_url=self.base_url or "https://api.anthropic.com",
            max_retries=0,
            timeout=SILENCE,
        )
        self._client = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ask(
        self,
        model: str,
        system: str,
        messages: Sequence[Mapping[str, Json]],
        tools: Sequence[Json],
    ) -> Answered:
        """Returns what the model answers, or why it does not."""
        try:
            async with self._client.messages.stream(
                model=model,
                max_tokens=MOST,
                system=system,
                messages=cast("Any", list(messages)),
                tools=cast("Any", list(tools)),
                cache_control={"type": "ephemeral"},
            ) as stream:
                return _reply(await stream.get_final_message())
        except anthropic.APIStatusError as error:
            return _refused(error)
        except anthropic.APIConnectionError as error:
            cause = error.__cause__
            return Broken(f"the API cannot be reached: {cause or error}")
        except anthropic.AnthropicError as error:
            return Broken(f"the API gave no answer: {error}")


def _reply(message: anthropic.types.Message) -> Reply:
    usage = message.usage
    tokens = Tokens(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_creation_input_tokens or 0,
        usage.cache_read_input_tokens or 0,
    )
    return Reply(
        content=[_block(block) for block in message.content],
        stop=message.stop_reason or "",
        model=message.model,
        tokens=tokens,
    )


def _block(block: anthropic.types.ContentBlock) -> Json:
    match block.type:
        case "text":
            return {"type": "text", "text": block.text}
        case "tool_use":
            return {
                "type": "tool_use",
                "id": block.id,
                "name": block.name,
                "input": cast("Json", block.input),
            }
        case _:
            return cast("Json", block.model_dump(mode="json", exclude_none=True))


def _refused(error: anthropic.APIStatusError) -> Answered:
    said = words(part(cast("Json", error.body), "error", "message")) or error.message
    kind = words(part(cast("Json", error.body), "error", "type"))
    # In the middle of a stream the status was fine, and what went wrong is said by its name.
    if error.status_code in FULL or kind in {"rate_limit_error", "overloaded_error"}:
        return Full(said, _seconds(error.response.headers.get("retry-after")))
    if error.status_code in REFUSED:
        return Refusal(error.status_code, said)
    return Broken(f"the API answers {error.status_code}: {said}")


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
