"""Files that are ours as a whole, in a folder that is not: with a list beside them, so that anybody can tell.

Whoever has the folder has the list: also without a record it can be seen which of them were changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum_git import __version__
from stratum_git.install import disk
from stratum_git.install.parts import Part, file_part, manifest_part, read_manifest
from stratum_git.install.record import digest_of
from stratum_git.install.refusing import Unusable
from stratum_git.install.shipped import Shipped


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files below *folder*; *manifest* is their list, *bounds* are the folders that links may lead into."""

    folder: Path
    bounds: tuple[Path, ...]
    manifest: Path
    files: tuple[Shipped, ...]

    def known(self) -> dict[str, str]:
        """Returns the digests of the files that were written, by the list; raises Unusable."""
        try:
            return read_manifest(disk.look(self.manifest, self.bounds).data)
        except Unusable as error:
            raise Unusable(error.why, error.hint, self.manifest) from error

    def parts(self, *, force: bool) -> list[Part]:
        """Returns the list and the files, and those that are shipped no longer; raises Unusable."""
        known = self.known()
        digests = self._digests(known, force=force)
        named = {file.name for file in self.files}
        return [
            manifest_part(self.manifest, __version__, digests),
            *(
                file_part(
                    self.folder / file.name,
                    file.data,
                    known.get(file.name),
                    executable=file.executable,
                    force=force,
                )
                for file in self.files
                if file.name in digests
            ),
            *self._gone({name: known[name] for name in sorted(known.keys() - named)}, force=force),
        ]

    def parts_to_take(self, *, force: bool) -> list[Part]:
        """Returns the files that were written, and the list as the last; raises Unusable."""
        known = self.known()
        return [*self._gone(known, force=force), manifest_part(self.manifest, __version__, known)]

    def _gone(self, known: Mapping[str, str], *, force: bool) -> list[Part]:
        return [
            file_part(self.folder / name, None, digest, executable=False, force=force)
            for name, digest in known.items()
        ]

    def _digests(self, known: Mapping[str, str], *, force: bool) -> dict[str, str]:
        """Returns the list as it is to be: what somebody changed stays known as what it was before that."""
        found: dict[str, str] = {}
        for file in self.files:
            there, was, fresh = self._found(file), known.get(file.name), digest_of(file.data)
            if was is None and there == fresh:
                continue  # It is somebody else's, who has the same.
            is_changed = there not in (None, was, fresh) and was is not None and not force
            found[file.name] = was if is_changed and was is not None else fresh
        return found

    def _found(self, file: Shipped) -> str | None:
        try:
            data = disk.look(self.folder / file.name, self.bounds).data
        except Unusable:
            return None  # Whoever plans says what is the matter with it.
        return None if data is None else digest_of(data)
