"""Fuzz targets: binary files."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from support.mqtt_brokers import an_event, announce
from support.release_signer import EMBEDDER, gallery_bytes, vector
from threshold_tools.embeddings import LabelledEmbeddings, load_embeddings, save_embeddings

from edge.core.config import OutboxConfig
from edge.core.errors import CameraError, GalleryError, ImageError, InputError, OutboxError
from edge.core.records import BgrImage
from edge.outbox.outbox import Outbox
from edge.recognition import gallery_chunks
from edge.recognition.gallery import Gallery
from edge.recognition.gallery_file import load_gallery, read_info
from edge.vision.camera_file import VideoFileCamera
from edge.vision.images import read_image
from fuzz.formats import pack, png_with_checksums, safetensors_with_length, unpack
from fuzz.mutate import SEPARATOR
from fuzz.target import Parse, Target

_PIECE_BYTES = 32 * 1024
_FRAMES = 4
_HEADER = (
    b'"F32"', b'"U8"', b'"U64"', b'"BF16"', b'"shape":[]', b'"shape":[0]', b'"data_offsets":[0,0]', b"[2,192]",
    b"[192,2]", b'"__metadata__":{}', b"\t", b"threshold-gallery",
)  # fmt: skip


def _asked(gallery: Gallery) -> None:
    """Check that an accepted gallery returns a match, with a person unless it is empty."""
    if gallery.centroids.shape[1] == 192:
        match = gallery.nearest(vector(5))
        assert 0 <= match.distance_sq <= match.runner_up_sq + 1e-3 <= 4.01
        assert (match.person is None) == (len(gallery.people) == 0)
    assert len(list(gallery.people)) == len(gallery.centroids)


def _gallery(folder: Path) -> Parse:
    path = folder / "gallery.safetensors"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        read_info(path)
        _asked(load_gallery(path, EMBEDDER))

    return parse


def _mapped_gallery(folder: Path) -> Parse:
    path = folder / "gallery.safetensors"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        gallery = load_gallery(path, EMBEDDER, mmap_min_bytes=0)
        if gallery.centroids.shape[1] == 192:
            gallery.nearest(vector(5))

    return parse


def _galleries() -> list[bytes]:
    return [gallery_bytes([1, 2, 3]), gallery_bytes([]), gallery_bytes(range(20))]


def _piece_seeds() -> list[bytes]:
    return [pack(*gallery_chunks.split(content, 4, _PIECE_BYTES)) for content in _galleries()[::2]]


def _pieces(_: Path) -> Parse:
    """Pieces that can be joined make a file that can be split again."""
    lengths = [len(content) for content in _galleries()[::2]]

    def parse(content: bytes) -> None:
        pieces = unpack(content, 1 + content.count(SEPARATOR))
        joined = gallery_chunks.assemble(pieces, min(lengths, key=lambda length: abs(length - len(content))))
        gallery_chunks.split(joined, 4, _PIECE_BYTES)
        gallery_chunks.person_ids(joined)

    return parse


def _retained(_: Path) -> Parse:
    """Either of the two galleries may be damaged."""
    other = gallery_bytes([2, 3, 4])

    def parse(content: bytes) -> None:
        kept = gallery_chunks.keep_only_people_in(content, other)
        assert gallery_chunks.person_ids(kept) <= gallery_chunks.person_ids(other)
        gallery_chunks.keep_only_people_in(other, content)

    return parse


def _vectors(folder: Path) -> Parse:
    path = folder / "vectors.npz"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        load_embeddings(path)

    return parse


def _vector_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "v.npz"
        rows = np.stack([vector(1, 8), vector(2, 8)])
        save_embeddings(path, LabelledEmbeddings(rows, np.array([True, True]), ["a/1.jpg", "b/1.jpg"], EMBEDDER))
        return [path.read_bytes()]


def _outbox(folder: Path) -> Parse:
    """With any content of the files, an accepted event is stored after a restart, with a higher number."""
    path = folder / "outbox.db"
    config = OutboxConfig(max_events=50, keep_delivered=3)

    def parse(content: bytes) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        for suffix, part in zip(("", "-wal"), unpack(content, 2), strict=True):
            if part:
                path.with_name(path.name + suffix).write_bytes(part)
        path.with_suffix(".ballast").touch()  # writing 1 MiB each time would dominate the run
        with Outbox(path, config, announce=announce) as outbox:
            waiting = outbox.pending()
            assert [event.seq for event in waiting] == sorted({event.seq for event in waiting})
            seq = outbox.append(event := an_event("after"))
            outbox.acknowledge(seq - 1)
            outbox.recent()
        with Outbox(path, config, announce=announce) as outbox:
            found = outbox.pending()
            assert [one.id for one in found if one.seq == seq] == [event.id], (seq, found)
            assert outbox.append(an_event("later")) > seq

    return parse


def _outbox_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "outbox.db"
        with Outbox(path, OutboxConfig(max_events=50, keep_delivered=3), announce=announce) as outbox:
            for number in range(8):
                outbox.append(an_event(f"event {number}"))
            outbox.acknowledge(2)
            open_files = pack(path.read_bytes(), path.with_name("outbox.db-wal").read_bytes())
        return [pack(path.read_bytes(), b""), open_files]


def _picture(width: int = 48, height: int = 32) -> BgrImage:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 7, columns * 5, rows * columns], -1).astype(np.uint8)


def _image(folder: Path) -> Parse:
    path = folder / "photo"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        pixels = read_image(path)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3

    return parse


def _encoded(suffix: str, pixels: cv2.typing.MatLike, options: list[int] | None = None) -> bytes:
    return cv2.imencode(suffix, pixels, options or [])[1].tobytes()


def _image_seeds() -> list[bytes]:
    pixels = _picture()
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    jpeg = _encoded(".jpg", pixels)
    exif = (
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    )
    turned = jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]
    return [
        jpeg,
        turned,
        _encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        _encoded(".jpg", grey),
        _encoded(".png", pixels),
        _encoded(".png", np.dstack([pixels, grey])),
        _encoded(".png", grey.astype(np.uint16) * 257),
        _encoded(".bmp", pixels),
        _encoded(".bmp", grey),
        _encoded(".webp", pixels),
    ]


def _clip(folder: Path) -> Parse:
    path = folder / "clip"

    def parse(content: bytes) -> None:
        path.write_bytes(content)
        with VideoFileCamera(path) as clip:
            stamps = [frame.captured_ns for frame in itertools.islice(clip, _FRAMES)]
        assert stamps == sorted(set(stamps))

    return parse


def _clip_seeds() -> list[bytes]:
    made = []
    with tempfile.TemporaryDirectory() as name:
        for suffix, codec in ((".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "mp4v")):
            path = Path(name) / f"clip{suffix}"
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10.0, (64, 48))
            for number in range(6):
                writer.write(np.roll(_picture(64, 48), number, 0))
            writer.release()
            made.append(path.read_bytes())
    return [one for one in made if one]


TARGETS = (
    Target(
        "gallery", "a gallery of an operator or a release", _galleries, _gallery, (GalleryError,), 50_000,
        _HEADER, safetensors_with_length,
    ),
    Target(
        "gallery-mapped", "a gallery, memory-mapped", _galleries, _mapped_gallery, (GalleryError,), 20_000,
        _HEADER, safetensors_with_length,
    ),
    Target("pieces", "pieces of a gallery in a release", _piece_seeds, _pieces, (ValueError,), 40_000, _HEADER),
    Target(
        "retained", "an old gallery, reduced to the people of a new one", _galleries, _retained, (ValueError,), 20_000,
        _HEADER, safetensors_with_length,
    ),
    Target("vectors-npz", "stored vectors of the desktop tools", _vector_seeds, _vectors, (InputError,), 10_000),
    Target(
        "outbox-db", "the door's damaged event store and its log", _outbox_seeds, _outbox, (OutboxError,), 3_000,
        (b"\x00\x00\x00\x05", b"SQLite format 3\x00"),
    ),
    Target(
        "image", "photos, through OpenCV in this process", _image_seeds, _image, (ImageError,), 20_000,
        (b"\xff\xd9", b"\xff\xda", b"\xff\xc2", b"IDAT", b"IEND", b"VP8L", b"acTL"), png_with_checksums, 640,
    ),
    Target("clip", "clips, through OpenCV and FFmpeg in this process", _clip_seeds, _clip, (CameraError,), 1_000,
           (b"moov", b"mdat", b"idx1", b"LIST", b"#EXTM3U\n"), None, 640),
)  # fmt: skip
