"""One run: the looks of a second or so at one face, each compared with the first."""

from __future__ import annotations

from statistics import median

from edge.core.records import FloatArray, Frame, Landmarks, Sample
from edge.liveness.cues.background_motion import BackgroundMotion, CellChange, background_follows_face
from edge.liveness.cues.mouth import mouth_openness, mouth_variation
from edge.liveness.cues.planar import FacePatch, PlanarReference, PlanarResidual, brightness, local_motion
from edge.liveness.cues.recapture import flicker_energy, moire_energy
from edge.liveness.cues.weights import Values

MIN_FRAMES = 6  # in a run, the first included, for it to mean anything
_SCALE = 1.15  # largest quotient of eye distances of two looks that are compared; more is a mesh that has slipped
_STRANGE = 0.15  # unexplained share from which on a look was not registered; heads that turn reach 0.08
_MISREGISTERED = 0.25  # of those compared, so many that cannot be: the mesh is not to be trusted


class ObservationWindow:
    """Looks compared with one reference."""

    def __init__(self, look: FacePatch, frame: Frame, sample: Sample, landmarks: Landmarks, t_ns: int) -> None:
        self.first_ns = self.last_ns = t_ns  # the reference, and the last look that could be compared
        self.looks = 1  # the reference, and those that could be compared
        self.misses = 0  # looks in a row that could not be
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
        """Take a later look; False: it cannot be compared, the mesh has slipped."""
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
        """Its cues; None while it lasts less than `min_ns`, has few looks, or the mesh is not to be trusted."""
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
        """Take down what one look tells by itself; returns what is around the face."""
        self._openings.append(mouth_openness(landmarks))
        # A pattern is there from the first, and looking for it costs.
        pattern = moire_energy(frame, landmarks) if len(self._stripes) < MIN_FRAMES else None
        if pattern is not None:
            self._stripes.append(pattern)
        seen = self._surroundings.add_frame(frame)
        if seen is not None:
            self._light.append((brightness(look), self._surroundings.brightness(seen)))
        return seen
