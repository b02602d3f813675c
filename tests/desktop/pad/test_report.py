"""Error rates of presentation attack detection."""

from __future__ import annotations

from pathlib import Path

from threshold_tools.pad.clip_evaluation import ClipResult, LabelledClip
from threshold_tools.pad.report import AT_THE_DOOR, WINDOWS, document, measure, page
from threshold_tools.reports.terminal import to_text

from edge.liveness.cues.weights import CUE_WEIGHTS, Cue, LivenessEvidence


def judged(species: str, subject: str, score: float, *, enough: bool = True) -> ClipResult:
    """A clip of two windows: one with this score and a value of motion, one with score 1 and no value."""
    case = LabelledClip(species, subject, Path("x.avi"))
    cues = Cue("local-motion", score, 0.5, 1.0, ""), Cue("surroundings", None, None, 1.0, "")
    seen = LivenessEvidence(score, cues, enough, 20, 2.5)
    silent = LivenessEvidence(1.0, (Cue("local-motion", None, None, 1.0, ""),), True, 6, 1.0)
    return ClipResult(
        case, (LivenessEvidence(0.5, (), False, 1, 0.0), seen), (seen, silent), read_ns=1000, observe_ns=100
    )


def test_rates_by_species_real_and_simulated() -> None:
    watched = [judged("genuine", "ann", 0.1), judged("genuine", "bob", 0.6), judged("print", "ann", 0.9)]
    watched += [judged("simulated-photo-held", "ann", 0.2), judged("simulated-photo-held", "bob", 0.9)]
    watched += [judged("print", "bob", 0.4, enough=False)]
    report = measure(watched, source="x", limit=0.5, chosen_on="others", groups={"ann": "a", "bob": "b"})
    door, end, windows = report.at
    assert (door.judged, windows.judged) == (AT_THE_DOOR, WINDOWS)
    assert door.bpcer
    assert door.bpcer.value == 0.5
    assert [(kind.name, kind.simulated, kind.apcer and kind.apcer.value) for kind in door.species] == [
        ("print", False, 0.0),
        ("simulated-photo-held", True, 0.5),
    ]
    assert door.species[0].unjudged == 1
    assert (door.acer_real, door.acer_simulated) == (0.25, 0.5)
    assert end.species[0].apcer
    assert end.species[0].apcer.value == 0.5
    assert windows.bpcer
    assert (windows.bpcer.errors, windows.bpcer.cases) == (3, 4)
    assert {group: share and share.value for group, share in report.groups.items()} == {"a": 0.0, "b": 1.0}
    text = to_text(document(report))
    assert all(told in text for told in ("print", "APCER", "others", "10.0 %"))
    assert text.startswith("At limit 0.50, 50 % of genuine clips are refused and 50 % of the most successful attack")


def test_each_cue_is_told_by_itself_where_it_speaks() -> None:
    watched = [judged("genuine", "ann", 0.1), judged("genuine", "bob", 0.6), judged("print", "ann", 0.9)]
    watched += [judged("print", "bob", 0.4)]
    report = measure(watched, source="x", limit=0.5, chosen_on="others", groups={})
    cues = {cue.name: cue for cue in report.cues}
    assert list(cues) == list(CUE_WEIGHTS)
    genuine, prints = cues["local-motion"].of
    assert (genuine.species, genuine.windows, genuine.spoke) == ("genuine", 4, 2)
    assert (prints.windows, prints.spoke, prints.auc) == (4, 2, 0.75)
    assert cues["surroundings"].of[1].auc is None
    assert "0.75, 2/4" in to_text(document(report))


def test_the_page_holds_what_was_measured_and_its_curves() -> None:
    report = measure(
        [judged("genuine", "ann", 0.1), judged("print", "ann", 0.9)],
        source="x",
        limit=0.5,
        chosen_on="others",
        groups={},
    )
    written = page(report)
    assert written.count('<svg class="chart"') == 1
    assert all(told in written for told in (AT_THE_DOOR, "clips in x"))
