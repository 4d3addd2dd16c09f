"""What a client's transcripts tell: which subagent was sent where. They may be long, or not there yet."""

from __future__ import annotations

import json
import os

from stratum_git.app.hooks.tenants import named_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratum_git.app.hooks.asked import Asked, Ground
    from stratum_git.app.hooks.tenants import Tenant

HEAD = 512 * 1024
TAIL = 2 * 1024 * 1024
"""Bytes that are read of the beginning and of the end of a transcript."""


def sent_to(asked: Asked, ground: Ground) -> tuple[Tenant, ...]:
    """Returns the slots that a subagent's prompt names, else those that it came to name itself."""
    path = asked.text("agent_transcript_path") or _beside(asked)
    try:
        with open(path, "rb") as file:
            found = named_in(ground, _prompt(file.read(HEAD).decode("utf-8", "replace")))
        return found or named_in(ground, _end_of(path))
    except OSError:
        return ()


def called(asked: Asked, ground: Ground) -> tuple[Tenant, ...]:
    """Returns the slots that are named in a session's calls of such subagents that have no answer yet."""
    kind = asked.text("agent_type")
    prompts: dict[object, str] = {}
    for block in _blocks(_end_of(asked.text("transcript_path"))):
        given = block.get("input")
        prompt = given.get("prompt") if isinstance(given, dict) else None
        if isinstance(given, dict) and isinstance(prompt, str) and given.get("subagent_type", kind) == kind:
            prompts[block.get("id")] = prompt
        elif block.get("type") == "tool_result":
            prompts.pop(block.get("tool_use_id"), None)
    return named_in(ground, "\n".join(prompts.values()))


def _beside(asked: Asked) -> str:
    """Returns where the transcript of the subagent that calls a tool is."""
    agent = asked.text("agent_id")
    above = asked.text("transcript_path").removesuffix(".jsonl")
    return f"{above}/subagents/agent-{agent}.jsonl" if agent and above and "/" not in agent else ""


def _prompt(text: str) -> str:
    for line in text.splitlines():
        row = _row(line)
        if row.get("type") == "user":
            return json.dumps(row.get("message"), ensure_ascii=False)
    return ""


def _blocks(text: str) -> Iterator[dict[str, object]]:
    for line in text.splitlines():
        message = _row(line).get("message")
        content = message.get("content") if isinstance(message, dict) else None
        yield from (
            (block for block in content if isinstance(block, dict)) if isinstance(content, list) else ()
        )


def _row(line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _end_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            return file.read(TAIL).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
