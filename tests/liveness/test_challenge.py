"""The active challenge: it passes only if the recognised head makes the requested movements."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from support.face_images import direction
from support.living import HEAD, NOSE, there_and_back, turned
from threshold_tools.pad.challenge_trials import SampledPortrait
from threshold_tools.pad.rendering import Pose, RenderedHead, fit_portrait

from edge.core.config import DetectorConfig, LivenessConfig
from edge.core.records import BgrImage, FloatArray, Frame, Landmarks, Quality, Sample
from edge.liveness.challenge import MovementChallenge
from edge.liveness.head_pose import RestPose, depth_relief, estimate_motion
from edge.liveness.prompts import ChallengeMovement, ChallengePrompt, ChallengeState
from edge.vision.detector import Detector
from edge.vision.face_mesh import eye_centred, pose_deg
from edge.vision.face_sampler import VisionStages

LOOK_NS = 100_000_000
ADA, BOB = direction(0), direction(1)
ONE_STEP = LivenessConfig(mode="challenge", challenge_movements=("turn-left",), challenge_steps=1)


def tilted(left_deg: float) -> FloatArray:
    """Mesh of a photo that somebody turns: foreshortened, with the depth of a face."""
    return HEAD * np.array([math.cos(math.radians(left_deg)), 1, 1], np.float32)


def mixed(left_deg: float, *, depth_deg: float | None = None, across: float = 1.0) -> FloatArray:
    """Impossible for a head: the picture of one turn with the depth of another, or compressed horizontally."""
    points = turned(left_deg) * np.array([across, 1, 1], np.float32)
    if depth_deg is not None:
        points[:, 2] = turned(depth_deg)[:, 2]
    return points


def flattened(up_deg: float, nose: float) -> FloatArray:
    """A head that looks up, whose nose moves only by a share of the motion of its depth; 0 for a bent picture."""
    points = turned(0.0, up_deg)
    points[:, 1] += np.float32((1 - nose) * math.sin(math.radians(up_deg))) * NOSE.astype(np.float32)
    return points


def shaken(left_deg: float, pixels: float) -> FloatArray:
    """A turned head with errors of all points, as a mesh has on objects that are not heads."""
    points = turned(left_deg)
    points[:, :2] += np.random.default_rng(3).normal(0, pixels, (468, 2)).astype(np.float32)
    return points


def look(points: FloatArray, embedding: FloatArray | None = ADA) -> Sample:
    landmarks = Landmarks(points, np.zeros((5, 2), np.float32), 1.0)
    return Sample(embedding, Quality(1.0, 60.0, *pose_deg(landmarks), 500.0), landmarks)


class Try:
    """A visitor: still until a movement is requested, then the movement that `answer` returns for it."""

    def __init__(
        self, config: LivenessConfig, answer: Callable[[ChallengeMovement], list[Sample]], before: Sample | None = None
    ):
        self.challenge = MovementChallenge(config, 1, lambda: 0.5, ADA, 0)
        self.prompts: list[ChallengePrompt] = []
        self._answer = answer
        self._before = before or look(turned())

    def run(self, seconds: float = 30.0) -> str:
        queue: list[Sample] = []
        for number in range(round(seconds * 10)):
            self.challenge.observe(queue.pop(0) if queue else self._before, number * LOOK_NS)
            for prompt in self.challenge.drain_prompts():
                self.prompts.append(prompt)
                if prompt.state is ChallengeState.ASKED and prompt.movement is not None:
                    queue = self._answer(prompt.movement)
            if self.challenge.is_over:
                break
        return self.challenge.reason or str(self.challenge.state)


def untold(points: FloatArray, why: str = "too-small") -> Sample:
    """A sample of a face that cannot be identified."""
    seen = look(points, None)
    return replace(seen, quality=replace(seen.quality, weight=0.0, refusal=why))


def obey(ask: ChallengeMovement) -> list[Sample]:
    sign = -1 if ask is ChallengeMovement.TURN_RIGHT else 1
    path = there_and_back(25 * sign)
    return [look(turned(up_deg=one) if ask is ChallengeMovement.LOOK_UP else turned(one)) for one in path]


@pytest.mark.parametrize("left_deg", [-40.0, -10.0, 0.0, 15.0, 35.0])
@pytest.mark.parametrize("up_deg", [-15.0, 0.0, 20.0])
def test_turn_measured_by_parallax(left_deg: float, up_deg: float) -> None:
    """The measurement is independent of scale and place; combined turns are measured approximately."""
    seen = estimate_motion(HEAD, turned(left_deg, up_deg) * 1.3 + np.float32(200))
    assert seen.left_deg == pytest.approx(left_deg, abs=0.01 if not up_deg else 4)
    assert seen.up_deg == pytest.approx(up_deg, abs=0.01 if not left_deg else 4)
    assert seen.stretch == pytest.approx(1, abs=0.01 if not (left_deg and up_deg) else 0.1)


@pytest.mark.parametrize("degrees", [15, 30, 45])
def test_flat_photo_that_is_turned(degrees: int) -> None:
    """It has no parallax, but is foreshortened."""
    seen = estimate_motion(HEAD, tilted(degrees))
    assert abs(seen.left_deg) < 2
    assert seen.stretch == pytest.approx(math.cos(math.radians(degrees)), abs=0.05)


@pytest.mark.parametrize("nose", [0.0, 0.5, 1.0])
def test_depth_relief_of_a_nose(nose: float) -> None:
    """The other depths do not matter: a sheet can be bent like a face, but has no nose."""
    assert depth_relief(HEAD, flattened(20.0, nose)) == pytest.approx(nose, abs=0.1)


@pytest.mark.parametrize(
    ("ask", "points", "made"),
    [
        (ChallengeMovement.LOOK_UP, flattened(20.0, 1.0), True),
        (ChallengeMovement.LOOK_UP, flattened(20.0, 0.7), False),
        (ChallengeMovement.TURN_LEFT, shaken(25.0, 1.0), True),
        (ChallengeMovement.TURN_LEFT, shaken(25.0, 2.0), True),
        (ChallengeMovement.TURN_LEFT, shaken(25.0, 4.0), False),
        (ChallengeMovement.TURN_LEFT, shaken(25.0, 8.0), False),
        (ChallengeMovement.TURN_LEFT, mixed(25.0, across=0.92), False),
    ],
)
def test_movement_of_a_head_only(ask: ChallengeMovement, points: FloatArray, made: bool) -> None:
    """The movement must be large enough, rigid, with a nose, and not foreshortened."""
    rest, end = (RestPose.of([(mesh, look(mesh).quality)]) for mesh in (HEAD, points))
    turn = rest.to(end)
    assert turn.share(ask) >= 1
    assert turn.completed(ask) == made


def test_visitor_who_follows_all_steps() -> None:
    """Each movement is requested only after the previous one."""
    visitor = Try(LivenessConfig(mode="challenge", challenge_steps=3), obey)
    assert visitor.run() == "passed"
    assert [(prompt.state, prompt.step) for prompt in visitor.prompts] == [
        ("asked", 1),
        ("asked", 2),
        ("asked", 3),
        ("passed", 3),
    ]
    assert all(prompt.expires_ns - prompt.t_ns == 6_000_000_000 for prompt in visitor.prompts[:3])


def asked_at(config: LivenessConfig, draws: list[float]) -> list[tuple[str, int]]:
    """Requests to a visitor who follows, with the time since the previous movement or the beginning."""
    visitor = Try(config, obey)
    visitor.challenge = MovementChallenge(config, 1, iter(draws).__next__, ADA, 0)
    assert visitor.run() == "passed"
    return [(str(prompt.movement), prompt.t_ns) for prompt in visitor.prompts if prompt.state is ChallengeState.ASKED]


def test_random_movements_and_times() -> None:
    """All pairs of movements occur, also equal ones; equal random numbers give equal requests and times."""
    config, pairs = LivenessConfig(mode="challenge"), set()
    for seed in range(40):
        draws = np.random.default_rng(seed).random(9).tolist()
        asked = asked_at(config, draws)
        assert asked == asked_at(config, draws)
        pairs.add(tuple(ask for ask, _ in asked))
    assert len(pairs) == 9


def test_moment_of_each_ask() -> None:
    """Each follows 1 to 2 s of rest, by a random number of its own, so the first does not predict the second."""
    config = LivenessConfig(mode="challenge", challenge_movements=("turn-left",), challenge_steps=2)
    waits = {}
    for first in (0.0, 0.5, 0.99):
        for second in (0.0, 0.5, 0.99):
            (_, one_ns), (_, two_ns) = asked_at(config, [0.0, 0.0, first, second])
            waits[first, second] = (one_ns, two_ns - one_ns)
    assert [round(waits[first, 0.0][0] / 1e9, 1) for first in (0.0, 0.5, 0.99)] == [1.0, 1.5, 2.0]
    for first in (0.0, 0.5, 0.99):
        moved_s = waits[first, 0.0][1] / 1e9
        assert [round(waits[first, second][1] / 1e9 - moved_s, 1) for second in (0.5, 0.99)] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        ("the other way", lambda _: [look(turned(one)) for one in there_and_back(-25)], "wrong-movement"),
        ("up instead", lambda _: [look(turned(0, one)) for one in there_and_back(25)], "wrong-movement"),
        ("not far enough", lambda _: [look(turned(one)) for one in there_and_back(14)], "too-late"),
        ("nothing", lambda _: [], "too-late"),
        ("for a moment", lambda _: [look(turned(one)) for one in [0, 0, 0, 8, 16, 21, 21, 16, 8, 0]], "too-late"),
        ("before a person could", lambda _: [look(turned(15))], "too-early"),
        ("in one cut", lambda _: [look(turned())] * 4 + [look(turned(30))] * 4 + [look(turned())] * 4, "jumped"),
        ("and not back", lambda _: [look(turned(one)) for one in there_and_back(25)[:10]] + [look(turned(25))] * 60,
         "too-late"),
        ("seen but not shown", lambda _: [look(mixed(one, depth_deg=0)) for one in there_and_back(25)], "too-late"),
        ("foreshortened", lambda _: [look(mixed(one, across=0.8)) for one in there_and_back(25)], "too-late"),
        ("a photo", lambda _: [look(tilted(one)) for one in there_and_back(45)], "too-late"),
        ("in alternating pictures, there", lambda _: [look(turned())] * 4 + [look(turned(25))] * 4 + [
            look(turned(one)) for one in there_and_back(25)[13:]], "jumped"),
        ("in alternating pictures, back", lambda _: [look(turned(one)) for one in there_and_back(25)[:13]] + [
            look(turned())], "jumped"),
        ("with another face meanwhile", lambda _: [look(turned(one), BOB if one > 8 else ADA)
            for one in there_and_back(25)], "too-late"),
        ("too far to identify the face", lambda _: [look(turned(one), None if one > 8 else ADA)
            for one in there_and_back(25)], "too-late"),
        ("with another face after it", lambda _: [look(turned(one), BOB) for one in there_and_back(25)] + [
            look(turned(), BOB)] * 40, "too-late"),
    ],
)  # fmt: skip
def test_responses_that_fail(name: str, answer: Callable[[ChallengeMovement], list[Sample]], reason: str) -> None:
    """Required: a large enough left turn after the request, in time, by a head, and back to the same face."""
    assert Try(ONE_STEP, answer).run() == reason, name


def test_movement_between_two_steps() -> None:
    """A recording continues without regard to the door."""
    once: count[int] = count()

    def answer(ask: ChallengeMovement) -> list[Sample]:
        extra = [look(turned(one)) for one in there_and_back(-25)] if next(once) == 0 else []
        return obey(ask) + extra

    config = LivenessConfig(mode="challenge", challenge_movements=("turn-left",), challenge_steps=2)
    visitor = Try(config, answer)
    visitor.challenge = MovementChallenge(config, 1, lambda: 0.99, ADA, 0)
    assert visitor.run() == "moved-unasked"


def test_no_request_without_the_recognised_still_head() -> None:
    """The straight samples before the movement must show the recognised face."""
    stranger = Try(ONE_STEP, obey, before=look(turned(), BOB))
    assert (stranger.run(), [prompt.step for prompt in stranger.prompts]) == ("not-still", [0])


def test_single_wrong_measurement() -> None:
    """Single mesh errors occur; a wrong movement lasts for more than one sample."""
    slip = look(turned(up_deg=20))
    assert Try(ONE_STEP, lambda ask: [slip, *obey(ask)]).run() == "passed"
    assert Try(ONE_STEP, lambda ask: [slip, slip, *obey(ask)]).run() == "wrong-movement"


def test_drifting_head() -> None:
    """A head in motion is not a reference; the pause begins when the motion has ended."""
    challenge = MovementChallenge(ONE_STEP, 1, lambda: 0.0, ADA, 0)
    asked_ns = []
    for number in range(60):
        challenge.observe(look(turned(-20 + min(number * 4, 20) if number < 30 else 0.0)), number * LOOK_NS)
        asked_ns += [prompt.t_ns for prompt in challenge.drain_prompts() if prompt.state is ChallengeState.ASKED]
    assert 1_000_000_000 + 5 * LOOK_NS <= asked_ns[0] <= 1_000_000_000 + 12 * LOOK_NS


def test_reference_pose_is_a_mean() -> None:
    """One sample has an error of a degree or two, so the result must not depend on the last one before the request."""
    wavering = count()

    def rest() -> Sample:
        return look(turned((-1) ** next(wavering) * 2.0))

    challenge = MovementChallenge(ONE_STEP, 1, lambda: 0.0, ADA, 0)
    t_ns = 0
    while challenge.state is None:
        t_ns += LOOK_NS
        challenge.observe(rest(), t_ns)
    for one in there_and_back(20.5):
        t_ns += LOOK_NS
        challenge.observe(look(turned(one)), t_ns)
    assert challenge.state is ChallengeState.PASSED


@pytest.mark.parametrize(("up_deg", "asks"), [(0.0, {"look-up", "turn-left"}), (16.0, {"turn-left"})])
def test_no_look_up_request_to_a_raised_head(up_deg: float, asks: set[str]) -> None:
    """The mesh cannot measure more pitch, so another movement is requested, if one is configured."""
    config = LivenessConfig(mode="challenge", challenge_movements=("look-up", "turn-left"), challenge_steps=1)
    told = set()
    for seed in range(20):
        visitor = Try(config, lambda _: [], before=look(turned(up_deg=up_deg)))
        visitor.challenge = MovementChallenge(config, 1, np.random.default_rng(seed).random, ADA, 0)
        visitor.run(4)
        told |= {str(prompt.movement) for prompt in visitor.prompts}
    assert told == asks
    only = Try(
        LivenessConfig(mode="challenge", challenge_movements=("look-up",), challenge_steps=1),
        lambda _: [],
        look(turned(0, up_deg)),
    )
    only.run(4)
    assert [prompt.movement for prompt in only.prompts] == [ChallengeMovement.LOOK_UP]


def test_turn_beyond_identification() -> None:
    """A visitor who turns too far passes if the face was identified before and after."""
    path = [0.0, 0.0, 10.0, 20.0, 35.0, 48.0, 48.0, 35.0, 20.0, 10.0, 4.0, 0.0]
    seen = Try(ONE_STEP, lambda _: [look(turned(one), None if one > 36 else ADA) for one in path])
    assert seen.run() == "passed"


def test_unidentified_samples_between_identified_ones() -> None:
    """A turn beyond the measurable range counts; that of another person does not."""

    def seen(one: float, there: FloatArray | None) -> Sample:
        return untold(turned(one), "turned-away") if there is None else look(turned(one), there)

    path = [0.0, 0.0, 0.0, 8.0, 16.0, 24.0, 30.0, 30.0, 30.0, 24.0, 16.0, 8.0, 0.0, 0.0]
    assert Try(ONE_STEP, lambda _: [seen(one, None if one > 20 else ADA) for one in path]).run() == "passed"
    assert Try(ONE_STEP, lambda _: [seen(one, None if one > 20 else BOB if one else ADA) for one in path]).run() == (
        "too-late"
    )


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("farther", lambda one: untold(turned(one, size=0.75))),
        ("nearer", lambda one: untold(turned(one, size=1.3), "turned-away")),
        ("beside", lambda one: untold(turned(one) + np.array([130, 0, 0], np.float32))),
        ("above", lambda one: untold(turned(one) - np.array([0, 130, 0], np.float32))),
    ],
)
def test_movement_by_another_head(name: str, other: Callable[[float], Sample]) -> None:
    """The recognised face begins the movement; a head that cannot be identified continues it."""
    path = there_and_back(25)
    assert Try(ONE_STEP, lambda _: [other(one) if one > 13 else look(turned(one)) for one in path]).run() == (
        "too-late"
    ), name


def test_movement_by_a_head_never_identified() -> None:
    """A head of the same size in the same place was not identified before it turned, so it does not count."""
    path = there_and_back(25)
    assert Try(ONE_STEP, lambda _: [untold(turned(one)) if one else look(turned()) for one in path]).run() == "too-late"


def test_movement_by_an_approaching_head() -> None:
    """Visitors are not perfectly still: small changes of size and place are accepted."""
    path = there_and_back(25)
    nearer = [look(turned(one, size=1 + one / 250) + np.array([one, 0, 0], np.float32)) for one in path]
    assert Try(ONE_STEP, lambda _: nearer).run() == "passed"


@pytest.mark.parametrize("size", [0.8, 1.0, 1.25])
def test_size_of_a_head_that_turns(size: float) -> None:
    """A turn foreshortens the picture of a head and must not count as a change of distance."""
    for left_deg, up_deg in ((0.0, 0.0), (35.0, 0.0), (-35.0, 0.0), (0.0, 25.0)):
        assert estimate_motion(HEAD, turned(left_deg, up_deg, size)).size == pytest.approx(size, abs=0.01)


def test_movement_held_for_samples_in_a_row() -> None:
    """The movement is held for three samples without another face between them."""

    def answer(others: set[int]) -> list[Sample]:
        path = [0.0] * 4 + [10.0, 18.0, 24.0, 24.0, 24.0, 24.0, 18.0, 10.0] + [0.0] * 3
        return [look(turned(one), BOB if number in others else ADA) for number, one in enumerate(path)]

    assert Try(ONE_STEP, lambda _: answer(set())).run() == "passed"
    assert Try(ONE_STEP, lambda _: answer({8})).run() == "too-late"
    flickering = [look(turned(one)) for one in [0, 0, 0, 0, 12, 22, 12, 22, 12, 22, 12, 0, 0, 0]]
    assert Try(ONE_STEP, lambda _: flickering).run() == "too-late"


def test_unidentified_face_after_the_movement() -> None:
    """The last sample must show the recognised face, not only a straight one."""
    path = there_and_back(25)
    end = len(path) - 3
    answer = [look(turned(one)) if number < end - 4 else untold(turned(one)) for number, one in enumerate(path)]
    assert Try(ONE_STEP, lambda _: answer + [untold(turned())] * 60).run() == "too-late"


def test_samples_without_a_face() -> None:
    """Invalid meshes are not a movement; if they continue, the face is out of sight."""
    doubtful = [replace(one, quality=replace(one.quality, refusal="no-face")) for one in [look(turned(-25), None)] * 12]
    assert Try(ONE_STEP, lambda ask: doubtful[:8] + obey(ask)).run() == "passed"
    assert Try(ONE_STEP, lambda ask: doubtful + obey(ask)).run() == "out-of-sight"


def test_face_out_of_sight() -> None:
    """While the face is hidden, it could be exchanged."""
    challenge = Try(ONE_STEP, lambda _: []).challenge
    t_ns = 0
    while challenge.state is None:
        t_ns += LOOK_NS
        challenge.observe(look(turned()), t_ns)
    challenge.pass_time(t_ns + 11 * LOOK_NS)
    assert challenge.reason == "out-of-sight"


@pytest.fixture(scope="module")
def portraits(vision: VisionStages, photo: Callable[[str], BgrImage]) -> list[SampledPortrait]:
    found = [SampledPortrait.of(photo(stem), vision) for stem in ("obama2", "obama3", "biden", "astronaut")]
    return [model for model in found if model is not None]


@pytest.mark.parametrize("left_deg", [-35.0, 35.0])
def test_full_turn_in_a_near_detection(
    left_deg: float, portraits: list[SampledPortrait], watching: VisionStages
) -> None:
    """Its boxes contain a whole turned head, of which the mesh would measure as little as 11 degrees."""
    near = Detector(watching.models[1], DetectorConfig())
    for model in portraits:
        picture = fit_portrait(model.portrait, model.landmarks, 45.0)
        face = watching.detector.detect(Frame(picture, 0, 0))[0]
        landmarks = watching.reader.sample(Frame(picture, 0, 0), face).landmarks
        assert landmarks is not None
        meshes = []
        for pose in (Pose(), Pose(left_deg)):
            frame = Frame(RenderedHead(picture, landmarks).render(pose), 0, 0)
            found = watching.reader.sample(frame, eye_centred(near.detect_around(frame, face)[0])).landmarks
            assert found is not None
            meshes.append(found.points_px)
        assert estimate_motion(*meshes).left_deg == pytest.approx(left_deg, abs=8)
