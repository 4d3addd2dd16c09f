"""What recording costs, in numbers that do not depend on the machine: files, flushes, processes, bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from stratum_git.git.journalled import keeps_order
from tests.support.repos import ScratchRepo

WORK = """\
import os, sys
from contextlib import ExitStack
from pathlib import Path
from stratum_git.git.repository import open_repository
from tests.bench.state import CROWD, Flow

def told(words):
    flow.journal.log.wait()
    os.write(2, b"MARK " + words + b"\\n")

with ExitStack() as stack:
    flow = Flow(open_repository(Path(sys.argv[1])), "one", 4 * CROWD, stack)
    flow.record(flow.report())
    flow.append(flow.decided(flow.report()))
    one, report, crowd = flow.decided(flow.report()), flow.report(), flow.report(CROWD)
    told(b"event")
    flow.append(one)
    told(b"report")
    flow.record(report)
    told(b"crowd")
    flow.record(crowd)
    told(b"end")
"""
TRACED = "fsync,fdatasync,openat,write,pwrite64,execve,symlink,mkdir,rename"
PACK = 3
"""Flushes of a pack: its two files, and the folder that they are in."""


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """Counts system calls between the marks of the work above."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    place = tmp_path_factory.mktemp("counts")
    repo, trace = ScratchRepo.make(place / "repo"), place / "trace"
    repo.commit("first", {"a.txt": "a\n"})
    asked = [
        "strace",
        "-f",
        "-o",
        str(trace),
        "-e",
        f"trace={TRACED}",
        sys.executable,
        "-c",
        WORK,
        str(repo.path),
    ]
    subprocess.run(asked, check=True, cwd=Path(__file__).parents[2])
    ordered = keeps_order(str(repo.path / ".git"))
    found: dict[str, Counter[str]] = {}
    now: Counter[str] = Counter()
    for line in trace.read_text().splitlines():
        mark = re.search(r'"MARK (\w+)', line)
        if mark is not None:
            now = found.setdefault(mark[1], Counter())
        call = re.match(r"\d+ +(\w+)\(", line)
        if call is not None and mark is None:
            now["sync" if call[1] in {"fsync", "fdatasync"} else call[1]] += 1
            is_made = call[1] == "openat" and "= -1" not in line
            now["created"] += is_made and "O_CREAT" in line
            now["ahead"] += is_made and "O_TMPFILE" in line
            size = re.search(r"\) += (\d+)$", line)
            now["bytes"] += int(size[1]) if call[1] in {"write", "pwrite64"} and size is not None else 0
    for counted in found.values():
        counted["ordered"] = int(ordered)
    return found


def test_an_event_is_five_flushes_three_files_made_ahead_and_no_process(
    counts: dict[str, Counter[str]],
) -> None:
    event = counts["event"]
    # A pack, its index, the value of the ref; and the two folders, of which the last one stands for both
    # where names come to be on the disk in the order in which they were made.
    assert (event["sync"] + event["ordered"], event["created"], event["ahead"], event["execve"]) == (
        PACK + 2,
        0,
        3,
        0,
    )
    assert event["bytes"] < 12_000


def test_a_report_flushes_each_ref_and_its_folder_once(counts: dict[str, Counter[str]]) -> None:
    # The flow, the branch and the lease that follows; the lease that ends is only gone from its folder.
    assert counts["report"]["sync"] == PACK + 3 + 3
    assert counts["report"]["execve"] == 0


def test_reports_that_come_together_are_one_group(counts: dict[str, Counter[str]]) -> None:
    crowd = counts["crowd"]
    # Of each a branch and a lease, and beside these one pack, one flow and three folders for all.
    assert crowd["sync"] == PACK + 1 + 32 + 32 + 3
    assert crowd["execve"] == 0
    assert crowd["bytes"] < 32 * counts["report"]["bytes"]
