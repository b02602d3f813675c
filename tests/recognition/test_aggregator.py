"""The verdict: how much evidence it takes, and what becomes of it."""

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
    """Anna at axis 0 and Bert at axis 1, unless told otherwise."""
    rows = np.stack([direction(0), direction(1)]) if centroids is None else centroids
    limits = np.full(len(rows), threshold_sq, np.float32)
    return IdentityAggregator(Gallery([ANNA, BERT][: len(rows)], rows, limits, GalleryInfo("", "", len(rows))), config)


def show(
    judging: IdentityAggregator, embeddings: Sequence[FloatArray | None], number: int = 1, start_ns: int = 0
) -> list[Verdict]:
    """One look after another at one track, every 100 ms; the verdicts that fell."""
    verdicts = []
    for step, embedding in enumerate(embeddings):
        t_ns = start_ns + step * S // 10
        seen = track(number, t_ns=t_ns)
        judging.add_sample(seen, sample(embedding), t_ns)
        verdicts += judging.take_verdicts([seen], t_ns)
    return verdicts


def leave(judging: IdentityAggregator, number: int = 1, t_ns: int = 0) -> list[Verdict]:
    """The visitor is gone."""
    return judging.take_verdicts([track(number, t_ns=t_ns, lost=True)], t_ns)


def near_anna(distance_sq: float = 0.5, axis: int = 7) -> FloatArray:
    return towards(direction(0), direction(axis), distance_sq)


def test_a_name_needs_min_samples() -> None:
    judging = judge()
    assert show(judging, [near_anna()] * 2) == []
    (verdict,) = show(judging, [near_anna()], start_ns=S)
    assert (verdict.finding, verdict.match.person, verdict.samples) == (Identification.RECOGNISED, ANNA, 3)


def test_a_track_has_one_verdict() -> None:
    assert len(show(judge(), [near_anna()] * 20)) == 1


def test_samples_that_scatter_around_a_person_fuse_to_a_nearer_one() -> None:
    """Three looks at 1.1 in three independent directions: each is beyond the threshold of 1, their mean is not."""
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


def test_unknown_waits_for_enough_samples() -> None:
    judging = judge()
    assert show(judging, [direction(5)] * 5) == []
    (verdict,) = show(judging, [direction(5)], start_ns=S)
    assert (verdict.finding, verdict.reason) == (Identification.UNKNOWN, "beyond-threshold")


def test_a_visitor_who_leaves_is_unknown_only_on_enough_evidence() -> None:
    judging = judge()
    show(judging, [direction(5)] * 2)
    assert leave(judging, t_ns=S) == []
    show(judging, [direction(5)] * 3, number=2, start_ns=2 * S)
    (verdict,) = leave(judging, number=2, t_ns=3 * S)
    assert verdict.finding is Identification.UNKNOWN


def test_a_person_seen_too_briefly_is_not_called_unknown() -> None:
    judging = judge()
    show(judging, [near_anna()] * 2)
    assert leave(judging, t_ns=S) == []


def test_refused_samples_are_counted_and_are_no_evidence() -> None:
    judging = judge()
    assert show(judging, [None] * 20) == []
    assert judging.refusals == {"blurred": 20}
    assert leave(judging, t_ns=3 * S) == []


def test_two_people_alike_are_not_told_apart_by_a_hair() -> None:
    """Both within the threshold, and nearer to each other than the margin: nobody is named."""
    twins = np.stack([direction(0), towards(direction(0), direction(1), 0.05)])
    (verdict,) = show(judge(centroids=twins), [direction(0)] * 6)
    assert (verdict.finding, verdict.reason) == (Identification.UNKNOWN, "runner-up-too-near")


def test_a_threshold_of_the_door_replaces_that_of_the_gallery() -> None:
    (verdict,) = show(judge(RecognitionConfig(threshold_sq=0.4, unknown_samples=3)), [near_anna(0.5)] * 3)
    assert (verdict.finding, verdict.match.threshold_sq) == (Identification.UNKNOWN, 0.4)


def test_one_odd_sample_changes_nothing() -> None:
    (verdict,) = show(judge(), [near_anna(), near_anna(), direction(5), near_anna()])
    assert (verdict.finding, verdict.samples) == (Identification.RECOGNISED, 3)


def test_odd_samples_that_are_not_in_a_row_change_nothing() -> None:
    looks = [near_anna(), direction(5), near_anna(), direction(6), near_anna()]
    (verdict,) = show(judge(), looks)
    assert (verdict.finding, verdict.samples) == (Identification.RECOGNISED, 3)


def test_a_name_needs_samples_that_agree_each_for_itself() -> None:
    """Looks at 1.3 are beyond threshold and slack: their mean comes near, but not one of them agrees."""
    looks = [near_anna(1.3, axis) for axis in (7, 8, 9)] * 2
    (verdict,) = show(judge(RecognitionConfig(track_consistency_sq=1.9, unknown_samples=6)), looks)
    assert verdict.match.distance_sq < verdict.match.threshold_sq
    assert (verdict.finding, verdict.reason) == (Identification.UNKNOWN, "too-few-agree")


def test_a_track_that_goes_over_to_somebody_else_starts_anew() -> None:
    """Tailgating in one track: Anna's evidence does not open the door for the stranger behind her, nor for Bert."""
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


def test_somebody_called_unknown_too_early_may_still_be_recognised() -> None:
    judging = judge()
    (first,) = show(judging, [near_anna(1.4)] * 6)
    (second,) = show(judging, [near_anna(0.4)] * 3, start_ns=S)
    assert (first.finding, second.finding) == (Identification.UNKNOWN, Identification.RECOGNISED)


def test_who_stays_or_returns_within_the_cooldown_is_no_news() -> None:
    judging = judge()
    show(judging, [near_anna()] * 3)
    leave(judging, t_ns=S)
    assert show(judging, [near_anna()] * 3, number=2, start_ns=9 * S) == []
    leave(judging, number=2, t_ns=10 * S)
    assert show(judging, [near_anna()] * 3, number=3, start_ns=19 * S) == []  # seen again at 10 s
    leave(judging, number=3, t_ns=20 * S)
    assert len(show(judging, [near_anna()] * 3, number=4, start_ns=31 * S)) == 1


def test_a_stranger_who_returns_is_no_news_but_another_stranger_is() -> None:
    judging = judge()
    assert len(show(judging, [direction(5)] * 6)) == 1
    leave(judging, t_ns=S)
    assert show(judging, [direction(5)] * 6, number=2, start_ns=2 * S) == []
    assert len(show(judging, [direction(6)] * 6, number=3, start_ns=2 * S)) == 1


def test_looks_are_due_often_before_the_verdict_and_seldom_after() -> None:
    judging = judge()
    visitor = track()
    assert judging.tracks_due([visitor], 0) == [visitor]
    judging.add_sample(visitor, sample(near_anna()), 0)
    assert judging.tracks_due([visitor], S // 10 - 1) == []
    assert judging.tracks_due([visitor], S // 10) == [visitor]
    show(judging, [near_anna()] * 2, start_ns=S // 10)
    assert judging.tracks_due([visitor], S) == []
    assert judging.tracks_due([visitor], 2 * S) == [visitor]


def test_who_has_left_is_not_looked_at_and_is_forgotten() -> None:
    judging = judge()
    show(judging, [near_anna()] * 2)
    gone = track(t_ns=S, lost=True)
    assert judging.tracks_due([gone], S) == []
    judging.take_verdicts([gone], S)
    assert judging.snapshot(gone).samples == 0


def test_an_empty_gallery_leaves_everybody_unknown() -> None:
    (verdict,) = show(judge(centroids=np.zeros((0, DIMENSION), np.float32)), [direction(0)] * 6)
    assert (verdict.finding, verdict.match.person) == (Identification.UNKNOWN, None)


def test_votes_for_another_person() -> None:
    """Two looks that agree with Bert and one with Anna, whose mean is within Anna's threshold, name nobody yet."""
    config = msgspec.structs.replace(RECOGNITION, margin_sq=0.0, track_consistency_sq=4.0, vote_slack_sq=0.0)
    middle = (direction(0) + direction(1)) / np.float32(np.sqrt(2))
    to_bert = towards(middle, direction(1), 0.02)
    judging = judge(config, threshold_sq=1.3)
    assert show(judging, [to_bert, to_bert, direction(0)]) == []
    (verdict,) = show(judging, [direction(0)] * 2, start_ns=S)
    assert verdict.match.person == ANNA


def test_a_track_without_samples_is_not_in_doubt() -> None:
    """The question may be asked before the first look."""
    assert judge().is_contested(track()) is False


def test_attacks_in_a_row_mark_a_name_as_impersonated() -> None:
    """By the number of failures that also locks a stranger out; a name that nobody posed as is not marked."""
    judging = judge()
    (verdict,) = show(judging, [near_anna()] * 3)
    for _ in range(LockoutConfig().max_failures):
        assert not judging.impersonated(verdict)
        judging.count_failure(verdict, set())
    assert judging.impersonated(verdict)
    (other,) = show(judging, [direction(1)] * 3, number=2, start_ns=S)
    assert not judging.impersonated(other)


def test_a_track_is_contested_between_two_faces() -> None:
    """From a sample that shows another face until one shows the first face again."""
    judging = judge()
    show(judging, [near_anna()] * 3)
    for start_s in (1, 2):
        show(judging, [direction(5)], start_ns=start_s * S)
        assert judging.is_contested(track())
        show(judging, [near_anna()], start_ns=start_s * S + S // 2)
        assert not judging.is_contested(track())
    assert judging.sample_count(track()) == 5


def test_a_visitor_is_news_at_the_end_of_the_cooldown() -> None:
    """Ten seconds after they were seen last, and not a nanosecond before."""
    (verdict,) = show(judge(), [near_anna()] * 3)
    cooldown = Cooldown(RECOGNITION)
    cooldown.mark_seen(verdict, 0)
    assert not cooldown.should_announce(verdict, 10 * S - 1)
    assert cooldown.should_announce(verdict, 10 * S)


def gallery(embedder: str = "") -> Gallery:
    """Anna and Bert, enrolled by one embedder."""
    rows = np.stack([direction(0), direction(1)])
    return Gallery([ANNA, BERT], rows, np.full(2, 1.0, np.float32), GalleryInfo("", embedder, 2))


def test_evidence_from_before_a_release_names_nobody() -> None:
    """Samples were measured against the old gallery; the new one gathers its own."""
    judging = judge()
    assert show(judging, [near_anna()] * 2) == []
    judging.replace_gallery(judging.gallery, RECOGNITION)
    assert show(judging, [near_anna()] * 2, start_ns=S) == []
    (verdict,) = show(judging, [near_anna()], start_ns=2 * S)
    assert verdict.samples == 3


def test_demands_after_failures_follow_the_release() -> None:
    """The release halves the threshold; after failures 0.85 of that half applies, not of the old one."""
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
    """Who failed is known by their embedding alone, so nobody is held to it after a change of the embedder."""
    judging = IdentityAggregator(gallery(), RECOGNITION, LockoutConfig(max_failures=1, lockout_s=30.0))
    show(judging, [near_anna(1.2)] * 6)
    judging.replace_gallery(gallery(embedder), RECOGNITION)
    assert [one.finding for one in show(judging, [near_anna(0.9)] * 6, number=2, start_ns=2 * S)] == findings
