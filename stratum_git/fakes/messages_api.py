"""A scripted stand-in for Anthropic's Messages API: ``POST /v1/messages``, as a stream and plain.

::

    script = {"lanes": [
        {"name": "worker", "match": {"first_user": "WORKER"},
         "turns": [[{"type": "tool_use", "name": "Bash", "input": {"command": "echo hi > a.txt"}}], "done"]},
        {"name": "main",
         "turns": [{"tool": "mcp__stratum__stratum_plan", "input": {"spec": "..."}},
                   {"tool": "mcp__stratum__stratum_flows", "input": {"flow": "{{at:flow_id}}"}},
                   "all is done"]},
    ]}
    with serve(script, log=Path("api.jsonl")) as api:
        run(..., env={"ANTHROPIC_BASE_URL": api.url, "HTTPS_PROXY": api.url})
    api.to("main")[0].body["tools"]; api.refused == []

or as a program: ``python -m stratum_git.fakes.messages_api --script F --port-file P --log L``. What a script
can say stands in ``scripting.py``, when it ends in ``loopback.py``. It checks nothing of what a real API
would refuse; usage is what the script says.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stratum_git.fakes.conversation import Conversation, Said
from stratum_git.fakes.loopback import Limits, Loopback, listening
from stratum_git.fakes.scripting import Reply
from stratum_git.fakes.starting import start

USAGE = {
    "input_tokens": 100,
    "output_tokens": 20,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
}
PIECE = 2000
"""Characters in one event of a stream."""
BYTES_PER_TOKEN = 4


class Messages:
    """The Messages API."""

    path = "/v1/messages"

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def reads(self, body: Mapping[str, Any]) -> Conversation:
        """Returns what the model is told by a request."""
        messages = body.get("messages", [])
        said = [one for message in messages for one in _said(message)]
        tools = [tool.get("name", "") for tool in body.get("tools") or []]
        orders = [_text(one.get("content")) for one in messages if one.get("role") == "system"]
        system = "\n".join([_text(body.get("system")), *orders])
        return Conversation(said, system, body.get("model", ""), tools)

    def message(self, body: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """Returns the plain answer."""
        blocks = [
            {"id": f"toolu_fake{next(self._ids):06}", **block} if block["type"] == "tool_use" else dict(block)
            for block in reply.blocks
        ]
        return {
            "id": f"msg_fake{next(self._ids):06}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", ""),
            "content": blocks,
            "stop_reason": reply.said.get("stop_reason", "tool_use" if reply.calls else "end_turn"),
            "stop_sequence": None,
            "usage": {**USAGE, **reply.said.get("usage", {})},
        }

    def events(self, message: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Returns the same answer as a stream has it."""
        opened = {**message, "content": [], "stop_reason": None}
        opened["usage"] = {**message["usage"], "output_tokens": 1}
        yield "message_start", {"type": "message_start", "message": opened}
        for number, block in enumerate(message["content"]):
            for kind, data in _block_events(block):
                yield kind, {"type": kind, "index": number, **data}
        delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        yield "message_delta", {"type": "message_delta", "delta": delta, "usage": message["usage"]}
        yield "message_stop", {"type": "message_stop"}

    def fault(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the body of an error."""
        kind = error.get("type") or _kind(error.get("status", 404))
        return {
            "type": "error",
            "error": {"type": kind, "message": error.get("message", "as the script says")},
        }

    def other(self, method: str, path: str, size: int) -> dict[str, Any] | None:
        """Returns how many tokens something has, or which models there are: none are told."""
        if method == "POST" and path.endswith("/count_tokens"):
            return {"input_tokens": max(1, size // BYTES_PER_TOKEN)}
        if path.startswith("/v1/models"):
            return {"data": [], "has_more": False, "first_id": None, "last_id": None}
        return {} if path in {"/", "/api/hello"} else None


@contextlib.contextmanager
def serve(
    script: Any,
    *,
    log: Path | None = None,
    listener: socket.socket | None = None,
    limits: Limits | None = None,
) -> Iterator[Loopback]:
    """Serves *script* for as long as the block lasts, at a free port or at *listener*."""
    with listening(Messages(), script, log=log, listener=listener, limits=limits) as server:
        yield server


def _said(message: Mapping[str, Any]) -> Iterator[Said]:
    """Returns the pieces of a message. What stands beside results is no prompt of a person's."""
    content = message.get("content") or ""
    if message.get("role") == "assistant":
        yield Said("assistant", _text(content))
        return
    if message.get("role") != "user":
        return
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    results = [block for block in blocks if block.get("type") == "tool_result"]
    for block in results:
        yield Said("result", _text(block.get("content")), bool(block.get("is_error")))
    texts = [block.get("text", "") for block in blocks if block.get("type") == "text"]
    if results:
        texts = [f"<system-reminder>{text}" for text in texts]
    people = [text for text in texts if not text.lstrip().startswith("<system-reminder>")]
    if texts:
        machine = [text for text in texts if text not in people]
        yield from (Said("user", text) for text in machine)
        if people:
            yield Said("user", "\n".join(people))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_piece(block) for block in content or [])


def _piece(block: Any) -> str:
    if isinstance(block, str):
        return block
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "tool_use":
            return json.dumps({"tool": block.get("name"), "input": block.get("input")})
        case "tool_result":
            return _text(block.get("content"))
        case other:
            return f"[{other}]"


def _block_events(block: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if block["type"] == "tool_use":
        opened = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}
        pieces, kind, key = json.dumps(block["input"]), "input_json_delta", "partial_json"
    else:
        opened, pieces, kind, key = {"type": "text", "text": ""}, block["text"], "text_delta", "text"
    yield "content_block_start", {"content_block": opened}
    for at in range(0, max(len(pieces), 1), PIECE):
        yield "content_block_delta", {"delta": {"type": kind, key: pieces[at : at + PIECE]}}
    yield "content_block_stop", {}


def _kind(status: int) -> str:
    known = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    return known.get(status, "api_error")


if __name__ == "__main__":
    start(Messages(), __doc__.split("\n", 1)[0])
