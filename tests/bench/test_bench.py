"""What the README shows is what was measured; the repositories are the same ones everywhere."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path

import pytest

from tests.bench import machine, plot, repositories, suite, table
from tests.bench.results_file import FOLDER, LATEST, Results
from tests.bench.rounds import Samples, Took, alternate

LIGHT, DARK = "#ffffff", "#0d1117"


def test_the_readme_shows_the_figures_that_are_kept() -> None:
    results = Results.read(LATEST)
    text = table.README.read_text(encoding="utf-8")
    assert table.with_part(text, table.shown(results)) == text, "scripts/bench --show puts them there"
    for one, drawn in table.plots(results):
        assert (FOLDER / one.file).read_text(encoding="utf-8") == drawn


def test_results_are_kept_whole_and_those_of_another_schema_are_refused(tmp_path: Path) -> None:
    kept = Results.read(LATEST)
    kept.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == LATEST.read_bytes()
    (tmp_path / "old.json").write_text(json.dumps({"schema": 0}))
    with pytest.raises(ValueError, match="another schema"):
        Results.read(tmp_path / "old.json")


def test_a_figure_is_of_the_repository_asked_for_else_the_last() -> None:
    rows = [
        {"module": "m", "repository": "250", "seconds": 1, "figures": {"a_ms": 2.0}},
        {"module": "m", "repository": "5000", "seconds": 1, "figures": {"a_ms": {"median": 3.0}, "b": "x"}},
    ]
    shape = {"250": {"files": 250}, "5000": {"files": 5000}}
    results = Results("2026", quick=True, rounds=1, machine={}, repositories=shape, measured=rows)
    assert (results.figure("m", "a_ms", "250"), results.figure("m", "a_ms")) == (2.0, 3.0)
    assert (results.figure("m", "b"), results.figure("n", "a_ms")) == (None, None)
    assert results.series("m", "a_ms") == [(250, 2.0), (5000, 3.0)]


def test_ratios_are_of_what_was_run_in_the_same_round() -> None:
    samples = Samples({"a": [Took(1), Took(9), Took(2)], "b": [Took(2), Took(3), Took(4)]})
    assert samples.ratio("a", "b") == 0.5
    assert samples.median_ms("a") == 2000


def test_every_round_runs_each_way_once_in_some_order() -> None:
    ran: list[str] = []
    ways = {name: (lambda name=name: ran.append(name)) for name in "abc"}
    samples = alternate(ways, 4, warm=1)
    rounds = [ran[start : start + 3] for start in range(0, len(ran), 3)]
    assert [sorted(one) for one in rounds] == [list("abc")] * 5
    assert len({tuple(one) for one in rounds}) > 1
    assert {name: len(took) for name, took in samples.of.items()} == {"a": 4, "b": 4, "c": 4}


def test_the_repository_of_a_size_is_the_same_everywhere() -> None:
    told = b"".join(repositories.stream(250))
    assert hashlib.sha256(told).hexdigest()[:16] == "b4897cdc700baa05"
    assert told.count(b"commit refs/heads/main\n") == repositories.LATER + 1
    for part in (b"M 120000 ", b"M 100755 ", b" .gitattributes\n", b" .gitignore\n", b"\x89PNG"):
        assert part in told


def test_what_measures_is_found_without_loading_it() -> None:
    assert {"start", "task", "fan_out"} <= set(suite.modules())
    assert suite.sizes("start") == (250,)
    assert suite.sizes("task") is None


def test_nothing_of_a_machine_is_told_that_names_it() -> None:
    told = json.dumps(machine.described(Path.cwd()))
    for name in (platform.node(), str(Path.home()), str(Path.cwd())):
        assert name not in told
    assert platform.node() not in LATEST.read_text()


@pytest.mark.parametrize("page", [LIGHT, DARK])
def test_plots_can_be_read_on_either_page(page: str) -> None:
    assert contrast(plot.INK, page) > 4
    assert all(contrast(colour, page) > 3 for colour in plot.SERIES)


def test_names_of_lines_that_end_at_the_same_place_do_not_lie_on_each_other() -> None:
    drawn = plot.lines("T", "ms", {"a": [(250, 1), (5000, 10)], "b": [(250, 2), (5000, 10.1)]})
    rows = [row for row in drawn.splitlines() if "font-weight" in row and 'fill="#72' not in row]
    heights = sorted(float(row.split('y="')[1].split('"')[0]) for row in rows)
    assert heights[1] - heights[0] >= plot.GAP


def contrast(one: str, other: str) -> float:
    """Returns how much two colours differ, as the guidelines for web content have it."""
    low, high = sorted(map(light, (one, other)))
    return (high + 0.05) / (low + 0.05)


def light(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
