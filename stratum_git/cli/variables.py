"""The environment of a verb."""

from __future__ import annotations

import os


def environment() -> dict[str, str]:
    """Returns the variables that there are, with a home.

    Services and ``env -i`` have no HOME. Clients and ssh then look it up; without it, files of the user's
    would be sought, and written, in the root folder.
    """
    given = dict(os.environ)
    if not given.get("HOME"):
        import pwd

        try:
            given["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            pass
    return given
