"""What a skill's file says: its front matter, the words for the client, the specs in them.

A skill is Markdown with a YAML head between two lines ``---``. ``$ARGUMENTS`` stands for what it is called
with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stratum_git.core.yaml_nodes import plain, read_yaml

HEAD = re.compile(r"\A---\n(?P<head>.*?)^---\n(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
SPEC = re.compile(r"^```yaml\n(?P<spec>.*?)^```$", re.DOTALL | re.MULTILINE)
ARGUMENTS = "$ARGUMENTS"


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill by the name of its folder; ``facts`` are the texts of its head."""

    name: str
    facts: Mapping[str, str]
    body: str

    @property
    def description(self) -> str:
        """Returns when it is to be used."""
        return self.facts.get("description", "")

    @property
    def specs(self) -> tuple[str, ...]:
        """Returns the specs that it shows, as they stand there."""
        return tuple(found["spec"] for found in SPEC.finditer(self.body))

    def words(self, arguments: str) -> str:
        """Returns what the client is told when somebody calls it with *arguments*."""
        return self.body.strip().replace(ARGUMENTS, arguments) + "\n"


def read_skill(name: str, text: str) -> Skill:
    """Returns the skill of a file's *text*. A file without a head is one that says nothing of itself."""
    found = HEAD.match(text)
    if found is None:
        return Skill(name, {}, text)
    root = read_yaml(found["head"]).root
    head = None if root is None else plain(root)
    rows = head.items() if isinstance(head, dict) else ()
    return Skill(name, {key: value for key, value in rows if isinstance(value, str)}, found["body"])
