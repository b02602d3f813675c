"""One run: samples of one face over about a second, each compared with the first."""

from __future__ import annotations

from statistics import median

from edge.core.records import FloatArray, Frame, Landmarks, Sample
from edge.liveness.cues.background_motion import BackgroundMotion, CellChange, background_follows_face
from edge.liveness.cues.mouth import mouth_openness, mouth_variation
from edge.liveness.cues.planar import FacePatch, PlanarReference, PlanarResidual, brightness, local_motion
from edge.liveness.cues.recapture import flicker_energy, moire_energy
from edge.liveness.cues.weights import Values

MIN_FRAMES = 6  # samples in a run, including the first, below which there are no cue values
_SCALE = 1.15  # largest ratio of the eye distances of two samples; more means that a mesh is wrong
_STRANGE = 0.15  # unexplained share above which registration has failed; heads that turn reach 0.08
_MISREGISTERED = 0.25  # failed relative to compared samples, above which the mesh is not reliable


class ObservationWindow:
    """Samples that are compared with one reference."""

    def __init__(self, look: FacePatch, frame: Frame, sample: Sample, landmarks: Landmarks, t_ns: int) -> None:
        self.first_ns = self.last_ns = t_ns  # time of the reference and of the last comparable sample
        self.looks = 1  # number of comparable samples, including the reference
        self.misses = 0  # incomparable samples in a row
        self._missed = 0
        self._size_px = sample.quality.size_px
        self._reference = PlanarReference(look)
        self._surroundings = BackgroundMotion(frame, landmarks)
        self._residuals: list[PlanarResidual] = []
        self._changes: list[CellChange] = []
        self._light: list[tuple[float, float]] = []
        self._stripes: list[float] = []
        self._openings: list[float] = []
        self._note(look, frame, landmarks)

    def add(self, look: FacePatch, frame: Frame, sample: Sample, landmarks: Landmarks, t_ns: int) -> bool:
        """Add a later sample; False: it cannot be compared, because the mesh is wrong."""
        alike = 1 / _SCALE < sample.quality.size_px / max(self._size_px, 1e-6) < _SCALE
        residual = self._reference.residual(look) if alike else None
        if residual is None or residual.unexplained > _STRANGE:
            self._missed += 1
            self.misses += 1
            return False
        self._residuals.append(residual)
        seen = self._note(look, frame, landmarks)
        change = None if seen is None else self._surroundings.compare(seen, residual.moved)
        if change is not None:
            self._changes.append(change)
        self.last_ns, self.misses = t_ns, 0
        self.looks += 1
        return True

    def cue_values(self, min_ns: float) -> Values | None:
        """Cue values; None if the run is shorter than `min_ns`, has too few samples, or the mesh is not reliable."""
        slipped = self._missed > len(self._residuals) * _MISREGISTERED
        if self.last_ns - self.first_ns < min_ns or self.looks < MIN_FRAMES or slipped:
            return None
        return {
            "local-motion": local_motion(self._residuals, self._reference.gradient),
            "unexplained": median(each.unexplained for each in self._residuals),
            "surroundings": background_follows_face(self._changes),
            "mouth": mouth_variation(self._openings),
            "moire": median(self._stripes) if len(self._stripes) >= MIN_FRAMES else None,
            "flicker": flicker_energy(self._light) if len(self._light) >= MIN_FRAMES else None,
        }

    def _note(self, look: FacePatch, frame: Frame, landmarks: Landmarks) -> FloatArray | None:
        """Record the measurements of a single sample; returns the surroundings of the face."""
        self._openings.append(mouth_openness(landmarks))
        # A moire pattern is present from the first sample, and the search takes time.
        pattern = moire_energy(frame, landmarks) if len(self._stripes) < MIN_FRAMES else None
        if pattern is not None:
            self._stripes.append(pattern)
        seen = self._surroundings.add_frame(frame)
        if seen is not None:
            self._light.append((brightness(look), self._surroundings.brightness(seen)))
        return seen
