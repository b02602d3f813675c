"""Detects settings of [recognition] that are much looser than those of enrolment and calibration.

They are compared with the table of impostor distances of the embedder. Tools never set a threshold above its distance
for a false match rate of 1 in 10,000; above its loosest row, one stranger in 100 matches each person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.core.config import RecognitionConfig
from edge.vision.manifest import OperatingPoint

CALIBRATED_FMR = 1e-4  # one stranger against one person; NIST SP 800-63B-4 requires this or better
_LEAST_SAMPLES = 2  # a single sample is not enough


@dataclass(frozen=True, slots=True)
class LooseSetting:
    """A setting that is too loose."""

    detail: str  # the setting and its effect
    open: bool  # strangers match regularly


def loose_settings(config: RecognitionConfig, impostors: Sequence[OperatingPoint]) -> list[LooseSetting]:
    """Settings of [recognition] that are too loose; distances are checked only with a table of the embedder."""
    found = list(_distances(config, impostors)) if impostors else []
    if config.min_samples < _LEAST_SAMPLES:
        found.append(LooseSetting(f"min_samples = {config.min_samples}: a single sample decides", open=False))
    if config.margin_sq <= 0:
        found.append(LooseSetting("margin_sq = 0: of two similar people, the nearer one passes", open=False))
    return found


def _distances(config: RecognitionConfig, impostors: Sequence[OperatingPoint]) -> list[LooseSetting]:
    rows = sorted(impostors, key=lambda row: row.fmr)
    calibrated = max((row for row in rows if row.fmr <= CALIBRATED_FMR), key=lambda row: row.fmr, default=rows[0])
    loosest = rows[-1]
    own_sq = calibrated.distance_sq if config.threshold_sq is None else config.threshold_sq
    limit_sq = own_sq * config.threshold_factor
    key = "threshold_factor" if config.threshold_sq is None else "threshold_sq"
    value = getattr(config, key)
    found = []
    if limit_sq > calibrated.distance_sq:
        reached = next((row for row in rows if limit_sq <= row.distance_sq), None)
        rate = f"up to 1 in {1 / reached.fmr:,.0f}" if reached else f"more than 1 in {1 / loosest.fmr:,.0f}"
        detail = (
            f"{key} = {value:g}: thresholds of up to {limit_sq:.2f}, calibrated ones are at most "
            f"{calibrated.distance_sq:.2f}; {rate} strangers match each enrolled person"
        )
        found.append(LooseSetting(detail, open=limit_sq > loosest.distance_sq))
    elif limit_sq + config.vote_slack_sq > loosest.distance_sq:
        detail = f"vote_slack_sq = {config.vote_slack_sq:g}: samples of strangers count as agreeing"
        found.append(LooseSetting(detail, open=False))
    return found
