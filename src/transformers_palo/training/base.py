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
"""What the model that a run begins with is known by."""

import hashlib
import json
from pathlib import Path

from transformers.utils import CONFIG_NAME, cached_file
from transformers.utils.hub import extract_commit_hash


# Up to this size a file is hashed whole; of a larger one, the beginning and a block in every stride.
_WHOLE = 64 * 2**20
_STRIDE = 2**20
_BLOCK = 4096
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")


def base_identity(name: str, revision: str | None) -> str | None:
    """The same for the same weights and configuration, another one for others; not the folder's name nor times of files.

    Of the Hub, it is the commit that the revision stands for. Of a folder, it is a hash over the configuration and the
    names, sizes and contents of weight files; of files beyond 64 MiB only the beginning (where safetensors has its header)
    and 4 KiB in every MiB are read, so that the weights of a 7B cost some 50 MB of reading. Any tensor of 1 MiB that was
    changed as a whole is noticed, a few numbers changed in a large file may not be.

    Args:
        name: Folder or Hub id.
        revision: Of the Hub.

    Returns:
        40 hexadecimal digits of a commit, or 64 of a hash; `None` if the Hub's cache does not tell the commit.

    Raises:
        OSError: There is no such model, or a file cannot be read.
    """
    folder = Path(name)
    if not folder.is_dir():
        return extract_commit_hash(cached_file(name, CONFIG_NAME, revision=revision), None)
    digest = hashlib.sha256(_configuration(folder / CONFIG_NAME))
    for path in sorted({path for pattern in _WEIGHTS for path in folder.glob(pattern)}):
        digest.update(f"\n{path.name} {path.stat().st_size}\n".encode())
        _add_content(digest, path)
    return digest.hexdigest()


def _configuration(path: Path) -> bytes:
    """Without what only tells who wrote it."""
    stated = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    decisive = {name: value for name, value in stated.items() if name not in ("transformers_version", "_name_or_path")}
    return json.dumps(decisive, sort_keys=True).encode()


def _add_content(digest: "hashlib._Hash", path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _WHOLE:
            while chunk := file.read(_STRIDE):
                digest.update(chunk)
            return
        digest.update(file.read(_STRIDE))
        for start in range(_STRIDE, size, _STRIDE):
            file.seek(start)
            digest.update(file.read(_BLOCK))
        file.seek(size - _BLOCK)
        digest.update(file.read(_BLOCK))
