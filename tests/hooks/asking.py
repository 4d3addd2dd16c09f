"""A client that calls hooks: what it says is what the real one does, recorded of 2.1.328 and 2.1.197."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stratum_git.app.client_worktrees import Lender
from stratum_git.app.hooks.asked import Answer
from stratum_git.cli.hooking import answers, asked_of
from stratum_git.git.repository import open_repository
from stratum_git.slots.folders import StateFolders, state_folders
from tests.support.repos import ScratchRepo

EVENTS: dict[str, dict[str, Any]] = {
    "session-start": {"hook_event_name": "SessionStart", "source": "startup"},
    "session-end": {"hook_event_name": "SessionEnd", "reason": "other"},
    "stop": {
        "hook_event_name": "Stop", "stop_hook_active": False, "last_assistant_message": "done",
        "background_tasks": [], "session_crons": [], "permission_mode": "default",
    },
    "pre-tool-use": {
        "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "toolu_1",
        "permission_mode": "default", "effort": {"level": "medium"},
    },
    "post-tool-use": {"hook_event_name": "PostToolUse", "tool_name": "Write", "duration_ms": 53},
    "post-tool-use-failure": {
        "hook_event_name": "PostToolUseFailure", "tool_name": "Bash", "error": "Exit code 3",
        "is_interrupt": False, "duration_ms": 140,
    },
    "subagent-start": {
        "hook_event_name": "SubagentStart", "agent_id": "aa1cab8d9", "agent_type": "general-purpose",
    },
    "subagent-stop": {
        "hook_event_name": "SubagentStop", "agent_id": "aa1cab8d9", "agent_type": "general-purpose",
        "stop_hook_active": False, "last_assistant_message": "sub done", "background_tasks": [],
    },
    "worktree-create": {"hook_event_name": "WorktreeCreate"},
    "worktree-remove": {"hook_event_name": "WorktreeRemove"},
}  # fmt: skip


@dataclass(frozen=True)
class ClientHooks:
    """A session of a client in a repository."""

    repo: ScratchRepo
    state: Path
    session: str = "517cc4bb-6ed4-4a0e-912e-b6730fa8f198"

    def ask(self, hook: str, cwd: Path | None = None, **more: Any) -> Answer:
        """Returns what a hook answers, in this process; several answers are one."""
        given = list(
            answers(hook, asked_of(hook, self.said(hook, cwd, **more), Path("/"), self.environment()))
        )
        out = "\n".join(answer.out for answer in given if answer.out)
        err = "\n".join(answer.err for answer in given if answer.err)
        return Answer(out, err, max((answer.code for answer in given), default=0))

    def advice(self, hook: str, cwd: Path | None = None, **more: Any) -> str:
        """Returns the words that a hook adds for the model; they decide nothing."""
        answer = self.ask(hook, cwd, **more)
        assert (answer.err, answer.code) == ("", 0)
        if not answer.out:
            return ""
        row = json.loads(answer.out)["hookSpecificOutput"]
        assert set(row) == {"hookEventName", "additionalContext"}
        assert row["hookEventName"] == EVENTS[hook]["hook_event_name"]
        return str(row["additionalContext"])

    def said(self, hook: str, cwd: Path | None = None, **more: Any) -> bytes:
        """Returns what the client says."""
        own = {
            "session_id": self.session,
            "transcript_path": str(self.transcript),
            "cwd": str(cwd or self.repo.path),
        }
        return json.dumps({**own, **EVENTS[hook], **more}).encode()

    def environment(self) -> Mapping[str, str]:
        """Returns the variables of a hook."""
        here = str(self.repo.path)
        return {
            **os.environ,
            "CLAUDE_PROJECT_DIR": here,
            "CLAUDE_CODE_SESSION_ID": self.session,
            "CLAUDECODE": "1",
        }

    @property
    def transcript(self) -> Path:
        """Returns where the client writes what is said."""
        return self.repo.path.parent / f"{self.session}.jsonl"

    @property
    def folders(self) -> StateFolders:
        """Returns the state folder of the repository."""
        return state_folders(open_repository(self.repo.path), self.state / "stratum-git")

    @property
    def lender(self) -> Lender:
        """Returns who lends worktrees here."""
        return Lender(open_repository(self.repo.path), self.folders)
