"""Recovers what was left in overlay slots, and says where and how; started without the right to mount."""

import sys
from pathlib import Path

from stratum_git.git.repository import open_repository
from stratum_git.slots.folders import StateFolders
from tests.slots.laid import Ground


def main() -> None:
    ground = Ground(open_repository(Path(sys.argv[1])), StateFolders(Path(sys.argv[2])), is_private=True)
    with ground.trees:
        for slot in ground.pool.recover("flow"):
            print(slot.path, slot.layer)


main()
