"""The signed repository as the page uses it: what the doors run now, and the next release."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import Signer

from edge.access.policy import Policy
from edge.access.policy_file import parse_policy
from edge.core.config import MqttConfig
from edge.updates.release_format import GALLERY, POLICY
from threshold_tools.enroll.gallery_builder import thresholds_of
from threshold_tools.release.publish import add_release, publish_release
from threshold_tools.release.repository import Repository


@dataclass(frozen=True, slots=True, eq=False)
class GalleryPublisher:
    """The way to the doors.

    Attributes:
        path: of the signed repository.
        signers: its keys at hand, by key id.
        mqtt: the broker.
        site: of the doors.
    """

    path: Path
    signers: Mapping[str, Signer]
    mqtt: MqttConfig
    site: str

    @property
    def newest_release(self) -> int:
        """Number of the newest release; 0: none."""
        return max(Repository(self.path, {}).numbers(), default=0)

    @property
    def command(self) -> str:
        """The command that publishes the newest release again."""
        return f"tools/sync.py publish {self.path} --broker {self.mqtt.url} --site {self.site}"

    def publish(self, gallery: Path) -> str:
        """Sign and publish a gallery with whatever else the newest release holds; returns what to tell.

        Raises:
            ThresholdError: it cannot be signed, or the broker does not take it.
        """
        repository = Repository(self.path, self.signers)
        with repository.locked():
            return publish_release(repository, add_release(repository, gallery=gallery), self.mqtt, self.site)

    def thresholds_sq(self, embedder_sha256: str) -> dict[str, float]:
        """Thresholds of the newest release by person id, squared distances (lower is stricter).

        Empty before the first release, and where its gallery is of another embedder: those distances are no measure
        for this one.

        Raises:
            ThresholdError: the repository is damaged.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = self._file(GALLERY, Path(folder), embedder_sha256)
            if path is None:
                return {}
            return thresholds_of(path, embedder_sha256)

    def doors_of(self, person: str) -> tuple[list[str], list[str]] | None:
        """By the access rules of the newest release: the doors with a rule for this person, and those without.

        Doors are named as in the policy, names or patterns. None: the release holds no rules, door.toml decides.

        Raises:
            ThresholdError: the repository is damaged.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = self._file(POLICY, Path(folder))
            if path is None:
                return None
            rules = parse_policy(path)
        doors = [name for name, _ in rules.doors]
        allowed = [door for door in doors if Policy(rules, door).names(person)]
        return allowed, [door for door in doors if door not in allowed]

    def _file(self, name: str, folder: Path, embedder_sha256: str = "") -> Path | None:
        """A file of the newest release, written into a folder; None where there is none, or of another embedder."""
        repository = Repository(self.path, {})
        newest = repository.newest()
        entry = newest.file(name) if newest is not None else None
        if newest is None or entry is None or embedder_sha256 not in ("", newest.embedder_sha256):
            return None
        path = folder / "file"
        path.write_bytes(repository.content(entry))
        return path
