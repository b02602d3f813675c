"""Cache of photo assessments in the people folder, so that no photo is embedded twice.

The key of a photo is the sha256 of its bytes, together with the models and rules that assessed it. The file is SQLite
and safe to delete: a missing, damaged or foreign file is created again. It contains embeddings and thumbnails of faces:
protect it like the photos. Rows of deleted photos are overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import msgspec

from edge.core.files import make_private_file
from threshold_tools.enroll.photo_quality import ENROL_QUALITY, SAME_PICTURE_BITS, PhotoAssessment
from threshold_tools.photos import PhotoSampler

FILE = ".enrol-cache.sqlite"
_COMMIT_EVERY = 32  # photos; an interrupted run loses at most this many
_FORMAT = 3  # of PhotoAssessment and its content: raise it when either changes


class PhotoCache:
    """Assessments by photo; a context manager that commits on exit.

    An error of the cache disables the cache and does not stop the run.
    """

    def __init__(self, path: Path | None, models: str) -> None:
        """
        Args:
            path: file, or None to store nothing.
            models: key of the models and rules, from `models_key`.
        """
        self.problem = ""  # reason why it starts empty or stores nothing
        self._models = models
        self._uncommitted = 0
        self._database = self._open(path) if path is not None else None

    def get(self, photo_sha256: str) -> PhotoAssessment | None:
        """The assessment of a photo, or None if it is unknown or its record is damaged."""
        query = "SELECT record, sum FROM sights WHERE photo = ? AND models = ?"
        row = self._try(lambda database: database.execute(query, (photo_sha256, self._models)).fetchone())
        if row is None or not isinstance(row[0], bytes) or _checksum(photo_sha256, row[0]) != row[1]:
            return None
        try:
            return msgspec.msgpack.decode(row[0], type=PhotoAssessment)
        except msgspec.MsgspecError:
            return None

    def put(self, photo_sha256: str, assessment: PhotoAssessment) -> None:
        """Store the assessment of a photo."""
        record = msgspec.msgpack.encode(assessment)
        row = (photo_sha256, self._models, record, _checksum(photo_sha256, record))
        self._try(lambda database: database.execute("INSERT OR REPLACE INTO sights VALUES (?, ?, ?, ?)", row))
        self._uncommitted += 1
        if self._uncommitted == _COMMIT_EVERY:
            self._try(lambda database: database.commit())
            self._uncommitted = 0

    def keep_only(self, photos: Set[str]) -> None:
        """Delete the assessments of all other photos (by sha256), and those made by other models."""

        def delete(database: sqlite3.Connection) -> None:
            known = {row[0] for row in database.execute("SELECT photo FROM sights")}
            database.executemany("DELETE FROM sights WHERE photo = ?", [(gone,) for gone in known - photos])
            database.execute("DELETE FROM sights WHERE models <> ?", (self._models,))

        self._try(delete)

    def delete(self, photos: Set[str]) -> None:
        """Delete the assessments of these photos (by sha256) by any models."""
        gone = [(photo,) for photo in photos]
        self._try(lambda database: database.executemany("DELETE FROM sights WHERE photo = ?", gone))

    def __enter__(self) -> PhotoCache:
        return self

    def __exit__(self, *_: object) -> None:
        self._try(lambda database: database.commit())
        self._try(lambda database: database.close())
        self._database = None

    def _open(self, path: Path) -> sqlite3.Connection | None:
        """Open the file, created again if it is damaged or of another format; None if it cannot be used."""
        try:
            return _connect(path)
        except (OSError, sqlite3.DatabaseError) as error:
            foreign = "no such column" in str(error)
            if isinstance(error, OSError | sqlite3.OperationalError) and not foreign:  # read-only, locked, no folder
                reason = getattr(error, "strerror", None) or error
                self.problem = (
                    f"{path}: the cache cannot be written; the next run processes all photos again ({reason})"
                )
                return None
            self.problem = f"{path}: damaged, created again ({error})"
        try:
            path.unlink()
            return _connect(path)
        except (OSError, sqlite3.DatabaseError) as error:
            self.problem = f"{path}: damaged, and cannot be created again ({error}); delete it"
            return None

    def _try(self, act: Callable[[sqlite3.Connection], Any]) -> Any:
        """The result of `act`, or None without a database; a database that fails is closed and not used again."""
        if self._database is None:
            return None
        try:
            return act(self._database)
        except sqlite3.DatabaseError as error:
            self.problem = f"the cache failed and is not used ({error})"
            with contextlib.suppress(sqlite3.Error):  # the first error is reported
                self._database.close()
            self._database = None
            return None


def _connect(path: Path) -> sqlite3.Connection:
    make_private_file(path)
    database = sqlite3.connect(path)
    try:
        database.execute("PRAGMA secure_delete = ON")  # overwrites deleted rows
        database.execute("PRAGMA journal_mode = MEMORY")  # keeps no copy of a page in another file
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
    """Key of a photo: the sha256 of its bytes, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def models_key(reader: PhotoSampler) -> str:
    """Key of the models and rules: the sha256 over detector, landmarks, embedder and the quality rules of enrolment."""
    models = [model.contract.sha256 for model in reader.vision.models]
    rules = [repr(ENROL_QUALITY), str(SAME_PICTURE_BITS), str(_FORMAT)]
    return hashlib.sha256("\n".join([*models, *rules]).encode()).hexdigest()


def _checksum(photo_sha256: str, record: bytes) -> bytes:
    """A checksum that also binds the record to its photo."""
    return hashlib.sha256(photo_sha256.encode() + record).digest()
