"""The table of what was measured, and the README's part that shows it, with its plots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import plot
from tests.bench.results_file import FOLDER, LATEST, Results
from tests.bench.suite import ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
USUAL = "25000"
"""The repository of which the table tells, where a figure depends on the size."""


@dataclass(frozen=True)
class Row:
    """A line of the table: names of figures of one module.

    ``ours`` and ``beside`` are measured in the unit that their name ends in, ``ratio`` is how many times as
    much ours is. ``words`` says what ``beside`` is.
    """

    what: str
    module: str
    ours: str
    beside: str = ""
    words: str = ""
    ratio: str = ""
    wanted: str = ""


@dataclass(frozen=True)
class Plot:
    """A plot: a title, a unit, and the lines by name, each a figure of a module."""

    file: str
    title: str
    unit: str
    lines: tuple[tuple[str, str, str], ...]


ROWS: tuple[Row, ...] = (
    Row("`stratum-git --help`", "start", "help_ms", "python_ms", "`python -c pass`", "help_ratio", "3"),
    Row(
        "a hook with nothing to do",
        "start",
        "hook_stop_idle_ms",
        "python_ms",
        "the same",
        "hook_stop_idle_ratio",
        "3",
    ),
    Row(
        "`stratum-git query flows`",
        "start",
        "query_flows_ms",
        "python_ms",
        "the same",
        "query_flows_ratio",
        "6",
    ),
    Row("first answer of `stratum-git mcp`", "start", "server_ms", "sdk_ms", "`import mcp`", "server_ratio"),
)
PLOTS: tuple[Plot, ...] = ()


def markdown(results: Results) -> str:
    """Returns the table, and what it was measured on."""
    rows = "".join(_row(results, row) for row in ROWS if _value(results, row.module, row.ours) is not None)
    head = "| what | takes | beside | that is | at most |\n|---|---|---|---|---|\n"
    return f"{head}{rows}\n{_origin(results)}\n"


def plots(results: Results) -> Iterator[tuple[Plot, str]]:
    """Yields each plot for which there are figures, and the document."""
    for one in PLOTS:
        series = {name: results.series(module, figure) for name, module, figure in one.lines}
        if any(len(points) > 1 for points in series.values()):
            yield one, plot.lines(one.title, one.unit, series)


def shown(results: Results) -> str:
    """Returns what stands between the marks in the README."""
    images = [f"![{one.title}](tests/bench/results/{one.file})" for one, _ in plots(results)]
    return "\n\n".join([*images, markdown(results).strip()])


def write_readme(results: Results, readme: Path = README, folder: Path = FOLDER) -> None:
    """Puts table and plots of *results* into the README, and keeps the file that they are made of."""
    results.write(folder / LATEST.name)
    for one, drawn in plots(results):
        (folder / one.file).write_text(drawn, encoding="utf-8")
    text = readme.read_text(encoding="utf-8")
    readme.write_text(with_part(text, shown(results)), encoding="utf-8")


def with_part(text: str, part: str) -> str:
    """Returns the README's text with *part* between the marks; raises ValueError where they are missing."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are not in the text")
    return f"{head}{BEGIN}\n{part}\n{END}{tail}"


def _row(results: Results, row: Row) -> str:
    ours = _written(results, row.module, row.ours)
    beside = _written(results, row.module, row.beside)
    ratio = _value(results, row.module, row.ratio)
    cells = (
        row.what,
        ours,
        f"{row.words} {beside}".strip(),
        "" if ratio is None else times(ratio),
        f"{row.wanted} x" if row.wanted else "",
    )
    return f"| {' | '.join(cells)} |\n"


def times(ratio: float) -> str:
    """Returns a ratio in words: how many times as much, or as little."""
    return f"{plot.written(ratio)} x" if ratio >= 0.1 else f"1/{plot.written(1 / ratio)}"


def _written(results: Results, module: str, name: str) -> str:
    value = _value(results, module, name)
    return "" if value is None else plot.written(value, _unit(name))


def _unit(name: str) -> str:
    known = {"ms": "ms", "s": "s", "mib": "MiB", "bytes": "bytes"}
    return known.get(name.rpartition("_")[2], "")


def _value(results: Results, module: str, name: str) -> float | None:
    usual = results.figure(module, name, USUAL)
    return results.figure(module, name) if usual is None else usual


def _origin(results: Results) -> str:
    machine, disk = results.machine, results.machine["disk"]
    journal = {True: " with a journal", False: " without a journal", None: ""}[disk["journal"]]
    where = ", in a file" if results.disk_in_file else ""
    return (
        f"{machine['processors']} x {machine['processor']}, {machine['system']}, "
        f"{disk['kind']}{journal}{where}, git {machine['git']}, Python {machine['python']}, "
        f"{results.taken[:10]}{', the short way' if results.quick else ''}."
    )
