"""Alternates between a search of the whole picture and close-ups of known faces.

The far model finds all faces and takes three times as long as the near model, so it searches the whole picture only at
intervals. In between, the near model refines the known faces, where it detects small ones better, or detects near faces
if none is known. After a pause the near model runs first, so that a visitor at the door does not wait for a search.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.core.config import DetectorConfig
from edge.core.records import Face, Frame
from edge.vision.detector import Detector

_CLOSE_UP_CALLS = 2  # more close-ups take as long as a search
_SAME_FACE_IOU = 0.3  # IoU with the last frame's box
_REST = 2  # a pause: multiple of `far_scan_every_s` without detection
_NEAR = 0.15  # share of the longer side of the picture: 96 px of 640, about 1 m away


class CascadeDetector:
    """Finds faces with two detectors, one for the whole picture and one for close-ups; not thread-safe."""

    def __init__(self, everywhere: Detector, close: Detector, config: DetectorConfig) -> None:
        """
        Args:
            everywhere: detector for whole frames.
            close: detector for the surroundings of one face; may be the same object.
        """
        self._everywhere = everywhere
        self._close = close
        self._config = config
        self._searched_ns: int | None = None
        self._looked_ns: int | None = None

    def detect(self, frame: Frame, known: Sequence[Face] = ()) -> list[Face]:
        """Find the faces of one frame, largest first.

        Args:
            known: last detections of the tracked faces. If there are one or two, each is found again, and the last
                search is recent, the frame is not searched for others.
        """
        rested = self._scan_due(self._looked_ns, frame, _REST * self._config.far_scan_every_s)
        self._looked_ns = frame.captured_ns
        due = self._scan_due(self._searched_ns, frame, self._config.far_scan_every_s)
        if not known and self._close is not self._everywhere and (rested or not due):
            faces = self._refine_near(frame)
            if faces or not due:
                return faces  # a search that is due runs on the next frame
        if known and not due and len(known) <= _CLOSE_UP_CALLS and (faces := self._rescan(frame, known)):
            return faces
        self._searched_ns = frame.captured_ns
        return self._everywhere.detect(frame)

    @staticmethod
    def _scan_due(then_ns: int | None, frame: Frame, seconds: float) -> bool:
        """Whether `then_ns` is at least `seconds` ago, None, or later than the frame (of another clip)."""
        return then_ns is None or not 0 <= frame.captured_ns - then_ns < seconds * 1e9

    def _refine_near(self, frame: Frame) -> list[Face]:
        """Faces that are large enough for the near model to locate them in the whole picture."""
        least = _NEAR * max(frame.pixels.shape)
        return [face for face in self._close.detect(frame) if max(face.box.width, face.box.height) >= least]

    def _rescan(self, frame: Frame, known: Sequence[Face]) -> list[Face]:
        """New detections of the known faces; empty if one is not found or two became the same face."""
        faces: list[Face] = []
        for old in known:
            near = self._close.detect_around(frame, old)
            face = max(near, key=lambda new: new.box.iou(old.box), default=None)
            if face is None or face.box.iou(old.box) < _SAME_FACE_IOU:
                return []
            if any(face.box.iou(other.box) > self._config.nms_iou for other in faces):
                return []
            faces.append(face)
        return sorted(faces, key=lambda face: -face.box.area)
