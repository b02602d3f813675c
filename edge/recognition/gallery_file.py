"""The gallery file: safetensors, bound to its embedder, checked when it is loaded.

It has `centroids` (N, D) float32 unit rows, `thresholds_sq` (N,) float32, and the people as UTF-8 text in one byte
tensor `people`, where `ends` (N,) uint64 are the ends of the entries: id, tab, name. The format contains no executable
code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from edge.core.errors import DECODE_ERRORS, GalleryError
from edge.core.files import atomic_write
from edge.core.records import FloatArray, Person
from edge.recognition.encryption import MAGIC, GalleryKey, decrypt_if_needed, is_encrypted
from edge.recognition.gallery import MAX_DISTANCE_SQ, Gallery, GalleryInfo
from edge.recognition.gallery_chunks import TensorEntry
from edge.recognition.shortlist import unit_lengths_sq

HEADER = "threshold-gallery"  # the only metadata key, with JSON: safetensors writes several keys in random order
VERSION = 1
MMAP_MIN_BYTES = 64 * 1024 * 1024  # about 80,000 people
_SAMPLED = 4096  # rows of a memory-mapped gallery that are checked when it is opened


class _Header(msgspec.Struct, frozen=True):
    version: int
    embedder_sha256: str


def load_gallery(
    path: Path,
    embedder_sha256: str,
    key: GalleryKey | None = None,
    *,
    dimension: int | None = None,
    mmap_min_bytes: int = MMAP_MIN_BYTES,
) -> Gallery:
    """Load a gallery and check all of it; with a key it must be encrypted, and its version is that of the plain file.

    A file larger than `mmap_min_bytes` is memory-mapped: its vectors are read once to build the index and then only
    for candidates, its people when they are needed; duplicate people are not detected. The file must not be modified
    while it is in use; replacing it is fine.

    Args:
        path: gallery file.
        embedder_sha256: hash of the embedder in use.
        key: key of an encrypted gallery; None: the file must be plain.
        dimension: required length of the vectors; None: any.
        mmap_min_bytes: size above which the file is memory-mapped.

    Raises:
        GalleryError: the file is missing, truncated, malformed, encrypted with another key, or of another embedder.
    """
    info, (people, centroids, thresholds_sq) = _read_file(path, key, mmap_min_bytes)
    if info.embedder_sha256 != embedder_sha256:
        raise GalleryError(
            f"{path}: made by another embedder ({info.embedder_sha256[:12]}, this door runs {embedder_sha256[:12]}); "
            "enrol again with threshold enroll"
        )
    length = centroids.shape[1]
    if dimension is not None and length != dimension:
        raise GalleryError(
            f"{path}: vectors of {length} numbers, the embedder has {dimension}; make it again with threshold enroll"
        )
    try:
        return Gallery(people, centroids, thresholds_sq, info)
    except ValueError as error:
        raise _damaged(path, error) from error


def read_info(path: Path) -> GalleryInfo:
    """Metadata of a gallery of any embedder; all of the file is checked as by `load_gallery`.

    Raises:
        GalleryError: the file is missing, truncated or malformed.
    """
    return _read_file(path, None, MMAP_MIN_BYTES)[0]


_Rows = tuple[Sequence[Person], FloatArray, FloatArray]  # people, their centroids and their thresholds_sq


def _read_file(path: Path, key: GalleryKey | None, mmap_min_bytes: int) -> tuple[GalleryInfo, _Rows]:
    try:
        with path.open("rb") as file:
            sealed = key is not None or is_encrypted(file.read(len(MAGIC)))
        mapped = path.stat().st_size > mmap_min_bytes and not sealed
        whole = decrypt_if_needed(path.read_bytes(), key, path) if not mapped else b""
        content = np.memmap(path, np.uint8, "r") if mapped else np.frombuffer(whole, np.uint8)
        text, names = _parse_header_bytes(whole) if sealed else _parse_header(path)
    except FileNotFoundError as error:
        raise GalleryError(
            f"{path}: no such gallery; make one with  threshold enroll PHOTOS --out {path.name}"
        ) from error
    except OSError as error:
        raise GalleryError(f"{path}: cannot be read ({error.strerror or error})") from error
    except GalleryError:
        raise
    except (SafetensorError, ValueError, *DECODE_ERRORS) as error:
        raise GalleryError(f"{path}: damaged or not a gallery ({error}); make it again or restore a copy") from error
    try:
        header = msgspec.json.decode(text, type=_Header)
    except DECODE_ERRORS as error:
        raise GalleryError(f"{path}: a safetensors file, but not a gallery; make one with threshold enroll") from error
    if header.version != VERSION:
        raise GalleryError(f"{path}: gallery version {header.version}; this program reads version {VERSION}")
    try:
        tensors = _tensors(content, names)
        rows = _checked(tensors, mapped)
    except (KeyError, ValueError, *DECODE_ERRORS) as error:
        raise _damaged(path, error) from error
    version = _content_digest(content, tensors) if mapped else hashlib.sha256(content.data).hexdigest()
    return GalleryInfo(version, header.embedder_sha256, len(rows[0])), rows


def _parse_header(path: Path) -> tuple[str, list[str]]:
    """Metadata and tensor names from the header of a file; checks the layout."""
    with safe_open(path, framework="numpy") as opened:
        return (opened.metadata() or {}).get(HEADER, ""), list(opened.keys())


def _parse_header_bytes(content: bytes) -> tuple[str, list[str]]:
    """Like `_parse_header`, for a file in memory."""
    names = [name for name, _ in deserialize(content)]  # type: ignore[no-untyped-call]
    head = content[8 : 8 + int.from_bytes(content[:8], "little")]
    fields = msgspec.json.decode(head, type=dict[str, msgspec.Raw])
    return msgspec.json.decode(fields.get("__metadata__", b"{}"), type=dict[str, str]).get(HEADER, ""), names


_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "U8": np.dtype("u1"), "U64": np.dtype("<u8")}


def _tensors(content: NDArray[np.uint8], names: list[str]) -> dict[str, NDArray[Any]]:
    """The tensors as views of a file whose layout was checked."""
    head = 8 + int(content[:8].view("<u8")[0])
    header = msgspec.json.decode(content[8:head].tobytes(), type=dict[str, msgspec.Raw])
    tensors = {}
    for name in names:
        tensor = msgspec.json.decode(header[name], type=TensorEntry)
        start, end = (head + offset for offset in tensor.data_offsets)
        if tensor.dtype in _DTYPES:
            tensors[name] = content[start:end].view(_DTYPES[tensor.dtype]).reshape(tensor.shape)
    return tensors


def _content_digest(content: NDArray[np.uint8], tensors: dict[str, NDArray[Any]]) -> str:
    """Version of a memory-mapped gallery: digest of everything except the vectors, and of a share of those."""
    digest = hashlib.sha256(len(content).to_bytes(8, "little"))
    for name in sorted(tensors.keys() - {"centroids"}):
        digest.update(np.ascontiguousarray(tensors[name]).data)
    centroids = tensors["centroids"]
    digest.update(np.ascontiguousarray(centroids[:: max(len(centroids) // _SAMPLED, 1)]).data)
    return digest.hexdigest()


class _PeopleRecord(Sequence[Person]):
    """People, decoded on access."""

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.uint64]) -> None:
        self._text = text
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, row: int) -> Person: ...
    @overload
    def __getitem__(self, row: slice) -> list[Person]: ...
    def __getitem__(self, row: int | slice) -> Person | list[Person]:
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        start = int(self._ends[row - 1]) if row else 0
        return _person(self._text[start : int(self._ends[row])].tobytes())


def save_gallery(
    path: Path, people: Sequence[Person], centroids: FloatArray, thresholds_sq: FloatArray, embedder: str
) -> None:
    """Write a gallery durably, readable by its owner only; a reader sees the old file or the complete new one.

    Args:
        people: N people with distinct ids; no tabs or line breaks in ids and names.
        centroids: (N, D) float32 unit rows.
        thresholds_sq: (N,) float32.
        embedder: sha256 of the model file of the embedder.
    """
    texts = [f"{person.id}\t{person.name}".encode() for person in people]
    tensors: dict[str, NDArray[Any]] = {
        "centroids": np.ascontiguousarray(centroids, np.float32),
        "thresholds_sq": np.ascontiguousarray(thresholds_sq, np.float32),
        "people": np.frombuffer(b"".join(texts), np.uint8),
        "ends": np.cumsum([len(text) for text in texts], dtype=np.uint64),
    }
    header = msgspec.json.encode(_Header(version=VERSION, embedder_sha256=embedder)).decode()
    atomic_write(path, save(tensors, {HEADER: header}), private=True)


def _checked(tensors: dict[str, NDArray[Any]], mapped: bool) -> _Rows:
    columns = [tensors[name] for name in ("centroids", "thresholds_sq", "people", "ends")]
    if [(column.dtype.str, column.ndim) for column in columns] != [("<f4", 2), ("<f4", 1), ("|u1", 1), ("<u8", 1)]:
        raise ValueError("tensors of the wrong type")
    centroids, thresholds_sq, text, ends = columns
    if not len(ends) == len(centroids) == len(thresholds_sq) or (int(ends[-1]) if len(ends) else 0) != len(text):
        raise ValueError("tensors of different lengths")
    if np.any(ends[1:] < ends[:-1]):
        raise ValueError("people out of order")
    people: Sequence[Person] = _PeopleRecord(text, ends)
    if mapped:
        _check_people(text, ends)
        sample = centroids[:: max(len(centroids) // _SAMPLED, 1)]
    else:
        people, sample = list(people), centroids
        if len({person.id for person in people}) != len(people):
            raise ValueError("a person is in it twice")
    unit_lengths_sq(sample)
    if not np.all((thresholds_sq >= 0) & (thresholds_sq <= MAX_DISTANCE_SQ)):
        raise ValueError("a threshold is outside 0..4")
    return people, centroids, thresholds_sq


def _check_people(text: NDArray[np.uint8], ends: NDArray[np.uint64]) -> None:
    """Check the entries in one pass, so that `_person` cannot fail at the door."""
    text.tobytes().decode()
    starts = np.concatenate([np.zeros(min(len(ends), 1), np.uint64), ends[:-1]])
    tabs = np.append(np.flatnonzero(text == ord("\t")), len(text)).astype(np.uint64)
    first_tabs = tabs[np.searchsorted(tabs, starts)]
    if np.any(first_tabs <= starts) or np.any(first_tabs >= ends) or np.any(text[starts] & 0xC0 == 0x80):
        raise ValueError("a person without id")


def _person(text: bytes) -> Person:
    id_, tab, name = text.decode().partition("\t")
    if not id_ or not tab:
        raise ValueError("a person without id")
    return Person(id_, name)


def _damaged(path: Path, error: Exception) -> GalleryError:
    return GalleryError(f"{path}: damaged ({error}); make it again or restore a copy")
