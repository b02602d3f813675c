"""Where to look for faces: everywhere now and then, otherwise closely at those already known.

The far model finds everybody and costs three times the near one. So it searches the whole picture once in a while;
between, the near one looks around the faces that are known, where it sees small ones better, or, if nobody is, for
somebody who has come near. After a rest, too, it is asked first: who has come to the door waits for no search.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.core.config import DetectorConfig
from edge.core.records import Face, Frame
from edge.vision.detector import Detector

_CLOSE_UP_CALLS = 2  # more cost as much as a search
_SAME_FACE_IOU = 0.3  # IoU with the last frame's box
_REST = 2  # times `far_scan_every_s` without any look
_NEAR = 0.15  # of the picture's longer side: 96 px of 640, about a metre away


class CascadeDetector:
    """Finds faces with two detectors, one for the whole picture and one for close looks; not thread-safe."""

    def __init__(self, everywhere: Detector, close: Detector, config: DetectorConfig) -> None:
        """
        Args:
            everywhere: searches whole frames.
            close: looks around one face; may be the same.
        """
        self._everywhere = everywhere
        self._close = close
        self._config = config
        self._searched_ns: int | None = None
        self._looked_ns: int | None = None

    def detect(self, frame: Frame, known: Sequence[Face] = ()) -> list[Face]:
        """Faces of one frame, largest first.

        Args:
            known: the faces that are being followed, as they were last seen. While there are one or two, each is found
                again, and the last search is recent, nothing else is looked for.
        """
        rested = self._scan_due(self._looked_ns, frame, _REST * self._config.far_scan_every_s)
        self._looked_ns = frame.captured_ns
        due = self._scan_due(self._searched_ns, frame, self._config.far_scan_every_s)
        if not known and self._close is not self._everywhere and (rested or not due):
            faces = self._refine_near(frame)
            if faces or not due:
                return faces  # the search, if due, is left to the next frame
        if known and not due and len(known) <= _CLOSE_UP_CALLS and (faces := self._rescan(frame, known)):
            return faces
        self._searched_ns = frame.captured_ns
        return self._everywhere.detect(frame)

    @staticmethod
    def _scan_due(then_ns: int | None, frame: Frame, seconds: float) -> bool:
        """Whether that long ago, never, or in another clip."""
        return then_ns is None or not 0 <= frame.captured_ns - then_ns < seconds * 1e9

    def _refine_near(self, frame: Frame) -> list[Face]:
        """Faces so large that the near model places them well even in the whole picture."""
        least = _NEAR * max(frame.pixels.shape)
        return [face for face in self._close.detect(frame) if max(face.box.width, face.box.height) >= least]

    def _rescan(self, frame: Frame, known: Sequence[Face]) -> list[Face]:
        """The known faces as they are now, or nothing as soon as one is not found or two have become one."""
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
