"""Real repositories for tests, made with git itself and not with the code under test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ScratchRepo:
    """A repository with a checkout at ``path``."""

    path: Path

    @staticmethod
    def make(path: Path, *options: str) -> ScratchRepo:
        path.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", "-b", "main", *options, str(path)], check=True)
        return ScratchRepo(path)

    def git(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(["git", *args], cwd=self.path, capture_output=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"git {' '.join(args)}: {os.fsdecode(done.stderr)}")
        return os.fsdecode(done.stdout).strip()

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def commit(self, message: str, files: Mapping[str, str | bytes] | None = None) -> str:
        for name, content in (files or {}).items():
            self.write(name, content)
        self.git("add", "-A")
        self.git("-c", "commit.gpgsign=false", "commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def show(self, what: str) -> str:
        return self.git("show", what)

    def files(self, treeish: str = "HEAD") -> list[str]:
        return self.git("ls-tree", "-r", "--name-only", treeish).splitlines()
