"""Vectors of texts in one SQLite file, by the embedder's key: a cache beside the platform's stores, for evaluations."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stores.sql import chunks

KEYS_PER_QUERY = 500


class VectorFile:
    """A file of vectors, float32, stored little-endian. A key's vector never changes: it is written once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path)
        self._connection.execute("CREATE TABLE IF NOT EXISTS vectors(key TEXT PRIMARY KEY, vector BLOB)")

    def get(self, keys: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of those of these keys that are there."""
        found: dict[str, NDArray[np.float32]] = {}
        for some in chunks(list(keys), KEYS_PER_QUERY):
            marks = ",".join("?" * len(some))
            for key, vector in self._connection.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some):  # noqa: S608
                found[key] = np.frombuffer(vector, dtype="<f4").astype(np.float32)
        return found

    def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Adds these vectors, all or none."""
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        with self._connection:
            self._connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)

    def close(self) -> None:
        self._connection.close()
