"""Any program as an agent.

The program is started in the slot with the prompt on its standard input. Its environment names the attempt:
``STRATUM_FLOW``, ``STRATUM_STEP``, ``STRATUM_TASK``, ``STRATUM_ATTEMPT``, ``STRATUM_BASE``,
``STRATUM_PROMPT_FILE``, ``STRATUM_RESULT_FILE``, of a candidate its number ``STRATUM_CANDIDATE``. Exit code 0
means done. A JSON object in the result file, else the last one on standard output, is the step's result. If
it has an object ``usage``, that is taken for what the attempt cost, and stays a part of the result.

Nothing of the environment is written anywhere from here.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import trio

from stratum_git.agents.answers import Answer, BadAnswer, Found, find_answer
from stratum_git.agents.base import (
    AgentFailed,
    AgentSpec,
    AgentTimedOut,
    AgentUnstartable,
    Assignment,
    Finished,
    Outcome,
)
from stratum_git.agents.output import TAIL, plain, plain_text, replace_private
from stratum_git.agents.secrets import NONE, Redactor, Secrets, too_short
from stratum_git.agents.stream import Reads
from stratum_git.agents.supervise import Exit, Exited, Signalled, TimedOut, Unstartable, supervise
from stratum_git.core.usage import usage_of
from stratum_git.errors import HostError
from stratum_git.model.ids import Json

REDIRECTING = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CEILING_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG",
        "GIT_CONFIG_PARAMETERS", "GIT_DEFAULT_HASH", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
    }
)  # fmt: skip
"""Would lead git in the slot to another repository; set when stratum-git itself runs in a git hook.

These are what ``git rev-parse --local-env-vars`` lists, and a few more. ``GIT_CONFIG_COUNT`` is kept: a build
server gives credentials and ``safe.directory`` with it.
"""

PIECE = 1 << 20
TEXT = 32 * 1024
"""Bytes of output that a finished attempt shows."""


@dataclass(frozen=True, slots=True)
class Program:
    """The program behind an agent: how it is started in a slot, held, and heard.

    ``environment`` is the caller's, to which the agent's own is added. ``hide`` are secrets: the program gets
    them, and what comes back from it has them no more. ``without`` are variables of the caller's that it must
    not get, ``adds`` what it gets before the agent's own settings.
    """

    spec: AgentSpec
    environment: Mapping[str, str]
    hide: Secrets = NONE
    without: frozenset[str] = frozenset()
    adds: Mapping[str, str] = field(default_factory=dict)

    async def run(
        self,
        command: Sequence[str],
        assignment: Assignment,
        on_line: Callable[[str], None],
        *,
        prompt: str | None = None,
        reads: Reads | None = None,
    ) -> Exit:
        """Starts *command* with the prompt as its input, and returns how it ended.

        With *reads* its standard output is a stream of lines that are read as they come; they are kept in
        ``stream.jsonl``, and ``output.log`` has what is told of them. Raises HostError when this machine
        cannot.
        """
        said, result = assignment.folder / "prompt.md", result_file(assignment)
        _prepare(said, result, assignment.intent if prompt is None else prompt)
        # In a thread: the fence reads files, and the first time asks git.
        environment = await trio.to_thread.run_sync(self._environment, assignment, said, result)
        try:
            ended = await supervise(
                command,
                cwd=assignment.slot,
                env=environment,
                stdin=said,
                log=assignment.folder / "output.log",
                timeout=assignment.timeout if assignment.timeout is not None else self.spec.timeout,
                on_line=on_line,
                hide=self.hide,
                stream=None if reads is None else (reads, assignment.folder / "stream.jsonl"),
            )
            return ended if reads is None else _by_errors(ended)
        finally:
            _settle(result, self.hide)

    def unstartable(self, ended: Unstartable, program: str, slot: Path) -> AgentUnstartable:
        """Returns the outcome of a program that could not be started."""
        return AgentUnstartable(f"{ended.reason}{self._interpreter(program, slot)}")

    def problem(self, command: tuple[str, ...]) -> str | None:
        """Returns why *command* cannot be started, before anything is."""
        name, short = self.spec.name, too_short(self.spec, self.environment)
        if short:
            return f"the secret {short[0]} of the agent {name} is too short to be told from other words"
        found = which_problem(command, self.path())
        return None if found is None else f"the agent {name} wants to run {found}"

    def path(self) -> str:
        """Returns where programs are looked for."""
        return {**self.environment, **self.spec.env}.get("PATH", os.defpath)

    def prepare(self, assignment: Assignment, prompt: str) -> None:
        """Writes down what is said, in an attempt whose program is not started in here."""
        _prepare(assignment.folder / "prompt.md", result_file(assignment), prompt)

    def surroundings(self, assignment: Assignment) -> dict[str, str]:
        """Returns the environment of what runs in a slot; works on files."""
        return self._environment(assignment, assignment.folder / "prompt.md", result_file(assignment))

    def settle(self, assignment: Assignment) -> None:
        """Takes the result file from others' eyes, and the secrets from it."""
        _settle(result_file(assignment), self.hide)

    def _interpreter(self, program: str, slot: Path) -> str:
        """Returns what a script says that it is to be run by, should that be what cannot be found."""
        found = slot / program if "/" in program else shutil.which(program, path=self.path())
        try:
            with open(found or "", "rb") as file:  # noqa: PTH123 - a path or the answer of which()
                first = file.readline(200)
        except OSError:
            return ""
        return f" (it begins with {plain_text(first)})" if first.startswith(b"#!") else ""

    def _environment(self, assignment: Assignment, prompt: Path, result: Path) -> dict[str, str]:
        given = inherited(self.environment)
        environment = {
            **{name: value for name, value in given.items() if name not in self.without},
            "GIT_TERMINAL_PROMPT": "0",
            **self.adds,
            **self.spec.env,
            **assignment.env,
            "STRATUM_FLOW": assignment.flow,
            "STRATUM_STEP": assignment.step,
            "STRATUM_TASK": assignment.task or "",
            "STRATUM_ATTEMPT": str(assignment.attempt),
            "STRATUM_BASE": assignment.base,
            "STRATUM_PROMPT_FILE": str(prompt),
            "STRATUM_RESULT_FILE": str(result),
        }
        # Last: it adds to PATH and to the settings, whoever gave them.
        if assignment.guard is None or not self.spec.fence:
            return environment
        return dict(assignment.guard(environment, self.spec.hooks))


@dataclass(frozen=True, slots=True)
class CommandAgent:
    """Runs a command. ``environment`` is the caller's, to which the agent's own is added.

    ``hide`` are secrets: the agent gets them, and what comes back from it has them no more.
    """

    spec: AgentSpec
    environment: Mapping[str, str]
    hide: Secrets = NONE

    @property
    def name(self) -> str:
        """Returns the name that specs use."""
        return self.spec.name

    async def run(self, assignment: Assignment, on_line: Callable[[str], None]) -> Outcome:
        """Does one attempt. Raises HostError when this machine cannot."""
        program = self._program()
        ended = await program.run(self.spec.command, assignment, on_line)
        match ended:
            case Exited(code=0):
                return await self._outcome(result_file(assignment), ended)
            case Unstartable():
                return program.unstartable(ended, self.spec.command[0], assignment.slot)
            case other:
                return failure(self.name, other, {})

    def problem(self) -> str | None:
        """Returns why the command cannot be started, before anything is."""
        return self._program().problem(self.spec.command)

    def _program(self) -> Program:
        return Program(self.spec, self.environment, self.hide)

    async def _outcome(self, result: Path, ended: Exited) -> Outcome:
        cut = len(ended.tail) >= TAIL
        found = await answer_of(result, ended.tail, self.hide, cut=cut)
        if isinstance(found, BadAnswer):
            return AgentFailed(f"{self.name}: {found.reason}", ended.code, ended.seconds)
        text = self.hide.hidden_text(plain_text(ended.tail[-TEXT:]))
        usage = usage_of(found.value.get("usage")) if isinstance(found.value, dict) else {}
        return Finished(found.value, usage, text_tail=text, seconds=ended.seconds)


def result_file(assignment: Assignment) -> Path:
    """Returns where a program may put its result."""
    return assignment.folder / "result.json"


async def answer_of(result: Path, said: bytes, hide: Secrets, *, cut: bool = False) -> Found:
    """Returns the object in the result file, else the last one in what was *said*, without secrets."""
    # In a thread: sixteen megabytes of JSON take a while, and others have work to do meanwhile.
    found = await trio.to_thread.run_sync(partial(find_answer, result, said, cut=cut))
    if isinstance(found, BadAnswer):
        return BadAnswer(hide.hidden_text(found.reason))
    return Answer(hide.hidden_json(found.value))


def failure(
    name: str, ended: Exited | Signalled | TimedOut, usage: Mapping[str, Json]
) -> AgentFailed | AgentTimedOut:
    """Returns the outcome of a program by its end alone, which was no good one."""
    match ended:
        case Exited(code=code, seconds=seconds, last_line=line):
            return AgentFailed(f"{name} exited with {code}{_quoted(line)}", code, seconds, usage)
        case Signalled(signal=number, seconds=seconds, last_line=line):
            return AgentFailed(
                f"{name} was ended by signal {number}{_quoted(line)}", seconds=seconds, usage=usage
            )
        case TimedOut(after=after):
            return AgentTimedOut(after, usage)


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns what a program in a slot gets of the caller's environment."""
    return {name: value for name, value in environment.items() if name not in REDIRECTING}


def which_problem(command: tuple[str, ...], path: str) -> str | None:
    """Returns which program of *command* is not there in *path*, as the end of a sentence; else ``None``."""
    if not command or not command[0]:
        return "a program, and its command is empty"
    program = command[0]
    if "/" in program and not Path(program).is_absolute():
        return None  # found in the slot, or not
    if shutil.which(program, path=path) is not None:
        return None
    if Path(program).is_absolute() and Path(program).exists():
        return f"{program}, and that is not an executable file"
    return f"{program}, and there is no such program"


def _by_errors(ended: Exit) -> Exit:
    """Returns the end of a program with what it said last on standard error, where it says what is wrong."""
    if isinstance(ended, Unstartable):
        return ended
    said = next(filter(None, map(plain, reversed(ended.errors.split(b"\n")))), "")
    return replace(ended, last_line=said or ended.last_line)


def _prepare(prompt: Path, result: Path, intent: str) -> None:
    try:
        replace_private(prompt, intent.encode("utf-8", "backslashreplace"))
        result.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"the prompt cannot be written: {error}") from error


def _settle(result: Path, hide: Secrets) -> None:
    """Takes a result file from others' eyes, and the secrets from it. The agent made it, whatever it is."""
    try:
        if result.is_symlink() or not result.is_file():
            return
        result.chmod(0o600)
        if hide:
            _rewrite(result, Redactor(hide))
    except OSError as error:
        raise HostError(f"the result file cannot be kept private: {error}") from error


def _rewrite(file: Path, redactor: Redactor) -> None:
    fresh = file.with_name(f"{file.name}.new")
    replace_private(fresh, b"")
    with file.open("rb") as source, fresh.open("wb") as target:
        while piece := source.read(PIECE):
            target.write(redactor.feed(piece))
        target.write(redactor.close())
    fresh.replace(file)


def _quoted(line: str) -> str:
    return f": {line}" if line else ""
