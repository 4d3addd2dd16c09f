"""The plugin of Claude Code as a folder of its own, which is a marketplace too: nothing has to be fetched.

In a checkout the repository is the plugin, and its manifest names where skills and agents lie. Here they lie
where the client looks by itself.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from stratum_git import resources
from stratum_git.install import shipped
from stratum_git.install.bundle import Bundle
from stratum_git.install.program import NAME, Program
from stratum_git.install.refusing import Unusable
from stratum_git.install.shipped import Shipped
from stratum_git.model.ids import Json

MANIFESTS = ".claude-plugin"
README = """\
# stratum-git for Claude Code

Hands many coding tasks to many agents at once, each in a git worktree of its own, and lands one verified
history. This folder was written by `stratum-git install --plugin`. It is a plugin and a marketplace, and it
needs the program `stratum-git` on this machine, which the server and the hooks call.

    claude plugin marketplace add THIS_FOLDER
    claude plugin install stratum@stratum-git

`stratum-git install --plugin THIS_FOLDER` brings it up to date, `stratum-git uninstall --plugin THIS_FOLDER`
removes the folder.
"""


def plugin_bundle(folder: Path, program: Program) -> Bundle:
    """Returns the files of the plugin; raises Unusable where *folder* has other things in it."""
    manifest = folder / MANIFESTS / "stratum-git.json"
    if folder.is_dir() and not manifest.exists() and any(folder.iterdir()):
        raise Unusable("it has other things in it", "name a folder that is new or empty")
    return Bundle(folder, (folder,), manifest, tuple(plugin_files(program)))


def plugin_files(program: Program) -> Iterator[Shipped]:
    """Gives the files of the plugin, by their paths in its folder."""
    yield Shipped(f"{MANIFESTS}/plugin.json", _json(_manifest(program)))
    yield Shipped(
        f"{MANIFESTS}/marketplace.json", (resources.plugin_manifests() / "marketplace.json").read_bytes()
    )
    yield Shipped("README.md", README.encode())
    yield from shipped.files()
    for file in shipped.read_tree(resources.hooks(), "hooks"):
        if not file.name.endswith(".md"):
            yield Shipped(file.name, _called(file.data, program), file.executable)


def _manifest(program: Program) -> dict[str, Json]:
    given: dict[str, Json] = json.loads((resources.plugin_manifests() / "plugin.json").read_bytes())
    own = {key: value for key, value in given.items() if key not in ("skills", "agents")}
    return {**own, "mcpServers": {"stratum": shipped.server(program)}}


def _called(script: bytes, program: Program) -> bytes:
    """Returns a script that calls the program as it is called here."""
    text = script.decode().replace(f"command -v {NAME}", f"command -v {shlex.quote(program.words[0])}")
    return text.replace(f"exec {NAME}", f"exec {program.shell}").encode()


def _json(value: Json) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
