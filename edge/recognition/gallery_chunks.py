"""Splits a gallery file into pieces that stay equal when other people are added or removed, and assembles them.

Rows keep their order, and a piece begins where the crc32 of a person's id is divisible by `rows`. So adding or removing
a person changes only the piece around that row (content-defined chunking as in LBFS, Muthitacharoen et al. 2001).
Pieces hold ids, names and centroids. All other columns, such as the thresholds, which all change a little with the size
of the gallery, are in compressed pieces of their own. The header is a piece, too, so `assemble` restores the bytes of
the file whatever version of safetensors wrote it.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from edge.core.errors import DECODE_ERRORS
from edge.core.records import FloatArray

_ROW_COLUMNS = ("centroids", "ends", "people")
_COLUMN_PART = 64 * 1024  # bytes of a column before compression
_MAX_TEXT = 65_535  # bytes of one person's id and name
_LENGTH = struct.Struct("<Q")
_MAX_HEADER = 64 * 1024


class TensorEntry(msgspec.Struct, frozen=True):
    """One entry of a safetensors header; offsets are relative to the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Positions of the columns in the data part of a safetensors file."""

    tensors: dict[str, TensorEntry]

    @property
    def others(self) -> list[tuple[int, int]]:
        """Offsets of the columns that are not in the pieces of rows, in the order of the file."""
        return sorted(each.data_offsets for name, each in self.tensors.items() if name not in _ROW_COLUMNS)

    @property
    def total(self) -> int:
        return max(each.data_offsets[1] for each in self.tensors.values())


def rows_per_chunk(people: int, before: int = 0) -> int:
    """Average number of rows per piece, a power of two.

    A new person changes about two pieces of 800 bytes per row, and each piece needs 75 bytes in the list of pieces, so
    the sum is smallest near the root of people / 20.

    Args:
        people: number of people.
        before: previous value; it is kept while it is within a factor of four, because a new value changes every
            piece. If the list of pieces becomes too long, the caller splits again without it. 0: none.
    """
    best = 1 << max(round(np.log2(max(people / 20, 1)) / 2), 2)
    best = min(best, 128)
    return before if before and best / 4 <= before <= best * 4 else best


def split(content: bytes, rows: int, piece_bytes: int) -> list[bytes]:
    """Split a gallery file; deterministic.

    Args:
        rows: average number of people in a piece.
        piece_bytes: size limit of a piece of people.

    Raises:
        ValueError: not a gallery.
    """
    head, plan = _plan(content)
    data = memoryview(content)[head:]
    pieces = [b"H" + content[:head]]
    columns = b"".join(data[start:end] for start, end in plan.others)
    for start in range(0, len(columns), _COLUMN_PART):
        pieces.append(b"C" + zlib.compress(columns[start : start + _COLUMN_PART], 6))
    texts, centroids = _rows(data, plan)
    for first, last in _chunk_rows(texts, centroids.shape[1] * 4, rows, piece_bytes):
        lengths = np.asarray([len(text) for text in texts[first:last]], "<u2")
        pieces.append(
            b"R" + struct.pack("<I", last - first) + lengths.tobytes() + b"".join(texts[first:last])
            + centroids[first:last].tobytes()
        )  # fmt: skip
    return pieces


def assemble(pieces: Sequence[bytes], length: int) -> bytes:
    """Assemble the pieces of `split`, in order, to a file of `length` bytes.

    Raises:
        ValueError: the pieces do not form such a file.
    """
    if not pieces or pieces[0][:1] != b"H":
        raise ValueError("the first piece is not a header")
    header = pieces[0][1:]
    head, plan = _plan(header)
    if head != len(header) or head + plan.total != length:
        raise ValueError("the header does not fit the length")
    file = bytearray(length)
    file[:head] = header
    data = memoryview(file)[head:]
    columns = bytearray()
    texts: list[bytes] = []
    lengths: list[NDArray[np.uint16]] = []
    at, limit = plan.tensors["centroids"].data_offsets
    width = 4 * plan.tensors["centroids"].shape[1]
    for piece in pieces[1:]:
        if piece[:1] == b"C":
            columns += _decompress(piece[1:])
            continue
        text_lengths, text, vectors = _split_row_chunk(piece, width)
        lengths.append(text_lengths)
        texts.append(text)
        if at + len(vectors) > limit:
            raise ValueError("more rows than in the header")
        data[at : at + len(vectors)] = vectors
        at += len(vectors)
    ends = np.cumsum(np.concatenate(lengths) if lengths else np.zeros(0, "<u2"), dtype="<u8").tobytes()
    for name, column in (("people", b"".join(texts)), ("ends", ends)):
        start, end = plan.tensors[name].data_offsets
        if len(column) != end - start:
            raise ValueError(f"column {name} is not complete")
        data[start:end] = column
    if at != limit or len(columns) != sum(end - at for at, end in plan.others):
        raise ValueError("a column is not complete")
    done = 0
    for start, end in plan.others:
        data[start:end] = columns[done : done + end - start]
        done += end - start
    return bytes(file)


def _plan(content: bytes) -> tuple[int, _Layout]:
    """Length of the header including its length field, and the layout in it."""
    if len(content) < _LENGTH.size:
        raise ValueError("no header")
    size = _LENGTH.unpack_from(content)[0]
    if size > min(_MAX_HEADER, len(content) - _LENGTH.size):
        raise ValueError("no header")
    try:
        fields = msgspec.json.decode(content[_LENGTH.size : _LENGTH.size + size], type=dict[str, msgspec.Raw])
        fields.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(field, type=TensorEntry) for name, field in fields.items()}
    except DECODE_ERRORS as error:
        raise ValueError(f"no safetensors header: {error}") from error
    missing = [name for name in _ROW_COLUMNS if name not in tensors]
    if missing or len(tensors["centroids"].shape) != 2 or tensors["centroids"].dtype != "F32":
        raise ValueError(f"no gallery: no column {', '.join(missing) or 'of centroids'}")
    spans = sorted(each.data_offsets for each in tensors.values())
    if spans[0][0] != 0 or any(start > end for start, end in spans):
        raise ValueError("columns out of place")
    if any(one[1] != other[0] for one, other in itertools.pairwise(spans)):
        raise ValueError("columns out of place")
    return _LENGTH.size + size, _Layout(tensors)


def _rows(data: memoryview, plan: _Layout) -> tuple[list[bytes], FloatArray]:
    """Texts and centroids by row."""
    spans = {name: data[slice(*plan.tensors[name].data_offsets)] for name in _ROW_COLUMNS}
    ends = [0, *np.frombuffer(spans["ends"], "<u8").tolist()]
    text = bytes(spans["people"])
    centroids = np.frombuffer(spans["centroids"], "<f4").reshape(plan.tensors["centroids"].shape)
    texts = [text[start:end] for start, end in itertools.pairwise(ends)]
    lengths = [len(each) for each in texts]
    if len(texts) != len(centroids) or sum(lengths) != len(text) or max(lengths, default=0) > _MAX_TEXT:
        raise ValueError("people and centroids do not match")
    return texts, centroids


def _chunk_rows(texts: list[bytes], width: int, rows: int, piece_bytes: int) -> Iterator[tuple[int, int]]:
    """First and last row, exclusive, of every piece."""
    first, size = 0, 0
    for row, text in enumerate(texts):
        starts = zlib.crc32(text.partition(b"\t")[0]) % rows == 0
        if row > first and (starts or size + len(text) + width + 2 > piece_bytes):
            yield first, row
            first, size = row, 0
        size += len(text) + width + 2
    if texts:
        yield first, len(texts)


def _split_row_chunk(piece: bytes, width: int) -> tuple[NDArray[np.uint16], bytes, bytes]:
    """Text lengths, texts and vectors of one piece of people; `width` is the bytes of a vector."""
    if piece[:1] != b"R" or len(piece) < 5:
        raise ValueError("unknown kind of piece")
    count = struct.unpack_from("<I", piece, 1)[0]
    if len(piece) < 5 + count * (2 + width):
        raise ValueError("a piece is too short")
    lengths = np.frombuffer(piece, "<u2", count, 5)
    at = 5 + 2 * count
    end = at + int(lengths.sum(dtype=np.int64))
    if len(piece) != end + count * width:
        raise ValueError("a piece has a wrong length")
    return lengths, piece[at:end], piece[end:]


def _decompress(packed: bytes) -> bytes:
    """Decompress at most one part of a column."""
    inflater = zlib.decompressobj()
    try:
        part = inflater.decompress(packed, _COLUMN_PART)
    except zlib.error as error:
        raise ValueError(f"a column cannot be decompressed: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("a column is too long")
    return part


def keep_only_people_in(old: bytes, new: bytes) -> bytes:
    """The old gallery reduced to people whose entries are identical in the new one.

    If the embedders differ, vectors cannot be compared, and only the ids are.

    Raises:
        ValueError: one of them is not a gallery.
    """
    known, lines = _lines(new), _lines(old)
    if _metadata(old) != _metadata(new):
        ids = {id_ for id_, _ in known}
        rows = [row for row, (id_, _) in enumerate(lines) if id_ in ids]
    else:
        both = set(known)
        rows = [row for row, line in enumerate(lines) if line in both]
    return old if len(rows) == len(lines) else _select_rows(old, rows)


def person_ids(content: bytes) -> set[str]:
    """The ids of all people in a gallery.

    Raises:
        ValueError: not a gallery.
    """
    return {id_.decode() for id_, _ in _lines(content)}


def _lines(content: bytes) -> list[tuple[bytes, bytes]]:
    """Id and vector of every row."""
    head, plan = _plan(content)
    texts, centroids = _rows(memoryview(content)[head:], plan)
    return [(text.partition(b"\t")[0], row.tobytes()) for text, row in zip(texts, centroids, strict=True)]


def _metadata(content: bytes) -> dict[str, str]:
    size = _LENGTH.unpack_from(content)[0]
    header = msgspec.json.decode(content[_LENGTH.size : _LENGTH.size + size], type=dict[str, msgspec.Raw])
    try:
        return msgspec.json.decode(header.get("__metadata__", b"{}"), type=dict[str, str])
    except DECODE_ERRORS as error:
        raise ValueError(f"no safetensors header: {error}") from error


def _select_rows(content: bytes, rows: list[int]) -> bytes:
    """A gallery with only some rows of another one."""
    head, plan = _plan(content)
    data = memoryview(content)[head:]
    texts, _ = _rows(data, plan)
    chosen = [texts[row] for row in rows]
    try:
        columns = load(content)
        tensors: dict[str, NDArray[Any]] = {
            name: array[rows] for name, array in columns.items() if name not in ("people", "ends")
        }
    except (SafetensorError, KeyError, IndexError, TypeError) as error:  # KeyError: a type that numpy does not have
        raise ValueError(f"a column cannot be read: {error}") from error
    tensors["people"] = np.frombuffer(b"".join(chosen), np.uint8)
    tensors["ends"] = np.cumsum([len(text) for text in chosen], dtype=np.uint64)
    return save(tensors, _metadata(content))
