"""A scripted stand-in for OpenAI's Responses API: ``POST /v1/responses``, as a stream and plain.

Its scripts are those of ``messages_api.py``, blocks too; a call of a tool that a client has in a namespace,
as codex has those of MCP servers, says ``"namespace": "mcp__stratum"``. For ``has_tool`` the name of such a
one is ``NAMESPACE.NAME``. Usage counts ``input_tokens``, ``output_tokens`` and ``cached_tokens``. As a
program: ``python -m stratum_git.fakes.responses_api --script F --port-file P --log L``.
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


class Responses:
    """The Responses API."""

    path = "/responses"

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def reads(self, body: Mapping[str, Any]) -> Conversation:
        """Returns what the model is told by a request."""
        items = body.get("input") or []
        told = [{"role": "user", "content": items}] if isinstance(items, str) else items
        said = [one for item in told for one in _said(item)]
        tools = [name for tool in body.get("tools") or [] for name in _names(tool)]
        orders = [_text(item.get("content")) for item in told if item.get("role") in {"developer", "system"}]
        system = "\n".join([body.get("instructions") or "", *orders])
        return Conversation(said, system, body.get("model", ""), tools)

    def message(self, body: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """Returns the plain answer."""
        return {
            "id": f"resp_fake{next(self._ids):06}",
            "object": "response",
            "status": "completed",
            "model": body.get("model", ""),
            "output": [self._item(block) for block in reply.blocks],
            "usage": _usage(reply.said.get("usage", {})),
        }

    def _item(self, block: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        if block["type"] == "tool_use":
            space = {"namespace": block["namespace"]} if "namespace" in block else {}
            return {
                "type": "function_call",
                "id": f"fc_fake{number:06}",
                "call_id": f"call_fake{number:06}",
                "name": block["name"],
                "arguments": json.dumps(block["input"]),
                "status": "completed",
                **space,
            }
        text = {"type": "output_text", "text": block["text"], "annotations": []}
        return {
            "type": "message",
            "id": f"msg_fake{number:06}",
            "role": "assistant",
            "status": "completed",
            "content": [text],
        }

    def events(self, message: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Returns the same answer as a stream has it."""
        opened = {**message, "status": "in_progress", "output": [], "usage": None}
        yield _event("response.created", response=opened)
        for number, item in enumerate(message["output"]):
            if item["type"] == "message":
                begun = {**item, "content": [], "status": "in_progress"}
                yield _event("response.output_item.added", output_index=number, item=begun)
                where = {"item_id": item["id"], "output_index": number, "content_index": 0}
                yield _event("response.output_text.delta", **where, delta=item["content"][0]["text"])
            yield _event("response.output_item.done", output_index=number, item=item)
        yield _event("response.completed", response=message)

    def fault(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the body of an error."""
        kind, text = error.get("type", "invalid_request_error"), error.get("message", "as the script says")
        return {"error": {"type": kind, "code": error.get("code"), "message": text}}

    def other(self, method: str, path: str, size: int) -> dict[str, Any] | None:  # noqa: ARG002 - a Dialect's
        """Returns which models there are: none are told."""
        if method == "GET" and path.endswith("/models"):
            return {"object": "list", "data": [], "models": []}
        return None


@contextlib.contextmanager
def serve(
    script: Any,
    *,
    log: Path | None = None,
    listener: socket.socket | None = None,
    limits: Limits | None = None,
) -> Iterator[Loopback]:
    """Serves *script* for as long as the block lasts, at a free port or at *listener*."""
    with listening(Responses(), script, log=log, listener=listener, limits=limits) as server:
        yield server


def _event(kind: str, **data: Any) -> tuple[str, Mapping[str, Any]]:
    return kind, {"type": kind, **data}


def _said(item: Mapping[str, Any]) -> Iterator[Said]:
    match item.get("type", "message"):
        case "message" if item.get("role") == "assistant":
            yield Said("assistant", _text(item.get("content")))
        case "message" if item.get("role") == "user":
            yield Said("user", _text(item.get("content")))
        case "function_call" | "custom_tool_call" | "local_shell_call" as kind:
            yield Said("assistant", json.dumps({kind: {**item}}))
        case "function_call_output" | "custom_tool_call_output":
            yield Said("result", _text(item.get("output")))
        case _:
            return


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(piece.get("text", "")) for piece in content or [])


def _names(tool: Mapping[str, Any]) -> Iterator[str]:
    if tool.get("type") == "namespace":
        yield from (f"{tool['name']}.{inner['name']}" for inner in tool.get("tools", []))
    else:
        yield tool.get("name") or tool.get("type", "")


def _usage(said: Mapping[str, Any]) -> dict[str, Any]:
    told, back = said.get("input_tokens", 100), said.get("output_tokens", 20)
    return {
        "input_tokens": told,
        "input_tokens_details": {"cached_tokens": said.get("cached_tokens", 0)},
        "output_tokens": back,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": told + back,
    }


if __name__ == "__main__":
    start(Responses(), __doc__.split("\n", 1)[0])
