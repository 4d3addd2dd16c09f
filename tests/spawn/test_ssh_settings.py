"""What ssh's system-wide settings include is the user's own in his namespace, since nobody is root there."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.commoner import commoner

SHOWN = """
import json, os, sys
from pathlib import Path
from stratum_git.spawn import namespace
from stratum_git.spawn.ssh_settings import included, show_as_own
top = Path(sys.argv[1])
before = sorted(str(path) for path in included(top))
namespace.enter()
strange = [Path(name).stat().st_uid == os.getuid() for name in before]
show_as_own(included(top), namespace._mount, namespace._unmount)
own = [Path(name).stat().st_uid == os.getuid() for name in before]
print(json.dumps([before, strange, own, [Path(name).read_text() for name in before]]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files that are another user's")
def test_settings_that_are_included_are_shown_as_own() -> None:
    with commoner() as user:
        place = user.home.parent / "ssh"
        (place / "more").mkdir(parents=True)
        top = place / "ssh_config"
        top.write_text('Host *\n  Include more/*.conf\ninclude "absent"\n')
        (place / "last").write_text("Include more/a.conf\n")
        (place / "more/a.conf").write_text("Include last\n")
        (place / "more/b.conf").symlink_to(place / "far")
        (place / "far").write_text("Port 77\n")
        found = json.loads(user.script(SHOWN, str(top)).out)
        names = [str(place / name) for name in ("far", "last", "more/a.conf")]
        texts = ["Port 77\n", "Include more/a.conf\n", "Include last\n"]
        assert found == [names, [False] * 3, [True] * 3, texts]
        assert (place / "far").stat().st_uid == 0
