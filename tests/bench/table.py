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

    ``ours`` and ``beside`` are measured in the unit that their name ends in; ``words`` says what ``beside``
    is. ``ratio`` is how many times as much ours is, or as little, where ``ratio`` starts with a slash.
    ``wanted`` is what it is to be at most.
    """

    what: str
    module: str
    ours: str
    words: str = ""
    beside: str = ""
    ratio: str = ""
    wanted: str = ""


@dataclass(frozen=True)
class Plot:
    """A plot: a title, a unit, and the lines by name, each a figure of a module."""

    file: str
    title: str
    unit: str
    lines: tuple[tuple[str, str, str], ...]


ADD, PLAIN, BARE = "`git worktree add`", "plain git", "`python -c pass`"
ROWS: tuple[Row, ...] = (
    Row(
        "a slot, overlay",
        "leases",
        "lease_overlay_ms",
        ADD,
        "add_git_ms",
        "/lease_overlay_ratio",
        "10 ms, 1/100",
    ),
    Row("a slot, warm pool", "leases", "lease_warm_ms", ADD, "add_git_ms", "/lease_warm_ratio", "0.3 x"),
    Row("a slot, cold", "leases", "lease_cold_ms", ADD, "add_git_ms", "/lease_cold_ratio", "1.05 x"),
    Row("its release, overlay", "leases", "release_overlay_ms", "a rename", "rename_ms"),
    Row("git work of a task", "task", "task_ms", PLAIN, "plain_task_ms", "task_ratio", "25 ms, 1/100"),
    Row(
        "5 changes captured, overlay",
        "capture",
        "capture_overlay_ms",
        "`git add` and `write-tree`",
        "capture_git_add_warm_ms",
        "",
        "15 ms",
    ),
    Row(
        "5 changes captured, elsewhere",
        "capture",
        "capture_plain_warm_ms",
        "`git status`",
        "capture_status_warm_ms",
        "capture_plain_warm_to_status_ratio",
        "1.3 x",
    ),
    Row(
        "the same, never looked at before",
        "capture",
        "capture_plain_fresh_ms",
        "`git status`",
        "capture_status_fresh_ms",
        "capture_plain_fresh_to_status_ratio",
        "1.3 x",
    ),
    Row(
        "an event on the disk",
        "state",
        "transition_ms",
        "a new file on the disk",
        "file_ms",
        "transition_per_file",
        "6 x",
    ),
    Row("32 events at once", "state", "together_32_ms", "one by one", "alone_32_ms", "/together_rate", "1/3"),
    Row(
        "32 calls of a server at once, workers' reports",
        "answers",
        "complete_32_together_ms",
        "one by one",
        "complete_32_alone_ms",
        "/complete_rate",
        "1/3",
    ),
    Row(
        "32 calls of a server at once, of 32 flows",
        "answers",
        "step_32_together_ms",
        "one by one",
        "step_32_alone_ms",
        "/step_rate",
        "1/3",
    ),
    Row(
        "a result landed, of 50",
        "landing",
        "landing_per_result_ms",
        "`git merge` in a checkout",
        "git_merge_per_result_ms",
        "/landing_ratio",
        "10 ms, 1/15",
    ),
    Row(
        "an empty task, of 10,000",
        "scheduling",
        "noop_10000_task_ms",
        "of 100",
        "noop_100_task_ms",
        "noop_task_ms_growth_ratio",
        "1.3 x",
    ),
    Row("memory with 10,000 tasks", "scheduling", "noop_10000_peak_mib", wanted="200 MiB"),
    Row("lag with 64 processes, p99", "scheduling", "lag_run_p99_ms", "idle", "lag_idle_p99_ms", "", "20 ms"),
    Row(
        "a task of a run, agent included",
        "fan_out",
        "ours_task_ms",
        "shell loop",
        "loop_task_ms",
        "ours_loop_ratio",
    ),
    Row("the same", "fan_out", "ours_task_ms", "GNU parallel", "parallel_task_ms", "ours_parallel_ratio"),
    Row("the same", "fan_out", "ours_task_ms", "`xargs -P`", "xargs_task_ms", "ours_xargs_ratio"),
    Row(
        "the same",
        "fan_out",
        "ours_task_ms",
        "stratum-mcp 0.2.114",
        "stratum_mcp_task_ms",
        "ours_stratum_mcp_ratio",
    ),
    Row("`stratum-git --help`", "start", "help_ms", BARE, "python_ms", "help_ratio", "3 x"),
    Row(
        "a hook, nothing to say",
        "start",
        "hook_stop_idle_ms",
        BARE,
        "python_ms",
        "hook_stop_idle_ratio",
        "3 x",
    ),
    Row(
        "a hook before a command",
        "start",
        "hook_pre_tool_use_idle_ms",
        BARE,
        "python_ms",
        "hook_pre_tool_use_idle_ratio",
        "3 x",
    ),
    Row(
        "`stratum-git query flows`", "start", "query_flows_ms", BARE, "python_ms", "query_flows_ratio", "6 x"
    ),
    Row(
        "a hook as a session begins",
        "start",
        "hook_session_start_busy_ms",
        BARE,
        "python_ms",
        "hook_session_start_busy_ratio",
        "3 x",
    ),
    Row(
        "a hook after a spec was written",
        "start",
        "hook_post_tool_use_busy_ms",
        BARE,
        "python_ms",
        "hook_post_tool_use_busy_ratio",
        "3 x",
    ),
    Row(
        "a hook as a subagent ends that changed nothing",
        "start",
        "hook_subagent_stop_busy_ms",
        BARE,
        "python_ms",
        "hook_subagent_stop_busy_ratio",
        "3 x",
    ),
    Row(
        "a hook as a subagent ends that changed something",
        "start",
        "hook_subagent_stop_changed_ms",
        BARE,
        "python_ms",
        "hook_subagent_stop_changed_ratio",
        "3 x",
    ),
    Row(
        "a hook that makes a worktree out of an idle slot",
        "start",
        "hook_worktree_create_warm_ms",
        BARE,
        "python_ms",
        "hook_worktree_create_warm_ratio",
        "3 x",
    ),
    Row(
        "a hook that takes a worktree back, untouched",
        "start",
        "hook_worktree_remove_untouched_ms",
        BARE,
        "python_ms",
        "hook_worktree_remove_untouched_ratio",
        "3 x",
    ),
    Row(
        "`stratum-git query flow`",
        "start",
        "query_flow_ms",
        BARE,
        "python_ms",
        "query_flow_ratio",
        "6 x",
    ),
    Row(
        "`stratum-git query flow` that nobody has told yet",
        "start",
        "query_flow_untold_ms",
        BARE,
        "python_ms",
        "query_flow_untold_ratio",
        "6 x",
    ),
    Row(
        "`stratum-git mcp` answers",
        "start",
        "server_ms",
        "`import mcp`",
        "sdk_ms",
        "server_ratio",
        "+ 200 ms",
    ),
)
PLOTS: tuple[Plot, ...] = (
    Plot(
        "slots.svg",
        "A slot for a task",
        "ms",
        (
            ("git worktree add", "leases", "add_git_ms"),
            ("cold", "leases", "lease_cold_ms"),
            ("warm pool", "leases", "lease_warm_ms"),
            ("overlay", "leases", "lease_overlay_ms"),
        ),
    ),
    Plot(
        "task.svg",
        "The git work of one task, end to end",
        "ms",
        (("plain git", "task", "plain_task_ms"), ("stratum-git", "task", "task_ms")),
    ),
    Plot(
        "run.svg",
        "A task of a run, agent included, eight at a time",
        "ms",
        (
            ("stratum-mcp", "fan_out", "stratum_mcp_task_ms"),
            ("shell loop", "fan_out", "loop_task_ms"),
            ("GNU parallel", "fan_out", "parallel_task_ms"),
            ("xargs -P", "fan_out", "xargs_task_ms"),
            ("stratum-git", "fan_out", "ours_task_ms"),
        ),
    ),
)


def markdown(results: Results) -> str:
    """Returns the table, and what it was measured on; what was not measured is left out."""
    rows = "".join(_row(results, row) for row in ROWS if _value(results, row.module, row.ours) is not None)
    head = "| what | takes | beside | that is | to be at most |\n|---|---|---|---|---|\n"
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
    beside = _written(results, row.module, row.beside)
    if row.beside and not beside:
        return ""
    ratio = _value(results, row.module, row.ratio.removeprefix("/"))
    if ratio is not None and row.ratio.startswith("/"):
        ratio = 1 / ratio
    cells = (
        row.what,
        _written(results, row.module, row.ours),
        f"{row.words} {beside}".strip(),
        "" if ratio is None else times(ratio),
        row.wanted,
    )
    return f"| {' | '.join(cells)} |\n"


def times(ratio: float) -> str:
    """Returns a ratio in words: how many times as much, or as little."""
    return f"{plot.written(ratio)} x" if ratio >= 0.2 else f"1/{plot.written(1 / ratio)}"


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
    of = f" at {int(USUAL):,} files" if USUAL in results.repositories else ""
    busy = results.machine["load"][0] > results.machine["processors"]
    load = f"; the machine was busy with other things, load {results.machine['load'][0]:.0f}" if busy else ""
    return (
        f"Medians{of}. {machine['processors']} x {machine['processor']}, {machine['system']}, "
        f"{disk['kind']}{journal}{where}, git {machine['git']}, Python {machine['python']}, "
        f"{results.taken[:10]}{', the short way' if results.quick else ''}{load}."
    )
