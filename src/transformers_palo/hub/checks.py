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
"""What must not be published: pickled code, the state of a training, secrets, paths of the machine that it ran on.

Every check gives problems as lines of text: file, what was found, what to do. None of them loads what it looks at.
"""

import codecs
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import get_token
from safetensors import SafetensorError, safe_open


@dataclass(frozen=True)
class RepoFile:
    """A file to publish.

    Attributes:
        path: Where it goes in the repository, with forward slashes.
        source: Where it lies, or its content if it lies nowhere.
    """

    path: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def head(self, length: int) -> bytes:
        """The first bytes."""
        if isinstance(self.source, bytes):
            return self.source[:length]
        with self.source.open("rb") as reader:
            return reader.read(length)

    def content(self) -> bytes:
        """All of it."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def text(self) -> str | None:
        """The content in UTF-8, with a byte order mark in UTF-16, else in Latin-1; `None` if it is no text."""
        content = self.content()
        is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if b"\0" in content[:1024] and not is_utf_16:
            return None
        try:
            return content.decode("utf-16" if is_utf_16 else "utf-8-sig")
        except UnicodeDecodeError:
            return None if b"\0" in content else content.decode("latin-1")


# Pattern of a name or of a folder's name -> what it is. Trainer, Accelerate, DeepSpeed, FSDP.
TRAINING_STATE = {
    "optimizer": "the state of an optimizer",
    "optimizer_[0-9]*": "the state of an optimizer",
    "optimizer*.pt": "the state of an optimizer",
    "optimizer*.bin": "the state of an optimizer",
    "optimizer*.safetensors": "the state of an optimizer",
    "*_optim_states.pt": "the state of an optimizer",
    "scheduler.pt": "the state of a learning rate scheduler",
    "scaler.pt": "the state of a gradient scaler",
    "rng_state*": "the state of random number generators",
    "random_states_*": "the state of random number generators",
    "trainer_state.json": "the state of a trainer",
    "training_args.bin": "the pickled settings of a trainer",
    "checkpoint-*": "a checkpoint to resume training from",
    "global_step*": "a checkpoint to resume training from",
    "pytorch_model_fsdp_*": "a checkpoint to resume training from",
}
# Parts of tensor names that only optimizers have.
_OPTIMIZER_TENSORS = re.compile(r"(^|\.)(exp_avg|exp_avg_sq|momentum_buffer)(\.|$)")

# Files of these names are pickles or may hold some, packed or not.
_PICKLE_NAME = re.compile(
    r"\.(bin|pt|pth|ckpt|pkl\w*|pickle|joblib|dill|npy|npz)(\.(gz|bz2|xz|zst|zip))?$", flags=re.IGNORECASE
)
_PICKLE_START = re.compile(rb"\x80[\x02-\x05]")

# What -> how such a secret looks.
SECRETS = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a password or key": re.compile(
        r"(?i)(?:api[_-]?key|secret|password|passwd|access[_-]?token)[\"']?[ \t]*[:=][ \t]*[\"']?"
        r"(?!your[_-])[A-Za-z0-9/+_-]{16,}"
    ),
}
SECRET_FILES = (".env*", ".netrc", "id_rsa*", "id_ed25519*", "*.pem", "*.key", "credentials*", ".git-credentials")

# Folders that machines have at their root, and repositories do not.
_ROOTS = (
    "Users|Volumes|afs|content|data|efs|fsx|gpfs|home|kaggle|lustre|media|mnt|nfs|opt|private|root|scratch|shared|srv|"
    "storage|tmp|usr|var|work|workspace"
)
_MACHINE_PATH = re.compile(
    rf"(?<![\w.:/~!\\<-])(?:(?:file://)?/(?:{_ROOTS})/|~/|[A-Za-z]:\\(?:{_ROOTS})\\)[\w.+@-][^\s\"'`<>()\[\]{{}},;|]*"
)
# In prose, paths like /data and ~/.cache are advice to readers; these name somebody.
_HOME = re.compile(
    r"(?<![\w.:/~!\\<-])(?:file://)?(?:/(?:home|Users)/|/root/|[A-Za-z]:\\Users\\)[\w.+@-][^\s\"'`<>()\[\]{},;|]*"
)
# Files that machines read; of weights, what they say about themselves.
_SETTINGS = (".safetensors", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg")
# A value that is nothing but an absolute path, whatever its root.
_ONLY_A_PATH = re.compile(r"(?:file://)?(?:/|~/|[A-Za-z]:[\\/])[\w.+@-]+(?:[\\/][\w.+@-]+)+[\\/]?")


def check_files(files: Iterable[RepoFile]) -> list[str]:
    """Look at everything that is to be published; an empty list is good news."""
    problems: dict[str, None] = {}
    for file in files:
        problems |= dict.fromkeys(_check_file(file))
    return list(problems)


def _check_file(file: RepoFile) -> Iterator[str]:
    if (state := _training_state(file.path)) is not None:
        yield state
        return
    if any(fnmatch(PurePosixPath(file.path).name, pattern) for pattern in SECRET_FILES):
        yield f"{file.path}: files of this name hold secrets; move it out of the folder"
        return
    if file.path.endswith(".safetensors"):
        yield from _check_safetensors(file)
    elif _is_pickle(file):
        yield f"{file.path}: a pickle, or what may hold one, and run code where it is loaded; use safetensors, or move it"
    elif (text := file.text()) is not None:
        yield from _check_text(file.path, text)
    else:
        # Without its zeros, UTF-16 without a mark reads like ASCII.
        for _, what, shown in _secrets(file.content().replace(b"\0", b"").decode("latin-1")):
            yield f"{file.path}: {what} ({shown}); take it out, and revoke it"


def _training_state(path: str) -> str | None:
    parts = path.split("/")
    for depth, part in enumerate(parts, start=1):
        for pattern, what in TRAINING_STATE.items():
            if fnmatch(part, pattern):
                return f"{'/'.join(parts[:depth])}: {what}; move it out of the folder"
    return None


def _is_pickle(file: RepoFile) -> bool:
    """By its name; under another name by its first bytes (pickle protocols 2 to 5, archives of `torch.save`)."""
    if _PICKLE_NAME.search(file.path):
        return True
    head = file.head(4)
    if head.startswith(b"PK\x03\x04") and isinstance(file.source, Path) and zipfile.is_zipfile(file.source):
        with zipfile.ZipFile(file.source) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    return bool(_PICKLE_START.match(head))


def _check_safetensors(file: RepoFile) -> Iterator[str]:
    try:
        with safe_open(file.source, framework="pt") as content:
            names, metadata = content.keys(), content.metadata() or {}
    except SafetensorError:
        yield f"{file.path}: no whole safetensors file; save the model again"
        return
    if any(_OPTIMIZER_TENSORS.search(name) for name in names):
        yield f"{file.path}: the state of an optimizer; move it out of the folder"
    yield from _check_text(file.path, json.dumps(metadata, ensure_ascii=False))


def _check_text(path: str, text: str) -> Iterator[str]:
    for number, what, shown in _secrets(text):
        where = f"{path}, line {number}" if "\n" in text.rstrip() else path
        yield f"{where}: {what} ({shown}); take it out, and revoke it"
    found = _paths_in_json(path, text) if path.endswith(".json") else _paths_in_lines(path, text)
    for where, machine_path in found:
        yield f"{path}, {where}: a path of this machine, {machine_path!r}; write a Hub id, or leave it out"


def _secrets(text: str) -> list[tuple[int, str, str]]:
    """Line, what is there, and how it begins (the message must not spread it): one a line, the first that fits."""
    own = get_token()
    patterns = {"your own Hugging Face token": re.compile(re.escape(own))} if own else {}
    found: dict[int, tuple[int, str, str]] = {}
    for what, pattern in (patterns | SECRETS).items():
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.setdefault(line, (line, what, f"{match[0][:6]}…"))
    return [found[line] for line in sorted(found)]


def _paths_in_lines(path: str, text: str) -> Iterator[tuple[str, str]]:
    pattern = _MACHINE_PATH if path.endswith(_SETTINGS) else _HOME
    for number, line in enumerate(text.splitlines(), start=1):
        yield from ((f"line {number}", match[0]) for match in pattern.finditer(line))


def _paths_in_json(path: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        content = json.loads(text)
    except ValueError:
        yield from _paths_in_lines(path, text)
        return
    for where, value in _strings(content):
        match = _ONLY_A_PATH.fullmatch(value) or _MACHINE_PATH.search(value)
        if match:
            yield where, match[0]


# Of a tokenizer: its words are no statements, and among those of code are paths.
_VOCABULARY = ("model.vocab", "model.merges", "added_tokens")


def _strings(content: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """All strings of a JSON document, and where they stand, as `text_config._name_or_path`; keys as well."""
    if where in _VOCABULARY:
        return
    if isinstance(content, str):
        yield where, content
    elif isinstance(content, list):
        for index, item in enumerate(content):
            yield from _strings(item, f"{where}[{index}]")
    elif isinstance(content, dict):
        for key, item in content.items():
            yield where or "a key", key
            yield from _strings(item, f"{where}.{key}" if where else key)
