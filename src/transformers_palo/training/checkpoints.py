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
"""Which checkpoint of an interrupted run is whole."""

import logging
import shutil
from pathlib import Path


logger = logging.getLogger(__name__)

# Written when every process has written all of its files.
MARKER = "checkpoint-is-whole"


def mark_whole(checkpoint: Path) -> None:
    """Say that nothing is missing from a checkpoint."""
    (checkpoint / MARKER).touch()


def last_whole_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest checkpoint that was written to its end, or `None`."""
    whole = [path for path in _checkpoints(output_dir) if (path / MARKER).is_file()]
    return max(whole, key=_step, default=None)


def set_broken_aside(output_dir: str | Path) -> list[Path]:
    """Rename checkpoints that were not written to their end, so that nothing takes them for whole ones.

    Returns:
        Their new names, `incomplete-checkpoint-N`.
    """
    moved = []
    for path in _checkpoints(output_dir):
        if not (path / MARKER).is_file():
            target = path.with_name(f"incomplete-{path.name}")
            if target.exists():
                shutil.rmtree(target)
            path.rename(target)
            logger.warning("%s was not written to its end: it is now %s, and is not used.", path, target.name)
            moved.append(target)
    return moved


def _checkpoints(output_dir: str | Path) -> list[Path]:
    return [path for path in Path(output_dir).glob("checkpoint-*") if path.is_dir() and path.name[11:].isdigit()]


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
