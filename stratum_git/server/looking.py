"""What a client may read without calling a tool: flows as resources."""

from __future__ import annotations

import json
from typing import Any

import trio
from mcp.server import MCPServer

from stratum_git.app import detached, stepping
from stratum_git.app.desk import Desk
from stratum_git.app.listing import flows
from stratum_git.model.ids import FlowId


def register(server: MCPServer[Any], desk: Desk) -> None:
    """Adds the resources to a server."""

    @server.resource("stratum://flows", mime_type="application/json")
    async def stratum_flow_list() -> str:
        """The flows of this repository, oldest first."""
        found = await trio.to_thread.run_sync(flows, desk.around)
        return json.dumps(found, indent=2, ensure_ascii=False)

    @server.resource("stratum://flow/{flow_id}", mime_type="application/json")
    async def stratum_flow(flow_id: str) -> str:
        """A flow: how far it is, its tasks, and its audit."""

        def read() -> dict[str, Any]:
            name = FlowId(flow_id)
            return {"state": detached.status(desk, name), "audit": stepping.audit(desk, name)}

        return json.dumps(await trio.to_thread.run_sync(read), indent=2, ensure_ascii=False)
