"""Any program as an agent.

The program is started in the slot with the prompt on its standard input. Its environment names the attempt:
``STRATUM_FLOW``, ``STRATUM_STEP``, ``STRATUM_TASK``, ``STRATUM_ATTEMPT``, ``STRATUM_BASE``,
``STRATUM_PROMPT_FILE``, ``STRATUM_RESULT_FILE``. Exit code 0 means done. A JSON object in the result file,
else the last one on standard output, is the step's result.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git.agents.answers import BadAnswer, find_answer
from stratum_git.agents.base import (
    AgentFailed,
    AgentSpec,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.agents.output import plain
from stratum_git.agents.supervise import Exited, Signalled, TimedOut, Unstartable, supervise

REDIRECTING = frozenset(
    {
        "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CEILING_DIRECTORIES",
    }
)  # fmt: skip
"""Would lead git in the slot to another repository; set when stratum-git itself runs in a git hook."""

MISSING = 127


@dataclass(frozen=True, slots=True)
class CommandAgent:
    """Runs a command. ``environment`` is the caller's, to which the agent's own is added."""

    spec: AgentSpec
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """Returns the name that specs use."""
        return self.spec.name

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        """Does one attempt."""
        prompt, result = assignment.folder / "prompt.md", assignment.folder / "result.json"
        _write_private(prompt, assignment.intent)
        result.unlink(missing_ok=True)
        ended = await supervise(
            self.spec.command,
            cwd=assignment.slot,
            env=self._environment(assignment, prompt, result),
            stdin=prompt,
            log=assignment.folder / "output.log",
            timeout=assignment.timeout or self.spec.timeout,
            on_line=on_line,
        )
        match ended:
            case Exited(code=0, tail=tail):
                found = find_answer(result, tail)
                return AgentFailed(found.reason) if isinstance(found, BadAnswer) else Finished(found.value)
            case Exited(code=code, tail=tail):
                return AgentFailed(f"{self.name} exited with {code}{_last_words(tail)}")
            case Signalled(signal=number):
                return AgentFailed(f"{self.name} was ended by signal {number}")
            case TimedOut(after=after):
                return AgentTimedOut(after)
            case Unstartable(reason=reason):
                return AgentUnstartable(reason)

    def problem(self) -> str | None:
        """Returns why the command cannot be started, before anything is."""
        program = self.spec.command[0]
        path = {**self.environment, **self.spec.env}.get("PATH", os.defpath)
        if "/" in program and not Path(program).is_absolute():
            return None  # found in the slot, or not
        if shutil.which(program, path=path) is None:
            return f"the agent {self.name} wants to run {program}, and there is no such program"
        return None

    def _environment(self, assignment: Assignment, prompt: Path, result: Path) -> dict[str, str]:
        mine = {k: v for k, v in self.environment.items() if k not in REDIRECTING}
        return {
            **mine,
            **self.spec.env,
            "GIT_TERMINAL_PROMPT": "0",
            "STRATUM_FLOW": assignment.flow,
            "STRATUM_STEP": assignment.step,
            "STRATUM_TASK": assignment.task or "",
            "STRATUM_ATTEMPT": str(assignment.attempt),
            "STRATUM_BASE": assignment.base,
            "STRATUM_PROMPT_FILE": str(prompt),
            "STRATUM_RESULT_FILE": str(result),
        }


def _last_words(tail: bytes) -> str:
    lines = [text for text in map(plain, tail[-4096:].splitlines()) if text]
    return f": {lines[-1]}" if lines else ""


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
