"""A program that takes slots as another process would: says what it got, and holds it until its input ends.

Arguments: the repository, the state folder, then `hold`, `release` or `recover`, and how many.
"""

import json
import os
import sys
from pathlib import Path

from stratum_git.git.repository import head_of, open_repository
from stratum_git.slots.folders import state_folders
from stratum_git.slots.pool import SlotPool
from tests.slots.tenancy import take

if __name__ == "__main__":
    where, state, what, count = sys.argv[1:]
    repo = open_repository(Path(where))
    pool = SlotPool(repo, state_folders(repo, Path(state)))
    if what == "recover":
        print("ready", flush=True)
        sys.stdin.readline()
        slots = pool.recover("flow")
    else:
        slots = tuple(take(pool, head_of(repo).oid, f"{what}-{os.getpid()}-{n}") for n in range(int(count)))
    for slot in slots:
        (slot.path / "work.txt").write_text("unsaved work\n")
    if what == "release":
        for slot in slots:
            pool.release(slot)
    print(json.dumps([str(slot.path) for slot in slots]), flush=True)
    sys.stdin.read()
