"""What an event costs does not grow with the tasks of its flow: counted, in objects and bytes."""

from __future__ import annotations

from itertools import islice

import pytest

from stratum_git.git.objects import ObjectWriter, Signature
from stratum_git.git.repository import Repository
from stratum_git.model.ids import FlowId, Oid
from stratum_git.store.flows import Entry, FlowLog, Stored, load
from tests.support.repos import ScratchRepo
from tests.support.wide import SPEC, flat, opening, reports

FLOW = FlowId("f")
EVENTS = 48
"""More than lie in one file."""


@pytest.fixture
def base(scratch: ScratchRepo) -> Oid:
    return Oid(scratch.git("rev-parse", "HEAD"))


def _written(repo: Repository, base: Oid, count: int) -> tuple[float, float]:
    """Returns objects, and their bytes, for each of some events of a flow with *count* tasks."""
    first, opened = opening(flat(count), base)
    writer = ObjectWriter(repo, durable=False)
    with FlowLog(repo, writer, Signature("x", "x@x", 0.0), SPEC) as log:
        tip: Oid | None = None
        for entry in (first, opened):
            tip = _appended(log, tip, entry)
        begun = tip
        for entry in islice(reports(opened, base), EVENTS):
            tip = _appended(log, tip, entry)
    stored, _ = load(repo, FLOW)
    assert (stored.tip, stored.state) == (tip, entry.after)
    repo.git.run("update-ref", "-d", f"refs/stratum/flows/{FLOW}")
    asked = ("rev-list", "--objects", "--no-object-names", f"{begun}..{tip}")
    made = repo.git.run(*asked).stdout
    sizes = repo.git.run("cat-file", "--batch-check=%(objectsize)", stdin=made).stdout.split()
    return len(sizes) / EVENTS, sum(map(int, sizes)) / EVENTS


def _appended(log: FlowLog, tip: Oid | None, entry: Entry) -> Oid:
    answer = log.append(FLOW, tip, [entry])
    assert isinstance(answer, Stored)
    return answer.tip


def test_an_event_of_three_thousand_tasks_writes_what_one_of_a_hundred_does(
    scratch: ScratchRepo, repo: Repository, base: Oid
) -> None:
    few_objects, few_bytes = _written(repo, base, 100)
    many_objects, many_bytes = _written(repo, base, 3000)
    # One list of files more: they are in folders of 32.
    assert many_objects <= few_objects + 1.1
    assert many_bytes <= 1.4 * few_bytes
