"""Verdicts: required evidence, and changes of evidence and verdict."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from support.face_images import DIMENSION, RECOGNITION, direction, sample, towards, track

from edge.core.config import LockoutConfig, RecognitionConfig
from edge.core.records import FloatArray, Identification, Person, Quality, Verdict
from edge.recognition.aggregator import IdentityAggregator
from edge.recognition.cooldown import Cooldown
from edge.recognition.gallery import Gallery, GalleryInfo

S = 1_000_000_000
ANNA, BERT = Person("anna", "Anna"), Person("bert", "Bert")


def judge(
    config: RecognitionConfig = RECOGNITION, centroids: FloatArray | None = None, threshold_sq: float = 1.0
) -> IdentityAggregator:
    """Anna at axis 0 and Bert at axis 1, by default."""
    rows = np.stack([direction(0), direction(1)]) if centroids is None else centroids
    limits = np.full(len(rows), threshold_sq, np.float32)
    return IdentityAggregator(Gallery([ANNA, BERT][: len(rows)], rows, limits, GalleryInfo("", "", len(rows))), config)


def show(
    judging: IdentityAggregator, embeddings: Sequence[FloatArray | None], number: int = 1, start_ns: int = 0
) -> list[Verdict]:
    """Sample one track every 100 ms; returns the verdicts."""
    verdicts = []
    for step, embedding in enumerate(embeddings):
        t_ns = start_ns + step * S // 10
        seen = track(number, t_ns=t_ns)
        judging.add_sample(seen, sample(embedding), t_ns)
        verdicts += judging.take_verdicts([seen], t_ns)
    return verdicts


def leave(judging: IdentityAggregator, number: int = 1, t_ns: int = 0) -> list[Verdict]:
    """End the track of the visitor."""
    return judging.take_verdicts([track(number, t_ns=t_ns, lost=True)], t_ns)


def near_anna(distance_sq: float = 0.5, axis: int = 7) -> FloatArray:
    return towards(direction(0), direction(axis), distance_sq)


def test_min_samples_for_a_recognition() -> None:
    judging = judge()
    assert show(judging, [near_anna()] * 2) == []
    (verdict,) = show(judging, [near_anna()], start_ns=S)
    assert (verdict.finding, verdict.match.person, verdict.samples) == (Identification.RECOGNISED, ANNA, 3)


def test_a_track_has_one_verdict() -> None:
    assert len(show(judge(), [near_anna()] * 20)) == 1


def test_fusion_of_scattered_samples() -> None:
    """Three samples at 1.1 in independent directions: each is beyond the threshold of 1, their mean is within it."""
    looks = [near_anna(1.1, axis) for axis in (7, 8, 9)]
    (verdict,) = show(judge(RecognitionConfig(track_consistency_sq=1.7)), looks)
    assert verdict.finding is Identification.RECOGNISED
    expected = np.sum(looks, axis=0) / np.linalg.norm(np.sum(looks, axis=0))
    assert abs(verdict.match.distance_sq - (2 - 2 * expected[0])) < 1e-5


def test_a_better_sample_weighs_more() -> None:
    judging = judge(RecognitionConfig(min_samples=2, track_consistency_sq=4.0))
    for embedding, weight in ((direction(7), 0.1), (near_anna(0.1), 0.9)):
        judging.add_sample(track(), sample(embedding, Quality(weight, 60, 0, 0, 0, 500)), 0)
    match = judging.snapshot(track()).match
    assert match is not None
    mean = 0.1 * direction(7) + 0.9 * near_anna(0.1)
    assert abs(match.distance_sq - (2 - 2 * mean[0] / np.linalg.norm(mean))) < 1e-5


def test_samples_for_an_unknown() -> None:
    judging = judge()
    assert show(judging, [direction(5)] * 5) == []
    (verdict,) = show(judging, [direction(5)], start_ns=S)
    assert (verdict.finding, verdict.reason) == (Identification.UNKNOWN, "beyond-threshold")


def test_visitor_who_leaves_before_the_verdict() -> None:
    judging = judge()
    show(judging, [direction(5)] * 2)
    assert leave(judging, t_ns=S) == []
    show(judging, [direction(5)] * 3, number=2, start_ns=2 * S)
    (verdict,) = leave(judging, number=2, t_ns=3 * S)
    assert verdict.finding is Identification.UNKNOWN


def test_person_seen_too_briefly() -> None:
    judging = judge()
    show(judging, [near_anna()] * 2)
    assert leave(judging, t_ns=S) == []


def test_refused_samples() -> None:
    judging = judge()
    assert show(judging, [None] * 20) == []
    assert judging.refusals == {"blurred": 20}
    assert leave(judging, t_ns=3 * S) == []


def test_two_people_within_the_margin() -> None:
    """Both are within the threshold and nearer to each other than the margin, so nobody is recognised."""
    twins = np.stack([direction(0), towards(direction(0), direction(1), 0.05)])
    (verdict,) = show(judge(centroids=twins), [direction(0)] * 6)
    assert (verdict.finding, verdict.reason) == (Identification.UNKNOWN, "runner-up-too-near")


def test_threshold_of_the_door() -> None:
    (verdict,) = show(judge(RecognitionConfig(threshold_sq=0.4, unknown_samples=3)), [near_anna(0.5)] * 3)
    assert (verdict.finding, verdict.match.threshold_sq) == (Identification.UNKNOWN, 0.4)


def test_single_sample_of_another_face() -> None:
    (verdict,) = show(judge(), [near_anna(), near_anna(), direction(5), near_anna()])
    assert (verdict.finding, verdict.samples) == (Identification.RECOGNISED, 3)


def test_separate_samples_of_another_face() -> None:
    looks = [near_anna(), direction(5), near_anna(), direction(6), near_anna()]
    (verdict,) = show(judge(), looks)
    assert (verdict.finding, verdict.samples) == (Identification.RECOGNISED, 3)


def test_samples_without_votes() -> None:
    """Samples at 1.3 are beyond threshold plus slack: their mean is near, but none of them votes."""
    looks = [near_anna(1.3, axis) for axis in (7, 8, 9)] * 2
    (verdict,) = show(judge(RecognitionConfig(track_consistency_sq=1.9, unknown_samples=6)), looks)
    assert verdict.match.distance_sq < verdict.match.threshold_sq
    assert (verdict.finding, verdict.reason) == (Identification.UNKNOWN, "too-few-agree")


def test_track_that_switches_to_another_person() -> None:
    """Tailgating in one track: Anna's evidence opens the door neither for a stranger behind her nor for Bert."""
    judging = judge()
    (first,) = show(judging, [near_anna()] * 3)
    (second,) = show(judging, [direction(1)] * 3, start_ns=S)
    assert (first.match.person, second.match.person) == (ANNA, BERT)
    assert second.samples == 3
    (third,) = show(judging, [direction(5)] * 6, start_ns=2 * S)
    assert third.finding is Identification.UNKNOWN


def test_two_other_faces_in_a_row() -> None:
    """One sample of a stranger and one of Bert are not the evidence of one new face."""
    judging = judge()
    show(judging, [direction(5)])
    assert show(judging, [direction(6), direction(1)] * 9, start_ns=S) == []
    assert judging.sample_count(track()) == 1
    (verdict,) = show(judging, [direction(1)] * 4, start_ns=4 * S)
    assert verdict.match.person == BERT
    assert verdict.match.distance_sq < 1e-6


def test_recognition_after_an_early_unknown() -> None:
    judging = judge()
    (first,) = show(judging, [near_anna(1.4)] * 6)
    (second,) = show(judging, [near_anna(0.4)] * 3, start_ns=S)
    assert (first.finding, second.finding) == (Identification.UNKNOWN, Identification.RECOGNISED)


def test_person_within_the_cooldown() -> None:
    judging = judge()
    show(judging, [near_anna()] * 3)
    leave(judging, t_ns=S)
    assert show(judging, [near_anna()] * 3, number=2, start_ns=9 * S) == []
    leave(judging, number=2, t_ns=10 * S)
    assert show(judging, [near_anna()] * 3, number=3, start_ns=19 * S) == []  # seen again at 10 s
    leave(judging, number=3, t_ns=20 * S)
    assert len(show(judging, [near_anna()] * 3, number=4, start_ns=31 * S)) == 1


def test_strangers_within_the_cooldown() -> None:
    judging = judge()
    assert len(show(judging, [direction(5)] * 6)) == 1
    leave(judging, t_ns=S)
    assert show(judging, [direction(5)] * 6, number=2, start_ns=2 * S) == []
    assert len(show(judging, [direction(6)] * 6, number=3, start_ns=2 * S)) == 1


def test_sampling_rate_before_and_after_the_verdict() -> None:
    judging = judge()
    visitor = track()
    assert judging.tracks_due([visitor], 0) == [visitor]
    judging.add_sample(visitor, sample(near_anna()), 0)
    assert judging.tracks_due([visitor], S // 10 - 1) == []
    assert judging.tracks_due([visitor], S // 10) == [visitor]
    show(judging, [near_anna()] * 2, start_ns=S // 10)
    assert judging.tracks_due([visitor], S) == []
    assert judging.tracks_due([visitor], 2 * S) == [visitor]


def test_state_of_a_lost_track() -> None:
    judging = judge()
    show(judging, [near_anna()] * 2)
    gone = track(t_ns=S, lost=True)
    assert judging.tracks_due([gone], S) == []
    judging.take_verdicts([gone], S)
    assert judging.snapshot(gone).samples == 0


def test_empty_gallery() -> None:
    (verdict,) = show(judge(centroids=np.zeros((0, DIMENSION), np.float32)), [direction(0)] * 6)
    assert (verdict.finding, verdict.match.person) == (Identification.UNKNOWN, None)


def test_votes_for_another_person() -> None:
    """Two samples vote for Bert and one for Anna; their mean is within Anna's threshold, but the verdict is open."""
    config = msgspec.structs.replace(RECOGNITION, margin_sq=0.0, track_consistency_sq=4.0, vote_slack_sq=0.0)
    middle = (direction(0) + direction(1)) / np.float32(np.sqrt(2))
    to_bert = towards(middle, direction(1), 0.02)
    judging = judge(config, threshold_sq=1.3)
    assert show(judging, [to_bert, to_bert, direction(0)]) == []
    (verdict,) = show(judging, [direction(0)] * 2, start_ns=S)
    assert verdict.match.person == ANNA


def test_track_without_samples() -> None:
    """A track can be checked for doubt before its first sample."""
    assert judge().is_contested(track()) is False


def test_attacks_on_one_person() -> None:
    """The limit is that of a lockout; a person who was not attacked is not marked."""
    judging = judge()
    (verdict,) = show(judging, [near_anna()] * 3)
    for _ in range(LockoutConfig().max_failures):
        assert not judging.impersonated(verdict)
        judging.count_failure(verdict, set())
    assert judging.impersonated(verdict)
    (other,) = show(judging, [direction(1)] * 3, number=2, start_ns=S)
    assert not judging.impersonated(other)


def test_contested_track() -> None:
    """A track is contested from a sample of another face until one of the first face."""
    judging = judge()
    show(judging, [near_anna()] * 3)
    for start_s in (1, 2):
        show(judging, [direction(5)], start_ns=start_s * S)
        assert judging.is_contested(track())
        show(judging, [near_anna()], start_ns=start_s * S + S // 2)
        assert not judging.is_contested(track())
    assert judging.sample_count(track()) == 5


def test_end_of_the_cooldown() -> None:
    """The cooldown is exactly ten seconds after the visitor was last seen."""
    (verdict,) = show(judge(), [near_anna()] * 3)
    cooldown = Cooldown(RECOGNITION)
    cooldown.mark_seen(verdict, 0)
    assert not cooldown.should_announce(verdict, 10 * S - 1)
    assert cooldown.should_announce(verdict, 10 * S)


def gallery(embedder: str = "") -> Gallery:
    """Anna and Bert, enrolled by one embedder."""
    rows = np.stack([direction(0), direction(1)])
    return Gallery([ANNA, BERT], rows, np.full(2, 1.0, np.float32), GalleryInfo("", embedder, 2))


def test_evidence_from_before_a_release() -> None:
    """Samples measured against the old gallery are dropped."""
    judging = judge()
    assert show(judging, [near_anna()] * 2) == []
    judging.replace_gallery(judging.gallery, RECOGNITION)
    assert show(judging, [near_anna()] * 2, start_ns=S) == []
    (verdict,) = show(judging, [near_anna()], start_ns=2 * S)
    assert verdict.samples == 3


def test_limits_after_failures_and_a_release() -> None:
    """The release halves the threshold; after failures 0.85 of the new threshold applies."""
    judging = IdentityAggregator(gallery(), RECOGNITION, LockoutConfig(max_failures=1, lockout_s=1.0))
    judging.replace_gallery(gallery(), msgspec.structs.replace(RECOGNITION, threshold_factor=0.5))
    (named,) = show(judging, [near_anna(0.45)] * 3)
    assert named.finding is Identification.RECOGNISED
    (failed,) = show(judging, [near_anna(0.8)] * 6, number=2, start_ns=60 * S)
    assert failed.finding is Identification.UNKNOWN
    again = show(judging, [near_anna(0.45)] * 30, number=3, start_ns=120 * S)
    assert Identification.RECOGNISED not in {one.finding for one in again}


@pytest.mark.parametrize(("embedder", "news"), [("", 0), ("another", 1)])
def test_strangers_after_a_release_with_another_embedder(embedder: str, news: int) -> None:
    """Vectors of two embedders cannot be compared: a stranger reported before is reported again."""
    judging = judge()
    assert len(show(judging, [direction(5)] * 6)) == 1
    judging.replace_gallery(gallery(embedder), RECOGNITION)
    assert len(show(judging, [direction(5)] * 6, start_ns=S)) == news


@pytest.mark.parametrize(("embedder", "findings"), [("", []), ("another", [Identification.RECOGNISED])])
def test_failures_after_a_release_with_another_embedder(embedder: str, findings: list[Identification]) -> None:
    """Failures are assigned by embedding, so a change of the embedder resets them."""
    judging = IdentityAggregator(gallery(), RECOGNITION, LockoutConfig(max_failures=1, lockout_s=30.0))
    show(judging, [near_anna(1.2)] * 6)
    judging.replace_gallery(gallery(embedder), RECOGNITION)
    assert [one.finding for one in show(judging, [near_anna(0.9)] * 6, number=2, start_ns=2 * S)] == findings
