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
"""One run a folder at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


LOCK = ".palo-train.lock"


@contextmanager
def locked(folder: Path, only: bool = True) -> Iterator[None]:
    """Hold a folder while a run works in it. The lock goes with the process, however that ends.

    Args:
        folder: The run's; made if it is not there.
        only: Whether this process is the one to hold it: the first of a run's processes.

    Raises:
        ValueError: Another process holds it.
    """
    if not only:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = filelock.FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"{folder}: another palo train is at work in this folder. Wait for it, stop it, or choose another output_dir."
        ) from None
    try:
        yield
    finally:
        lock.release()
