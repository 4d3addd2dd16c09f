"""What is shipped for clients agrees with itself: the plugin's manifest, the skills, the hooks."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from stratum_git import __version__, resources
from stratum_git.install import shipped
from stratum_git.install.hook_groups import OWN
from stratum_git.install.plugin import plugin_files
from stratum_git.install.program import Program

ROOT = Path(__file__).parents[2]
BARE = Program(("stratum-git",))
ELSEWHERE = Program(("/a b/python", "-P", "-m", "stratum_git"))


def test_the_manifest_of_the_plugin_is_that_of_this_version() -> None:
    manifest = json.loads((resources.plugin_manifests() / "plugin.json").read_bytes())
    market = json.loads((resources.plugin_manifests() / "marketplace.json").read_bytes())
    assert manifest["version"] == __version__
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert [plugin["name"] for plugin in market["plugins"]] == [manifest["name"]]
    assert market["plugins"][0]["description"] == manifest["description"]
    agents = sorted(path.relative_to(ROOT).as_posix() for path in (resources.plugin() / "agents").iterdir())
    assert manifest["agents"] == [f"./{path}" for path in agents]
    assert (ROOT / manifest["skills"]).samefile(resources.plugin() / "skills")
    assert manifest["mcpServers"] == {"stratum": shipped.server(BARE)}


def test_every_hook_has_a_script_and_every_script_a_hook() -> None:
    names = {hook.name for hook in shipped.hooks(BARE)}
    scripts = {path.name for path in resources.hooks().iterdir() if not path.suffix}
    assert names == scripts
    assert all(os.access(resources.hooks() / name, os.X_OK) for name in names)


def test_hooks_in_settings_are_known_as_ours_whichever_way_they_are_called() -> None:
    for program in (BARE, ELSEWHERE, Program(("/a b/stratum-git",))):
        for hook in shipped.hooks(program):
            command = str(hook.entry["command"])
            found = OWN.search(command)
            assert found is not None
            assert found[1] == hook.name
            assert command.endswith(f"{program.shell} hook {hook.name}")
            assert ("|| exit 0" in command) == (hook.event != "WorktreeCreate")
    assert not OWN.search("stratum-git mcp")
    assert not OWN.search("not-stratum-git hook stop")


def test_a_plugin_calls_the_program_as_it_is_called_here() -> None:
    files = {file.name: file for file in plugin_files(ELSEWHERE)}
    assert "exec '/a b/python' -P -m stratum_git hook stop\n" in files["hooks/stop"].data.decode()
    assert "command -v '/a b/python' >" in files["hooks/stop"].data.decode()
    assert files["hooks/stop"].executable
    assert (
        json.loads(files[".claude-plugin/plugin.json"].data)["mcpServers"]["stratum"]["command"]
        == "/a b/python"
    )
    bare = {file.name: file.data for file in plugin_files(BARE)}
    assert bare["hooks/stop"] == (resources.hooks() / "stop").read_bytes()
    assert {"skills/stratum-plan/SKILL.md", "agents/stratum-worker.md", "hooks/hooks.json"} <= bare.keys()


def test_the_words_name_skills_and_tools_that_there_are() -> None:
    words = shipped.words()
    skills = {path.name for path in (resources.plugin() / "skills").iterdir()}
    assert set(re.findall(r"`/(stratum-[a-z]+)`", words)) <= skills
    tools = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`(stratum_[a-z_]+)`", words))
    assert named
    assert all(f"`{tool}`" in tools for tool in named)
    assert len(words.splitlines()) < 25
