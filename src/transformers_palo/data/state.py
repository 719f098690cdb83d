# Copyright 2026 The transformers-palo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""What an unfinished preparation has to remember, on disk: memory stays the same however many records there are."""

import json
import sqlite3
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any


class State:
    """Ids that were used, images that were looked at, and how far the work is.

    What was added since the last [`commit`] is forgotten if the process dies, and is done again.

    Raises:
        OSError: Another process is at work on the same folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = sqlite3.connect(path, timeout=1)
        try:
            self.database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.database.execute("PRAGMA cache_size = -65536")  # KiB
            self.database.executescript(
                """BEGIN EXCLUSIVE;
                CREATE TABLE IF NOT EXISTS progress (name TEXT PRIMARY KEY, value TEXT);
                CREATE TABLE IF NOT EXISTS ids (key BLOB PRIMARY KEY, uses INTEGER) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS images (root INTEGER, path TEXT, fault TEXT, PRIMARY KEY (root, path)) WITHOUT ROWID;
                COMMIT;"""
            )
        except sqlite3.OperationalError as error:
            self.database.close()
            raise OSError(
                f"{path.parent} is in use: another run is at work on it, or cannot write there ({error})."
            ) from error

    def load(self, name: str) -> Any:
        """What was committed under a name, or `None`."""
        row = self.database.execute("SELECT value FROM progress WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def commit(self, **values: Any) -> None:
        """Remember these values, and everything that was added before, at once."""
        self.database.executemany(
            "INSERT OR REPLACE INTO progress VALUES (?, ?)",
            [(name, json.dumps(value)) for name, value in values.items()],
        )
        self.database.commit()

    def use_id(self, *names: str) -> int:
        """Count a use of an id; returns how often it was used before."""
        key = blake2b("\0".join(names).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        insert = "INSERT INTO ids VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET uses = uses + 1 RETURNING uses"
        return self.database.execute(insert, (key,)).fetchone()[0] - 1

    def image_faults(self, root: int, paths: Iterable[str]) -> dict[str, str]:
        """What is known of these images: path -> fault, empty if there is none."""
        query = "SELECT fault FROM images WHERE root = ? AND path = ?"
        found = ((path, self.database.execute(query, (root, path)).fetchone()) for path in paths)
        return {path: row[0] for path, row in found if row is not None}

    def add_image_faults(self, root: int, faults: dict[str, str]) -> None:
        rows = [(root, path, fault) for path, fault in faults.items()]
        self.database.executemany("INSERT OR REPLACE INTO images VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        self.database.close()
