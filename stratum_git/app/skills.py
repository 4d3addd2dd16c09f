"""The skills that are shipped: read when somebody wants them, and not before."""

from __future__ import annotations

from pathlib import Path

from stratum_git.core.skill import Skill, read_skill
from stratum_git.resources import PACKAGE

SKILLS = PACKAGE / "plugin" / "skills"
FILE = "SKILL.md"


def skill_files() -> tuple[Path, ...]:
    """Returns the files of the skills, by name."""
    return tuple(sorted(SKILLS.glob(f"*/{FILE}")))


def shipped_skills() -> tuple[Skill, ...]:
    """Returns all skills, by name."""
    return tuple(read_skill(path.parent.name, path.read_text()) for path in skill_files())


def shipped_skill(name: str) -> Skill:
    """Returns the skill with that *name*, which there is."""
    return read_skill(name, (SKILLS / name / FILE).read_text())
