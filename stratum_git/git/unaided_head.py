"""The commit that a checkout is at, read as ``unaided.py`` reads refs; Undecided where it is not certain."""

from __future__ import annotations

import os

from stratum_git.git.ref_files import is_oid
from stratum_git.git.unaided import unaided
from stratum_git.git.whereabouts import Checkout, Undecided

COMMIT = 1024 * 1024
"""Bytes of a commit."""


def head_at(checkout: Checkout, place: str) -> str:
    """Returns the commit of HEAD in the checkout around *place*; raises Undecided."""
    there = unaided(checkout, place)
    try:
        with open(os.path.join(checkout.git_dir, "HEAD"), "rb") as file:
            said = file.read(COMMIT).removesuffix(b"\n")
    except OSError as error:
        raise Undecided(str(error)) from error
    name = said.removeprefix(b"ref: ").decode("utf-8", "replace")
    found: str | None = name if is_oid(said) else None
    if said.startswith(b"ref: refs/heads/") and name.isascii():
        found = there.ref(name)
    if found is None:
        raise Undecided("HEAD is no plain one, or has no commit")
    # Raises where it is none.
    there.tree(found, COMMIT)
    there.close()
    return found
