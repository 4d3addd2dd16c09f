"""The plan of the house, enforced: who may import whom, what is pure, how large a room may be."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "stratum_git"

FLOORS = {
    "errors": 0,
    "model": 0,
    "core": 1,
    "spawn": 1,
    "git": 2,
    "agents": 2,
    "fakes": 2,
    "resources": 2,
    "store": 3,
    "slots": 3,
    "install": 3,
    "dispatch": 4,
    "app": 5,
    "server": 6,
    "cli": 7,
}
PURE = {"errors", "model", "core"}
IMPURE_STDLIB = {
    "asyncio", "datetime", "io", "multiprocessing", "os", "random", "secrets", "shutil",
    "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
PURE_LIBRARIES = {"jsonschema", "referencing", "regex", "yaml", "stratum_git"}
LATE = {
    "agents/api.py",
    "cli/answering.py",
    "cli/main.py",
    "cli/program.py",
    "cli/variables.py",
    "cli/reading.py",
    "cli/querying.py",
    "cli/telling.py",
    "cli/progress.py",
    "dispatch/judge.py",
    "core/verdicts.py",
}
FAKES = {"fakes.claude", "fakes.codex", "fakes.opencode"}
MAX_LINES = 400
MAX_FUNCTION = 50


@cache
def modules() -> dict[str, Path]:
    return {
        ".".join(p.relative_to(ROOT).with_suffix("").parts): p
        for p in sorted(ROOT.rglob("*.py"))
        if p.name not in {"__init__.py", "__main__.py"}
    }


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def imports(path: Path) -> set[str]:
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the absolute import"
            found |= {f"{node.module}.{a.name}" for a in node.names}
    return found


def ours(path: Path, known: set[str]) -> set[str]:
    out = set()
    for name in imports(path):
        dotted = name.removeprefix("stratum_git.")
        if dotted != name:
            out |= {m for m in known if dotted == m or dotted.startswith(m + ".")}
    return out


def test_imports_only_look_down() -> None:
    known = set(modules())
    for name, path in modules().items():
        here = name.partition(".")[0]
        for other in ours(path, known):
            there = other.partition(".")[0]
            assert there == here or FLOORS[there] < FLOORS[here], f"{name} imports {other}"


def test_the_lower_floors_touch_nothing_outside() -> None:
    for name, path in modules().items():
        if name.partition(".")[0] in PURE:
            tops = {i.partition(".")[0] for i in imports(path)}
            assert not tops & IMPURE_STDLIB, name
            assert tops - set(sys.stdlib_module_names) <= PURE_LIBRARIES, name


def test_there_are_no_import_cycles() -> None:
    known = set(modules())
    list(TopologicalSorter({n: ours(p, known) for n, p in modules().items()}).static_order())


def test_every_module_fits_in_one_head() -> None:
    sizes = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: lines for name, lines in sizes.items() if lines > MAX_LINES} == {}


def test_every_function_fits_in_one_head() -> None:
    for name, path in modules().items():
        for node in functions(path):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, f"{name}.{node.name}"


def test_only_the_command_line_imports_late() -> None:
    for name, path in modules().items():
        if path.relative_to(ROOT).as_posix() in LATE or path.name == "tether.py":
            continue
        for node in functions(path):
            late = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not late, f"{name}.{node.name} imports late"


def test_only_one_module_starts_git() -> None:
    for name, path in modules().items():
        names = {i.partition(".")[0] for i in imports(path)}
        if "subprocess" in names:
            may = {
                "git.process",
                "agents.brief",
                "agents.holder",
                "spawn.client",
                "spawn.detach",
                "spawn.visit",
                *FAKES,
            }
            assert name in may, name
