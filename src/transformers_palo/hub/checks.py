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

Every check gives problems as lines of text: file, what was found, what to do. None of them loads what it looks at, and
none holds more than a piece of it, whatever its size. Packed files are looked into.
"""

import codecs
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from huggingface_hub import get_token

from .files import DAMAGED, Content, RepoFile, members
from .pickles import is_pickle


# Pattern of a name or of a folder's name -> what it is. Trainer, Accelerate, DeepSpeed, FSDP, loggers.
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
    "*.distcp": "a checkpoint to resume training from",
    "events.out.tfevents*": "a log of TensorBoard, which names the machine",
    "latest": "a mark of DeepSpeed's checkpoints",
    "zero_to_fp32.py": "a script of DeepSpeed's checkpoints",
    "trainer_log.jsonl": "a log of training",
    "runs": "logs of TensorBoard, which name the machine",
    "wandb": "logs of Weights & Biases, which name you and the machine",
}
_TOLD_OF_A_FILE = 20
# Parts of tensor names that only optimizers have: Adam, Adafactor, 8-bit Adam, SGD, RMSprop, Adadelta, Lion.
_OPTIMIZER_TENSORS = re.compile(
    r"(^|[./])((max_)?exp_avg(_sq)?(_row|_col)?|exp_inf|momentum_buffer|square_avg|grad_avg|acc_delta|state[12]|qmap[12]"
    r"|optimizer(_state)?|param_groups)([./]|$)"
)

# Files of these names are pickles or may hold some, packed or not.
_PICKLE_NAME = re.compile(
    r"\.(bin|pt|pth|ckpt|pkl\w*|pickle|joblib|dill|npy|npz)(\.(gz|bz2|xz|zst|zip))?$", flags=re.IGNORECASE
)

# What -> how such a secret looks.
SECRETS = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})"),
    "a GitLab token": re.compile(r"\bglpat-[\w-]{20,}"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token in a header": re.compile(
        r"\b[Aa]uthorization[\"']?: *[\"']?(?:Bearer|Basic|token) +[A-Za-z0-9._~+/=-]{16,}"
    ),
    "a password in an address": re.compile(
        r"(?<=://)[^\s/:@\"'<>{}$]+:(?!pass|pwd|x-oauth)[^\s/:@\"'<>{}$*]{8,}@[\w.-]+"
    ),
    "a password or key": re.compile(
        r"(?i)(?:api[_-]?key|secret|password|passwd|(?:access|auth)[_-]?token|access[_-]?key)[\w-]*[\"']?[ \t]*[:=][ \t]*"
        r"[\"']?(?!your[_-])[A-Za-z0-9/+_-]{16,}"
    ),
}
# What such a secret cannot be without, in lower case: found much faster than a pattern that may begin anywhere.
_SIGNS = {
    "a Hugging Face token": ("hf_",),
    "an API key": ("sk-",),
    "a GitHub token": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    "a GitLab token": ("glpat-",),
    "an AWS key": ("akia", "asia"),
    "a Google API key": ("aiza",),
    "a Slack token": ("xox",),
    "a private key": ("private key-----",),
    "a token in a header": ("authorization",),
    "a password in an address": ("://",),
    # Not "key" or "token" alone: logs of trainings are full of these.
    "a password or key": ("apikey", "api_key", "api-key", "secret", "passw", "access", "auth"),
}

# Names of files and folders.
SECRET_FILES = (
    ".env*",
    "*.env",
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".htpasswd",
    ".ssh",
    ".aws",
    ".gnupg",
    ".kube",
    ".docker",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "credentials*",
    "secrets.*",
    "stored_tokens",
)

# Folders that machines have at their root, and repositories do not.
_ROOTS = (
    "Users|Volumes|afs|content|data|efs|fsx|gpfs|home|kaggle|lustre|media|mnt|nfs|opt|private|root|scratch|shared|srv|"
    "storage|tmp|usr|var|work|workspace"
)
_MACHINE_PATH = re.compile(
    rf"(?<![\w.:/~!\\<-])(?:(?:file://)?/(?:{_ROOTS})/|~/|[A-Za-z]:\\{{1,2}}(?:{_ROOTS})\\{{1,2}})"
    r"[\w.+@-][^\s\"'`<>()\[\]{},;|]*"
)
# In prose, paths like /data and ~/.cache are advice to readers; home directories name somebody.
_HOMES = r"/(?:home|Users)/|/root/|[A-Za-z]:\\{1,2}Users\\{1,2}"
# Files that machines read; of weights, what they say about themselves.
_SETTINGS = (".safetensors", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg")
# A value that is nothing but an absolute path, whatever its root.
_ONLY_A_PATH = re.compile(r"(?:file://)?(?:/|~/|[A-Za-z]:[\\/])[\w.+@-]+(?:[\\/][\w.+@-]+)+[\\/]?")

# Larger files are looked at in pieces of so many bytes, which overlap so that nothing is cut in two. Both are even: UTF-16.
_PIECE, _OVERLAP = 1 << 24, 1 << 12


def check_files(files: Iterable[RepoFile]) -> list[str]:
    """Look at everything that is to be published; an empty list is good news."""
    secrets = _known_secrets()
    problems: dict[str, None] = {}
    for file in files:
        try:
            problems |= dict.fromkeys(_first(dict.fromkeys(_check(Content(file.path, file.open), secrets)), file.path))
        except OSError as error:
            problems[f"{file.path}: cannot be read ({error.strerror}); give yourself the right to, or move it"] = None
    return list(problems)


def _first(problems: Collection[str], path: str) -> Iterator[str]:
    """A log can hold thousands of the same kind: some are told, the others counted."""
    yield from islice(problems, _TOLD_OF_A_FILE)
    if (more := len(problems) - _TOLD_OF_A_FILE) > 0:
        yield f"{path}: and {more:,} more like these"


def check_names(files: Iterable[RepoFile]) -> list[str]:
    """Names that are different on Linux, and the same on the machines of others."""
    by_name: dict[str, list[str]] = {}
    for file in files:
        by_name.setdefault(file.path.casefold(), []).append(file.path)
    return [
        f"{' and '.join(paths)}: names that differ in nothing but case are one file on Windows and macOS; rename all but one"
        for paths in by_name.values()
        if len(paths) > 1
    ]


Secrets = dict[str, re.Pattern[str]]


def _known_secrets() -> Secrets:
    own = get_token()
    return ({"your own Hugging Face token": re.compile(re.escape(own))} if own else {}) | SECRETS


def _check(content: Content, secrets: Secrets) -> Iterator[str]:
    path = content.path
    if (state := _training_state(path)) is not None:
        yield state
    elif any(fnmatch(part, pattern) for part in path.split("/") for pattern in SECRET_FILES):
        yield f"{path}: files of this name hold secrets; move it out of the folder"
    elif path.endswith(".safetensors"):
        yield from _check_safetensors(content, secrets)
    elif _PICKLE_NAME.search(path) or _is_pickle(content):
        yield f"{path}: a pickle, or what may hold one, and run code where it is loaded; use safetensors, or move it"
    elif (packed := members(content)) is not None:
        try:
            for member in packed:
                yield from _check(member, secrets)
        except DAMAGED as error:
            yield f"{path}: cannot be unpacked to be looked at ({error}); take it out"
    else:
        yield from _check_pieces(content, secrets)


def _training_state(path: str) -> str | None:
    parts = path.split("/")
    for depth, part in enumerate(parts, start=1):
        for pattern, what in TRAINING_STATE.items():
            if fnmatch(part, pattern):
                return f"{'/'.join(parts[:depth])}: {what}; move it out of the folder"
    return None


def _is_pickle(content: Content) -> bool:
    with content.open() as stream:
        return is_pickle(stream)


def _check_safetensors(content: Content, secrets: Secrets) -> Iterator[str]:
    """Its header: a length in eight bytes, then JSON (the format's own description)."""
    try:
        with content.open() as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, 1 << 27)))
            metadata = header.pop("__metadata__", {})
            end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
            is_whole = stream.seek(0, 2) == 8 + length + end
    except (ValueError, AttributeError, TypeError, LookupError):
        is_whole, header, metadata = False, {}, {}
    if not is_whole:
        yield f"{content.path}: no whole safetensors file; save the model again"
    if any(_OPTIMIZER_TENSORS.search(name) for name in header):
        yield f"{content.path}: the state of an optimizer; move it out of the folder"
    yield from _check_text(content.path, json.dumps(metadata, ensure_ascii=False), secrets)


def _check_pieces(content: Content, secrets: Secrets) -> Iterator[str]:
    """Text as text; of everything else, what reads like it."""
    with content.open() as stream:
        piece = stream.read(_PIECE)
        is_utf_16 = piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = ("utf-16-le" if piece[:1] == b"\xff" else "utf-16-be") if is_utf_16 else "utf-8"
        is_text = is_utf_16 or b"\0" not in piece[:1024]
        more = stream.read(_PIECE - _OVERLAP)
        is_all, first_line = not more, 1
        while True:
            text = piece.decode(encoding, "replace") if is_text else _readable(piece)
            if is_text:
                yield from _check_text(content.path, text.removeprefix("\ufeff"), secrets, first_line, is_all)
            else:
                yield from _check_secrets(content.path, text, secrets, first_line=None)
            if not more:
                return
            first_line += text.count("\n") - piece[-_OVERLAP:].decode(encoding, "replace").count("\n")
            piece = piece[-_OVERLAP:] + more
            more = stream.read(_PIECE - _OVERLAP)


def _readable(piece: bytes) -> str:
    """What reads like text, which in weights is next to nothing: as it stands, and without its zeros as in UTF-16."""
    runs = (run for text in (piece, piece.replace(b"\0", b"")) for run in re.findall(rb"[\t -~]{8,}", text))
    return b"\n".join(runs).decode("ascii")


def _check_text(path: str, text: str, secrets: Secrets, first_line: int = 1, is_all: bool = True) -> Iterator[str]:
    has_lines = not is_all or "\n" in text.rstrip()
    yield from _check_secrets(path, text, secrets, first_line if has_lines else None)
    values = _settings(path, text) if is_all else None
    found = _paths_in_lines(path, text, first_line) if values is None else _paths_in_values(values)
    for where, machine_path in found:
        yield f"{path}, {where}: a path of this machine, {machine_path!r}; write a Hub id, or leave it out"


def _check_secrets(path: str, text: str, secrets: Secrets, first_line: int | None) -> Iterator[str]:
    """One a line, the first that fits, by how it begins: the message must not spread it."""
    found: dict[int, str] = {}
    lowered = text.lower()
    for what, pattern in secrets.items():
        if what in _SIGNS and not any(sign in lowered for sign in _SIGNS[what]):
            continue
        for line, match in _with_lines(pattern, text):
            found.setdefault(line, f"{what} ({match[0][:6]}…)")
    for line in sorted(found):
        where = path if first_line is None else f"{path}, line {first_line + line}"
        yield f"{where}: {found[line]}; take it out, and revoke it"


def _paths_in_lines(path: str, text: str, first_line: int) -> Iterator[tuple[str, str]]:
    if path.endswith(_SETTINGS):
        pattern = _MACHINE_PATH
    elif any(sign in text for sign in ("/home/", "/root/", "Users", str(Path.home()))):
        pattern = _home_directories()
    else:
        return
    for line, match in _with_lines(pattern, text):
        yield f"line {first_line + line}", match[0]


def _with_lines(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """What fits, and in which line, from 0: every line is counted once, however much fits."""
    line = end = 0
    for match in pattern.finditer(text):
        line += text.count("\n", end, match.start())
        end = match.start()
        yield line, match


def _home_directories() -> re.Pattern[str]:
    own = Path.home()
    homes = rf"{_HOMES}|{re.escape(str(own))}[\\/]" if len(own.parts) > 2 else _HOMES
    return re.compile(rf"(?<![\w.:/~!\\<-])(?:file://)?(?:{homes})[\w.+@-][^\s\"'`<>()\[\]{{}},;|]*")


def _paths_in_values(values: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for where, value in values:
        match = _ONLY_A_PATH.fullmatch(value) or _MACHINE_PATH.search(value)
        if match:
            yield where, match[0]


def _settings(path: str, text: str) -> list[tuple[str, str]] | None:
    """All strings of a file of settings, and where they stand; `None` if it is no such file, or damaged."""
    try:
        match PurePosixPath(path).suffix:
            case ".json":
                return list(_strings(json.loads(text)))
            case ".jsonl":
                lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
                return [(f"line {number}", value) for number, line in lines for _, value in _strings(json.loads(line))]
            case ".yaml" | ".yml":
                return [pair for document in yaml.safe_load_all(text) for pair in _strings(document)]
            case ".toml":
                return list(_strings(tomllib.loads(text)))
    except (ValueError, yaml.YAMLError, RecursionError):
        pass
    return None


# Of a tokenizer: its words are no statements, and among those of code are paths.
_VOCABULARY = ("model.vocab", "model.merges", "added_tokens")


def _strings(content: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """All strings of a document, and where they stand, as `text_config._name_or_path`; keys as well."""
    if where in _VOCABULARY:
        return
    if isinstance(content, str):
        yield where, content
    elif isinstance(content, list):
        for index, item in enumerate(content):
            yield from _strings(item, f"{where}[{index}]")
    elif isinstance(content, dict):
        for key, item in content.items():
            yield where or "a key", str(key)
            yield from _strings(item, f"{where}.{key}" if where else str(key))
