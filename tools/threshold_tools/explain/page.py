"""The explanation as one HTML file that needs no other."""

from __future__ import annotations

from pathlib import Path

from edge.core.records import AccessOutcome
from threshold_tools.explain import drawing
from threshold_tools.explain.photo import ExplainedPhoto, format_part
from threshold_tools.explain.report import Explanation, PhotoReport
from threshold_tools.explain.text_report import SCALE, region_lines, strangers
from threshold_tools.html import picture_uri, render

_TONES = {str(AccessOutcome.DOOR_OPEN): "good", str(AccessOutcome.DENIED): "bad", "": "bad"}


def page(found: Explanation, a: ExplainedPhoto, b: ExplainedPhoto | None) -> str:
    """The page."""
    photos = [_photo("A", "comes to the door", found.a, a)]
    if b is not None and found.b is not None:
        aside = f"; {found.gallery} aside" if found.gallery else ""
        photos.append(_photo("B", f"compared with A as if it were enrolled{aside}", found.b, b))
    return render(
        "explain.html",
        title=f"{Path(found.a.photo).name} and {Path(found.b.photo).name if found.b else found.target.name}",
        found=found,
        verdict=_TONES.get(found.answer.kind, ""),
        photos=photos,
        scale=SCALE,
        strangers=strangers(found),
        format_part=format_part,
    )


def _photo(
    letter: str, role: str, shown: PhotoReport, photo: ExplainedPhoto
) -> tuple[str, str, PhotoReport, list[tuple[str, str]], list[str]]:
    """What the template shows of a photo: letter, role, report, pictures with captions, lines about regions."""
    faces = "one face" if shown.faces == 1 else f"{shown.faces} faces; the largest, most central one is used (green)"
    pictures = [
        (drawing.full_photo(photo), f"{shown.width_px}x{shown.height_px} px, {faces}"),
        (drawing.face_crop(photo), "box, mesh and the five points"),
        (drawing.aligned(photo), "aligned: what the embedder gets"),
    ]
    if shown.occlusion is not None:
        pictures.append((drawing.heatmap(photo, shown.occlusion), "what drives the distance"))
    return letter, role, shown, [(picture_uri(picture), caption) for picture, caption in pictures], region_lines(shown)
