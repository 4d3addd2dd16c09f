"""Fans a task graph out to parallel coding agents in git worktrees and lands one verified history."""

__version__ = "0.1.0"
