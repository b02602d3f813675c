"""The heart of a door: one frame in, the decisions that it tips out.

Nothing here reads a clock, a file or the network. The daemon and the replay of a clip run this very loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.access.policy import Policy
from edge.config import DoorConfig
from edge.identity.gallery import Gallery
from edge.identity.verdict import Judge
from edge.records import Decision, Frame, Sample, Track
from edge.vision.metering import Meter, unmetered
from edge.vision.motion import Motion
from edge.vision.reader import Vision
from edge.vision.tracker import Tracker


class Pipeline:
    """Motion, detector, tracker, samples, verdict, access rules, in this order; not thread-safe.

    Attributes:
        tracks: those of the last step, to look at.
        samples: of the last step by track id, to look at.
        judge: the evidence, to look at.
    """

    def __init__(self, config: DoorConfig, vision: Vision, gallery: Gallery, meter: Meter = unmetered) -> None:
        """
        Args:
            config: of the door; each stage gets its own table.
            vision: the loaded models; the meter was given to them already.
            gallery: who is enrolled, made by the embedder in `vision`.
            meter: watches the stages bound here.
        """
        self.tracks: Sequence[Track] = ()
        self.samples: dict[int, Sample] = {}
        self.judge = Judge(gallery, config.verdict)
        self._tracker = Tracker(config.tracker)
        self._policy = Policy(config.access)
        self._moved = meter("motion", Motion(config.motion).moved)
        self._detect = meter("detect", vision.detector.detect)
        self._read = vision.reader.read

    def step(self, frame: Frame) -> list[Decision]:
        """Take one frame; returns the decisions that fell with it, seldom any."""
        self.samples = {}
        if not self._moved(frame) and not self._tracker.alive:
            self.tracks = ()
            return []
        self.tracks = self._tracker.update(self._detect(frame), frame.t_ns)
        for track in self.judge.wanting(self.tracks, frame.t_ns):
            self.samples[track.id] = self._read(frame, track.face)
            self.judge.observe(track, self.samples[track.id], frame.t_ns)
        return self._decide(frame.t_ns)

    def finish(self, t_ns: int) -> list[Decision]:
        """The source has ended: everybody has left, and what is ripe falls now."""
        self.tracks = self._tracker.finish()
        return self._decide(t_ns)

    def _decide(self, t_ns: int) -> list[Decision]:
        return [self._policy.decide(verdict, t_ns) for verdict in self.judge.ripe(self.tracks, t_ns)]
