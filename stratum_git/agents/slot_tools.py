"""What a model may do in a slot: look, change files, run commands; each answer of bounded size.

Files are those of the slot (``confined.py``). A command is held as any agent's program is, within the fence,
and without the key that pays for the model. Who only looks can neither write nor run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import regex
import trio

from stratum_git.agents.base import Profile
from stratum_git.agents.confined import Confined, NotAllowed
from stratum_git.agents.output import plain_text
from stratum_git.agents.secrets import NONE, Secrets
from stratum_git.agents.supervise import Exited, Signalled, TimedOut, Unstartable, supervise
from stratum_git.model.ids import Json

LINES = 2000
TEXT = 48 * 1024
"""Characters of an answer. A model pays for each of them in every turn that follows."""
ENTRIES = 1000
MATCHES = 200
WIDE = 300
SEARCHED = 1024 * 1024
SEARCH_SECONDS = 10.0
LINE_SECONDS = 0.5
"""Of processor time, for one pattern and one line."""
RUN_SECONDS = 120.0
LONGEST_RUN = 3600.0
RUN_LOG = 4 * 1024 * 1024


def _schema(required: tuple[str, ...], **properties: str) -> Json:
    described: dict[str, Json] = {name: _property(words) for name, words in properties.items()}
    return {
        "type": "object",
        "properties": described,
        "required": list(required),
        "additionalProperties": False,
    }


def _property(words: str) -> Json:
    """Returns the schema of a parameter: ``TYPE: what it is``."""
    kind, _, description = words.partition(": ")
    return {"type": kind, "description": description}


PATH = "string: the file, from the top of the working directory"
TOOLS: Mapping[str, tuple[str, Json]] = {
    "read_file": (
        "Reads a text file. Long ones come in pieces.",
        _schema(("path",), path=PATH, first="integer: the line to begin with", lines="integer: how many"),
    ),
    "list_files": (
        "Lists a folder, or with a pattern all files below it whose path fits, such as *.py or src/*/test_*.",
        _schema((), path="string: the folder; the top when left out", pattern="string: with * and ?"),
    ),
    "search": (
        "Finds a regular expression in the text files below a folder, line by line.",
        _schema(
            ("pattern",),
            pattern="string: the regular expression",
            path="string: the folder; the top when left out",
            files="string: a pattern that a file's path has to fit, such as *.py",
        ),
    ),
    "write_file": (
        "Writes a whole file, new or not, with the folders on its way.",
        _schema(("path", "content"), path=PATH, content="string: all that is to be in it"),
    ),
    "edit_file": (
        "Replaces a piece of a text file. The piece has to be in it exactly once, unless all is true.",
        _schema(
            ("path", "old", "new"),
            path=PATH,
            old="string: the piece as it is, white space included",
            new="string: what is to be in its place",
            all="boolean: whether to replace it wherever it is",
        ),
    ),
    "run": (
        "Runs a command of the shell in the working directory, and returns the end of what it prints.",
        _schema(("command",), command="string: the command", seconds="number: its time, 120 if left out"),
    ),
}  # fmt: skip
LOOKING = frozenset({"read_file", "list_files", "search"})


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool came to; ``wrong`` when it did not do what was asked for."""

    text: str
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Runner:
    """How commands are run: where, in what environment, with what log; what must not be told of them."""

    slot: Path
    env: Mapping[str, str]
    log: Path
    hide: Secrets = NONE
    on_line: Callable[[str], None] | None = None


def tools_of(profile: Profile, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the tools of a profile, those *wanted* among them if any are named."""
    allowed = [name for name in TOOLS if profile == "general" or name in LOOKING]
    return tuple(name for name in allowed if not wanted or name in wanted)


@dataclass(frozen=True, slots=True)
class SlotTools:
    """The tools of one attempt, by the names that it may use."""

    names: tuple[str, ...]
    runner: Runner
    files: Confined = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", Confined(self.runner.slot.resolve()))

    def described(self) -> list[Json]:
        """Returns the tools in the words of the API."""
        return [
            {"name": name, "description": TOOLS[name][0], "input_schema": TOOLS[name][1]}
            for name in self.names
        ]

    async def use(self, name: str, given: Mapping[str, Json]) -> Said:
        """Does what a model asks for."""
        if name not in self.names:
            return Said(f"there is no tool {name}; there are: {', '.join(self.names)}", wrong=True)
        problem = _misfit(TOOLS[name][1], given)
        if problem is not None:
            return Said(f"{name}: {problem}", wrong=True)
        work: Mapping[str, Callable[[Mapping[str, Json]], str]] = {
            "read_file": self._read,
            "list_files": self._list,
            "search": self._search,
            "write_file": self._write,
            "edit_file": self._edit,
        }
        try:
            said = (
                await self._run(given) if name == "run" else await trio.to_thread.run_sync(work[name], given)
            )
        except (NotAllowed, OSError, UnicodeError, regex.error) as error:
            return Said(f"{name}: {error}", wrong=True)
        return said if isinstance(said, Said) else Said(said)

    def _read(self, given: Mapping[str, Json]) -> str:
        path, first = str(given["path"]), max(1, _whole(given.get("first"), 1))
        lines = _text_of(path, self.files.read(path)).splitlines()
        wanted = lines[first - 1 : first - 1 + max(1, min(LINES, _whole(given.get("lines"), LINES)))]
        shown = _bounded(wanted)
        end = first + len(shown) - 1
        rest = (
            ""
            if end >= len(lines)
            else f"\n[lines {first} to {end} of {len(lines)}; go on with first={end + 1}]"
        )
        return "\n".join(shown) + rest

    def _list(self, given: Mapping[str, Json]) -> str:
        path, pattern = str(given.get("path") or "."), given.get("pattern")
        if pattern is None:
            found = [
                f"{e.path}/" if e.kind == "folder" else _row(e.path, e.kind) for e in self.files.entries(path)
            ]
        else:
            found = [entry.path for entry in self.files.walk(path) if fnmatchcase(entry.path, str(pattern))]
        more = f"\n[{len(found) - ENTRIES} more]" if len(found) > ENTRIES else ""
        return ("\n".join(found[:ENTRIES]) or "there are none") + more

    def _search(self, given: Mapping[str, Json]) -> str:
        try:
            pattern = regex.compile(str(given["pattern"]))
        except RecursionError:
            raise NotAllowed("the pattern is nested too deep: look for something simpler") from None
        return _found(self.files, pattern, str(given.get("path") or "."), str(given.get("files") or "*"))

    def _write(self, given: Mapping[str, Json]) -> str:
        path, content = str(given["path"]), str(given["content"])
        self.files.write(path, content.encode())
        return f"{path} has {len(content.splitlines())} lines now"

    def _edit(self, given: Mapping[str, Json]) -> str:
        path, old, new = str(given["path"]), str(given["old"]), str(given["new"])
        before = _text_of(path, self.files.read(path))
        times = before.count(old) if old else 0
        if times == 0:
            raise NotAllowed(f"{path} does not have that piece: read the file again")
        if times > 1 and given.get("all") is not True:
            raise NotAllowed(f"{path} has that piece {times} times: say more of what is around it, or all")
        self.files.write(path, before.replace(old, new).encode())
        return f"{path}: {times} replaced"

    async def _run(self, given: Mapping[str, Json]) -> Said:
        seconds = given.get("seconds")
        limit = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else RUN_SECONDS
        runner = self.runner
        ended = await supervise(
            ("sh", "-c", f"exec 2>&1\n{given['command']}"),
            cwd=runner.slot,
            env=runner.env,
            log=runner.log,
            timeout=min(limit, LONGEST_RUN),
            on_line=runner.on_line,
            log_limit=RUN_LOG,
            hide=runner.hide,
        )
        match ended:
            case Exited(code=code, tail=tail):
                return Said(_end(tail) + (f"\n[exit code {code}]" if code else ""), wrong=code != 0)
            case Signalled(signal=number, tail=tail):
                return Said(f"{_end(tail)}\n[ended by signal {number}]", wrong=True)
            case TimedOut(after=after, tail=tail):
                return Said(f"{_end(tail)}\n[ended after {after:g} s]", wrong=True)
            case Unstartable(reason=reason):
                return Said(reason, wrong=True)


def _found(files: Confined, pattern: regex.Pattern[str], path: str, wanted: str) -> str:
    """Returns the lines that a pattern is found in, as many as fit, within a bounded time."""
    found: list[str] = []
    until = time.monotonic() + SEARCH_SECONDS
    for entry in files.walk(path):
        trio.from_thread.check_cancelled()
        if entry.size > SEARCHED or not (fnmatchcase(entry.path, wanted) or wanted == "*"):
            continue
        try:
            lines = _text_of(entry.path, files.read(entry.path)).splitlines()
            for number, line in enumerate(lines, 1):
                # Others have work to do while a pattern is looked for: it does not hold the interpreter.
                if pattern.search(line, timeout=LINE_SECONDS, concurrent=True):
                    found.append(f"{entry.path}:{number}: {line[:WIDE]}")
        except NotAllowed:
            continue
        except TimeoutError:
            return _given_up(found)
        if time.monotonic() > until:
            return _given_up(found)
        if len(found) > MATCHES:
            return "\n".join([*found[:MATCHES], "[there are more: search for less]"])
    return "\n".join(found) or "it is found nowhere"


def _given_up(found: Sequence[str]) -> str:
    said = "[it takes too long and is given up: look for something simpler, or in a smaller folder]"
    return "\n".join([*found[:MATCHES], said])


def _text_of(path: str, data: bytes) -> str:
    if b"\0" in data:
        raise NotAllowed(f"{path} is not a text file")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotAllowed(f"{path} is not a text file in UTF-8") from None


def _bounded(lines: Sequence[str]) -> list[str]:
    """Returns as many of the lines as fit in an answer, one at least, which is cut if it has to be."""
    shown: list[str] = []
    room = TEXT
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            return shown or [f"{line[:TEXT]} [the line goes on: {len(line)} characters]"]
        shown.append(line)
    return shown


def _end(tail: bytes) -> str:
    text = plain_text(tail)
    cut = len(text) - TEXT
    return f"[{cut} characters left out]\n{text[cut:]}" if cut > 0 else text


def _row(path: str, kind: str) -> str:
    return path if kind == "file" else f"{path} ({kind})"


def _whole(value: Json, default: int) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def _misfit(schema: Json, given: Mapping[str, Json]) -> str | None:
    """Returns why what was given is not what a tool takes."""
    if not isinstance(schema, dict):
        return None
    properties, required = schema.get("properties"), schema.get("required")
    known = properties if isinstance(properties, dict) else {}
    missing = [name for name in required if name not in given] if isinstance(required, list) else []
    if missing:
        return f"{missing[0]} is missing"
    types: Mapping[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
    }
    for name, value in given.items():
        wanted = known.get(name)
        if not isinstance(wanted, dict):
            return f"it takes no {name}; it takes {', '.join(known)}"
        if not isinstance(value, types[str(wanted["type"])]):
            return f"{name} is not a {wanted['type']}"
    return None
