"""The MCP server: what a client such as Claude Code calls. It is loaded by ``stratum-git mcp`` alone."""
