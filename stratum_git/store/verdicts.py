"""What was tested once: a cache of verdicts that all flows of a repository share.

A verdict is known by a digest of the tree, the commands and the surroundings in which they ran. All of them
are on one ref, which is a tree of a few files: the newest are added to the last one, and the oldest file goes
when there are too many. So a verdict costs two objects and the move of one ref, however many there are, and
two thousand are read with two gits. It is a cache: whoever loses it tests again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NewType

from stratum_git.errors import HostError
from stratum_git.git.bounded import read_small_objects
from stratum_git.git.objects import ObjectWriter, read_tree
from stratum_git.git.refs import Applied, RefUpdate, tip_nowait, transact
from stratum_git.git.repository import Repository
from stratum_git.model.ids import Json, Oid, RefName
from stratum_git.model.spec import Command

TestId = NewType("TestId", str)
"""What was tested how and where, in 40 hex digits: the same test has the same verdict."""

REF = RefName("refs/stratum/verdicts/known")
ROWS = 64
"""Verdicts of one file."""
FILES = 32
RACES = 20
LARGEST = 1024 * 1024

ALWAYS_ANOTHER = frozenset(
    {
        "PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "TMP", "TEMP", "TERM", "COLUMNS", "LINES", "COLORTERM",
        "WINDOWID", "DISPLAY", "WAYLAND_DISPLAY", "GPG_TTY", "TMUX", "TMUX_PANE", "STY", "WINDOW",
        "DBUS_SESSION_BUS_ADDRESS", "XDG_SESSION_ID", "XDG_RUNTIME_DIR", "INVOCATION_ID", "JOURNAL_STREAM",
        "PYTEST_CURRENT_TEST",
    }
)  # fmt: skip
"""Variables that are another's in each terminal or session, and that no check should ask."""
OWN_PREFIXES = ("STRATUM_", "TERM_", "SSH_", "VSCODE_")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a test came to, ``at`` seconds since the epoch; ``seconds`` is how long it took.

    ``findings`` are its last words where it failed. ``flaky``: it failed once, and passed then.
    """

    test: TestId
    passed: bool
    at: float
    seconds: float
    flaky: bool = False
    findings: tuple[str, ...] = ()


def digest_of(environment: Mapping[str, str], machine: str) -> str:
    """Returns what surroundings come to, as far as they can change a verdict.

    That is each variable that commands are given, but for our own and those that are another's in every
    terminal, and *machine*, which names the system and its architecture. Versions of tools are not asked
    for: they are where PATH leads.
    """
    told = {
        name: value
        for name, value in environment.items()
        if name not in ALWAYS_ANOTHER and not name.startswith(OWN_PREFIXES)
    }
    return _digest([machine, told])


def id_of(tree: Oid, setup: Sequence[Command], commands: Sequence[Command], surroundings: str) -> TestId:
    """Returns what a test is known by."""
    return TestId(_digest([tree, [list(c) for c in setup], [list(c) for c in commands], surroundings]))


def known_verdicts(repo: Repository) -> dict[TestId, Verdict]:
    """Returns the verdicts of the repository; what cannot be read is not known."""
    return _read(repo, tip_nowait(repo, REF))


def remember(repo: Repository, writer: ObjectWriter, verdict: Verdict) -> bool:
    """Adds a verdict, and returns whether it could be: others may be faster, and the ref be damaged."""
    with suppress(HostError):
        for _ in range(RACES):
            tip = tip_nowait(repo, REF)
            tree = _with(repo, writer, tip, verdict)
            writer.sync()
            if isinstance(transact(repo, [RefUpdate(REF, tree, tip)], message="stratum-git"), Applied):
                return True
    return False


def _with(repo: Repository, writer: ObjectWriter, tip: Oid | None, verdict: Verdict) -> Oid:
    """Returns the tree of *tip* with another verdict in its last file."""
    files = _files(repo, tip)
    last = max(files, default=_name(0))
    rows = _rows(repo, [files[last]]) if last in files else []
    if len(rows) >= ROWS:
        last, rows = _name(int(last) + 1), []
    data = "\n".join(json.dumps(row) for row in (*rows, _row(verdict))) + "\n"
    files[last] = writer.blob(data.encode())
    kept = sorted(files)[-FILES:]
    return writer.tree({name: ("100644", files[name]) for name in kept})


def _read(repo: Repository, tip: Oid | None) -> dict[TestId, Verdict]:
    files = _files(repo, tip)
    verdicts: dict[TestId, Verdict] = {}
    for row in _rows(repo, [files[name] for name in sorted(files)]):
        verdict = _verdict(row)
        if verdict is not None:
            verdicts[verdict.test] = verdict
    return verdicts


def _files(repo: Repository, tip: Oid | None) -> dict[str, Oid]:
    if tip is None:
        return {}
    try:
        return {name: entry.oid for name, entry in read_tree(repo, tip).items() if name.isdigit()}
    except HostError:
        # Somebody deleted what the ref speaks of: nothing is known, and it is begun anew.
        return {}


def _rows(repo: Repository, blobs: Sequence[Oid]) -> list[Json]:
    try:
        found = read_small_objects(repo, blobs, LARGEST)
    except HostError:
        # One of them is damaged, and git goes no further: what is behind it is lost.
        found = ()
    return [row for item in found if item is not None for row in _parsed(item.data)]


def _parsed(data: bytes) -> list[Json]:
    rows: list[Json] = []
    for line in data.splitlines():
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return rows


def _row(verdict: Verdict) -> Json:
    return {
        "test": verdict.test,
        "passed": verdict.passed,
        "at": verdict.at,
        "seconds": round(verdict.seconds, 3),
        "flaky": verdict.flaky,
        "findings": list(verdict.findings),
    }


def _verdict(row: Json) -> Verdict | None:
    match row:
        case {
            "test": str(test),
            "passed": bool(passed),
            "at": float(at) | int(at),
            "seconds": float(seconds) | int(seconds),
            "flaky": bool(flaky),
            "findings": list(findings),
        }:
            return Verdict(TestId(test), passed, float(at), float(seconds), flaky, tuple(map(str, findings)))
        case _:
            return None


def _name(number: int) -> str:
    return f"{number:010d}"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:40]
