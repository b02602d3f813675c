"""Publishes galleries from the page, and describes their thresholds and access rules."""

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

_MAX_LINES = 10  # people whose threshold becomes stricter


@dataclass(frozen=True, slots=True, eq=False)
class GalleryPublisher:
    """Publishes galleries to the doors of a site."""

    path: Path  # signed repository
    signers: Mapping[str, Signer]  # its available keys, by key id
    mqtt: MqttConfig  # broker
    site: str  # site of the doors

    @property
    def newest_release(self) -> int:
        """Number of the newest release; 0: none."""
        return max(Repository(self.path, {}).numbers(), default=0)

    @property
    def command(self) -> str:
        """The command that publishes the newest release again."""
        return f"threshold sync publish {self.path} --broker {self.mqtt.url} --site {self.site}"

    def publish(self, gallery: Path) -> str:
        """Sign and publish a gallery with the other files of the newest release; returns a summary for people.

        Raises:
            ThresholdError: it cannot be signed, or the broker cannot be reached or rejects it.
        """
        repository = Repository(self.path, self.signers)
        with repository.locked():
            return publish_release(repository, add_release(repository, gallery=gallery), self.mqtt, self.site)

    def thresholds_sq(self, embedder_sha256: str) -> dict[str, float]:
        """Thresholds of the newest release by person id, squared distances (lower is stricter).

        Empty before the first release, and if its gallery is of another embedder, whose distances are not comparable.

        Raises:
            ThresholdError: the repository is damaged.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = self._file(GALLERY, Path(folder), embedder_sha256)
            return thresholds_of(path, embedder_sha256) if path else {}

    def describe_access(self, person: str) -> tuple[str, str]:
        """The doors with a rule for this person in the newest release, and a warning if there is none.

        Both are sentences; one of them is "". Doors are names or patterns, as in the policy.

        Raises:
            ThresholdError: the repository is damaged.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = self._file(POLICY, Path(folder))
            if path is None:
                return "access rules: those in the door.toml of each door, because the release has none", ""
            rules = parse_policy(path)
        doors = [name for name, _ in rules.doors]
        allowed = [door for door in doors if Policy(rules, door).names(person)]
        if not allowed:
            return "", (
                f"No access rule lets {person} in at any door, so every door will deny {person}. "
                f"Add {person} to a rule or a group of policy.toml and publish it."
            )
        denied = [door for door in doors if door not in allowed]
        without = f"; none at {', '.join(denied)}" if denied else ""
        return f"access rules for {person}: {', '.join(allowed)}{without}", ""

    def _file(self, name: str, folder: Path, embedder_sha256: str = "") -> Path | None:
        """Write a file of the newest release into a folder; None if it has none, or is of another embedder."""
        repository = Repository(self.path, {})
        newest = repository.newest()
        entry = newest.file(name) if newest is not None else None
        if newest is None or entry is None or embedder_sha256 not in ("", newest.embedder_sha256):
            return None
        path = folder / "file"
        path.write_bytes(repository.content(entry))
        return path


def describe_limits(person: str, limits: Mapping[str, float], kept_sq: Mapping[str, float]) -> list[str]:
    """The thresholds of a gallery in words: that of this person, and the changes for the others.

    Args:
        person: id of the person.
        limits: thresholds of the new gallery by person id, squared distances.
        kept_sq: thresholds that the doors use now; empty if none of them is kept.
    """
    lines = []
    if person in limits:
        lines.append(f"threshold of {person}: {limits[person]:.3f} (lower is stricter)")
    others = [limit for each, limit in limits.items() if each != person]
    if not others:
        return lines
    low, high = f"{min(others):.3f}", f"{max(others):.3f}"
    span = low if low == high else f"{low} to {high}"
    if not kept_sq:
        return [*lines, f"thresholds of the others: {span}, from the table of the embedder"]
    changed = stricter_limits(limits, kept_sq)
    lines.append(f"thresholds of the others: {span}, {'unchanged' if not changed else f'stricter for {len(changed)}'}")
    lines += [
        f"stricter because of a look-alike: {each}, from {was:.3f} to {becomes:.3f}"
        for each, (was, becomes) in list(changed.items())[:_MAX_LINES]
        if each != person
    ]
    return lines


def stricter_limits(limits: Mapping[str, float], kept_sq: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """The kept thresholds that a look-alike makes stricter, before and after, by person id."""
    return {each: (kept_sq[each], limits[each]) for each in kept_sq if limits.get(each, 4.0) < kept_sq[each]}
