"""What was seen in photos, remembered beside them, so that nothing is embedded twice.

A photo is known by the sha256 of its bytes, what was seen in it by that and by the models and rules that looked. The
file is SQLite and safe to delete: a missing, damaged or foreign one is made again. It holds vectors and small pictures
of faces: keep it as you keep the photos. What belongs to no photo any more is wiped from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Set
from pathlib import Path
from types import TracebackType

import msgspec

from edge.core.files import make_private_file
from threshold_tools.enroll.photo_quality import ENROL_QUALITY, SAME_PICTURE_BITS, PhotoAssessment
from threshold_tools.photos import PhotoSampler

FILE = ".enrol-cache.sqlite"
_PORTION = 32  # photos: written at once, so that a run that is ended loses no more of its work
_FORM = 2  # of a Sight and of how it is made: raise it when either changes


class PhotoCache:
    """Sights by photo; a context manager: they are written in portions, the last one on leaving.

    Where it cannot write it remembers nothing and says so.

    Attributes:
        trouble: why it starts empty or remembers nothing, or "".
    """

    def __init__(self, path: Path | None, models: str) -> None:
        """
        Args:
            path: the file, or None to remember nothing.
            models: what looks at the photos, as `models_key` says.
        """
        self.problem = ""
        self._models = models
        self._unwritten = 0
        self._database = self._open(path) if path is not None else None

    def get(self, photo_sha256: str) -> PhotoAssessment | None:
        """What was seen in a photo, or None when it is not known or its record is damaged."""
        if self._database is None:
            return None
        try:
            row = self._database.execute(
                "SELECT record, sum FROM sights WHERE photo = ? AND models = ?", (photo_sha256, self._models)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            self._disable(error)
            return None
        if row is None or not isinstance(row[0], bytes) or _checksum(photo_sha256, row[0]) != row[1]:
            return None
        try:
            return msgspec.msgpack.decode(row[0], type=PhotoAssessment)
        except msgspec.MsgspecError:
            return None

    def put(self, photo_sha256: str, sight: PhotoAssessment) -> None:
        """Remember what was seen in a photo."""
        record = msgspec.msgpack.encode(sight)
        row = (photo_sha256, self._models, record, _checksum(photo_sha256, record))
        self._try(lambda database: database.execute("INSERT OR REPLACE INTO sights VALUES (?, ?, ?, ?)", row))
        self._unwritten += 1
        if self._unwritten == _PORTION:
            self._try(lambda database: database.commit())
            self._unwritten = 0

    def keep_only(self, photos: Set[str]) -> None:
        """Wipe what belongs to none of these photos (by sha256), or was seen by other models."""

        def wipe(database: sqlite3.Connection) -> None:
            known = {row[0] for row in database.execute("SELECT photo FROM sights")}
            database.executemany("DELETE FROM sights WHERE photo = ?", [(gone,) for gone in known - photos])
            database.execute("DELETE FROM sights WHERE models <> ?", (self._models,))

        self._try(wipe)

    def delete(self, photos: Set[str]) -> None:
        """Wipe what any models have seen in these photos."""
        gone = [(photo,) for photo in photos]
        self._try(lambda database: database.executemany("DELETE FROM sights WHERE photo = ?", gone))

    def __enter__(self) -> PhotoCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what was remembered; harmless when called again."""
        self._try(lambda database: database.commit())
        self._try(lambda database: database.close())
        self._database = None

    def _open(self, path: Path) -> sqlite3.Connection | None:
        """The file, made again where it is damaged or of another form; None where it cannot be used at all."""
        try:
            return _connect(path)
        except OSError as error:
            self.problem = f"{path}: nothing is remembered for the next run ({error.strerror or error})"
            return None
        except sqlite3.DatabaseError as error:
            foreign = "no such column" in str(error)
            if isinstance(error, sqlite3.OperationalError) and not foreign:  # read-only, locked, no such folder
                self.problem = f"{path}: nothing is remembered for the next run ({error})"
                return None
            self.problem = f"{path}: damaged, made again ({error})"
        try:
            path.unlink()
            return _connect(path)
        except (OSError, sqlite3.DatabaseError) as error:
            self.problem = f"{path}: damaged, and cannot be made again ({error}); delete it"
            return None

    def _try(self, act: Callable[[sqlite3.Connection], object]) -> None:
        """A cache that fails is given up, never the run."""
        if self._database is None:
            return
        try:
            act(self._database)
        except sqlite3.DatabaseError as error:
            self._disable(error)

    def _disable(self, error: sqlite3.DatabaseError) -> None:
        self.problem = f"the cache failed and is left alone ({error})"
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):  # the first error says more
                self._database.close()
        self._database = None


def _connect(path: Path) -> sqlite3.Connection:
    make_private_file(path)
    database = sqlite3.connect(path)
    try:
        database.execute("PRAGMA secure_delete = ON")  # wiped means overwritten ...
        database.execute("PRAGMA journal_mode = MEMORY")  # ... and no copy of a page beside the file
        database.execute(
            "CREATE TABLE IF NOT EXISTS sights "
            "(photo TEXT, models TEXT, record BLOB, sum BLOB, PRIMARY KEY (photo, models)) WITHOUT ROWID"
        )
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("malformed")
        database.execute("SELECT photo, models, record, sum FROM sights LIMIT 1").fetchone()
    except BaseException:
        database.close()
        raise
    return database


def photo_key(content: bytes) -> str:
    """By what a photo is known: the sha256 of its bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def models_key(reader: PhotoSampler) -> str:
    """By what looking is known: the sha256 over detector, landmarks, embedder and the rules of enrolment."""
    models = [model.contract.sha256 for model in reader.vision.models]
    rules = [repr(ENROL_QUALITY), str(SAME_PICTURE_BITS), str(_FORM)]
    return hashlib.sha256("\n".join([*models, *rules]).encode()).hexdigest()


def _checksum(photo_sha256: str, record: bytes) -> bytes:
    """A checksum that also binds the record to its photo."""
    return hashlib.sha256(photo_sha256.encode() + record).digest()
