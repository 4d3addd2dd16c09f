"""Has git pack refs when many of ours have files of their own: every git that lists refs opens each of those.

Git packs all refs or none, as its ``gc`` does now and then; what they are at does not change. Whoever finds a
lock of somebody else's leaves it to the next.
"""

from __future__ import annotations

from stratum_git.git.flushing import flush
from stratum_git.git.process import GitFailed
from stratum_git.git.ref_files import loose_count
from stratum_git.git.repository import Repository
from stratum_git.git.stale_locks import taking

CONFIG = ("core.fsync=reference", "core.packedRefsTimeout=100")
MANY = 128
"""Refs with files of their own from which on they are packed."""


def pack_refs_if_many(repo: Repository, prefix: str) -> bool:
    """Packs all refs if there are many right below *prefix*; returns whether it did."""
    if (repo.common_dir / "reftable").exists() or loose_count(str(repo.common_dir), prefix) < MANY:
        return False
    try:
        with taking(repo.common_dir, [repo.common_dir / "packed-refs.lock"]):
            # Once more when that has its name on the disk: only then the files of their own may go.
            for how in ("--no-prune", "--prune"):
                repo.git.run("pack-refs", "--all", how, config=CONFIG, gently=True)
                flush([repo.common_dir])
    except GitFailed:
        return False
    return True
