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

_MAX_LINES = 10  # of people whose threshold becomes stricter


@dataclass(frozen=True, slots=True, eq=False)
class GalleryPublisher:
    """Publishes galleries to the doors of a site."""

    path: Path  # of the signed repository
    signers: Mapping[str, Signer]  # its keys at hand, by key id
    mqtt: MqttConfig  # the broker
    site: str  # of the doors

    @property
    def newest_release(self) -> int:
        """Number of the newest release; 0: none."""
        return max(Repository(self.path, {}).numbers(), default=0)

    @property
    def command(self) -> str:
        """The command that publishes the newest release again."""
        return f"threshold sync publish {self.path} --broker {self.mqtt.url} --site {self.site}"

    def publish(self, gallery: Path) -> str:
        """Sign and publish a gallery with whatever else the newest release holds; returns what was done, in words.

        Raises:
            ThresholdError: it cannot be signed, or the broker does not take it.
        """
        repository = Repository(self.path, self.signers)
        with repository.locked():
            return publish_release(repository, add_release(repository, gallery=gallery), self.mqtt, self.site)

    def thresholds_sq(self, embedder_sha256: str) -> dict[str, float]:
        """Thresholds of the newest release by person id, squared distances (lower is stricter).

        Empty before the first release, and if its gallery is of another embedder, whose distances do not compare.

        Raises:
            ThresholdError: the repository is damaged.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = self._file(GALLERY, Path(folder), embedder_sha256)
            return thresholds_of(path, embedder_sha256) if path else {}

    def describe_access(self, person: str) -> tuple[str, str]:
        """Which doors have a rule for this person in the newest release, and a warning if none has; "" for neither.

        Doors are named as in the policy, names or patterns.

        Raises:
            ThresholdError: the repository is damaged.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = self._file(POLICY, Path(folder))
            if path is None:
                return "the release holds no access rules; each door's door.toml decides", ""
            rules = parse_policy(path)
        doors = [name for name, _ in rules.doors]
        allowed = [door for door in doors if Policy(rules, door).names(person)]
        if not allowed:
            return "", (
                f"{person} has no access rule at any door, so every door denies {person} (no-rule-for-this-person). "
                "Add the id to a rule or a group of policy.toml and publish that"
            )
        denied = [door for door in doors if door not in allowed]
        without = f"; none at {', '.join(denied)}" if denied else ""
        return f"access rules for {person}: {', '.join(allowed)}{without}", ""

    def _file(self, name: str, folder: Path, embedder_sha256: str = "") -> Path | None:
        """A file of the newest release, written into a folder; None if there is none, or of another embedder."""
        repository = Repository(self.path, {})
        newest = repository.newest()
        entry = newest.file(name) if newest is not None else None
        if newest is None or entry is None or embedder_sha256 not in ("", newest.embedder_sha256):
            return None
        path = folder / "file"
        path.write_bytes(repository.content(entry))
        return path


def describe_limits(person: str, limits: Mapping[str, float], kept_sq: Mapping[str, float]) -> list[str]:
    """The thresholds of a gallery in words: this person's, and what changes for the others.

    `limits` are squared distances by id; `kept_sq` those that the doors run, empty if none of them is kept.
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
        return [*lines, f"thresholds of all others: set from the embedder's table, {span}"]
    changed = stricter_limits(limits, kept_sq)
    lines.append(f"thresholds of the others: {span}, {'unchanged' if not changed else 'none of them looser'}")
    lines += [
        f"stricter because of a look-alike: {each}, {was:.3f} becomes {becomes:.3f}"
        for each, (was, becomes) in list(changed.items())[:_MAX_LINES]
        if each != person
    ]
    return lines


def stricter_limits(limits: Mapping[str, float], kept_sq: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """By person id, the kept thresholds that a look-alike makes stricter: before and after."""
    return {each: (kept_sq[each], limits[each]) for each in kept_sq if limits.get(each, 4.0) < kept_sq[each]}
