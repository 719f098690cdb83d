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
"""A prepared data set, loaded for training."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .mixture import MixtureStrategy


if TYPE_CHECKING:
    from datasets import Dataset


def load_prepared(folder: str | Path) -> "Dataset":
    """The data set that `palo data prepare` wrote, memory-mapped, its images not yet decoded.

    Args:
        folder: The folder.

    Returns:
        A `datasets.Dataset` with the columns `messages`, `images` (each `{"bytes", "path"}`), `language`, `source`, `id`
        and, if tokens were counted, `num_tokens`.

    Raises:
        ValueError: The folder holds no prepared data set, an unfinished one, or not the shards that it was finished with.
        ImportError: `datasets` is not installed.
    """
    _need_datasets()
    import pyarrow.parquet as pq
    from datasets import Dataset, Features, Image, List

    shards = [str(Path(folder) / shard["name"]) for shard in _checked_shards(folder)]
    features = Features.from_arrow_schema(pq.read_schema(shards[0]))
    return Dataset.from_parquet(shards, features=Features({**features, "images": List(Image(decode=False))}))


def prepared_fingerprint(folder: str | Path) -> str:
    """What a prepared data set is known by: equal for equal records and mixture, another one for anything else.

    It covers the records in their order, their images where the data set holds them (where it holds paths: the paths, not
    the files), the mixture, its seed and the weights of the sources; not the folder's name nor the versions of packages.
    Only the footers of the shards are read, which takes milliseconds, so a training run can compare it at every start.

    Args:
        folder: The folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: The folder holds no prepared data set, an unfinished one, or not the shards that it was finished with.
        ImportError: `datasets` is not installed.
    """
    _need_datasets()
    made_of = _made_of(folder)
    weights = {source["name"]: source["weight"] for source in made_of["sources"]}
    decisive = [_checked_shards(folder), made_of["mixture"], made_of["seed"], weights]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _checked_shards(folder: str | Path) -> list[dict[str, Any]]:
    """The facts of all shards, the same as when the folder was finished."""
    from .tables import shard_facts

    expected = {shard["name"]: shard for shard in _made_of(folder)["shards"]}
    found = {path.name: path for path in sorted(Path(folder).glob("train-*.parquet"))}
    if missing := sorted(expected.keys() - found.keys()):
        raise ValueError(
            f"{folder}: expected {len(expected)} shards, {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            "missing. Copy the folder again, or prepare the data anew."
        )
    for name, path in found.items():
        if name not in expected or shard_facts(path) != expected[name]:
            raise ValueError(
                f"{path}: this is not the file that `palo data prepare` wrote for this folder. Copy the folder again, or "
                "prepare the data anew."
            )
    return list(expected.values())


def _need_datasets() -> None:
    if find_spec("datasets") is None:
        raise ImportError(
            "Prepared data needs the datasets package: install transformers-palo with its [train] extra."
        )


def read_mixture(folder: str | Path) -> dict[str, Any]:
    """How a prepared data set says that it should be mixed, as keywords of [`mixture_indices`].

    Returns:
        `{"strategy": MixtureStrategy, "source_weights": {source: weight}, "seed": int}`.

    Raises:
        ValueError: The folder holds no prepared data set, or an unfinished one.
    """
    made_of = _made_of(folder)
    return {
        "strategy": MixtureStrategy(**made_of["mixture"]),
        # A source that kept no records has nothing to weigh.
        "source_weights": {source["name"]: source["weight"] for source in made_of["sources"] if source["records"]},
        "seed": made_of["seed"],
    }


def _made_of(folder: str | Path) -> dict[str, Any]:
    """What `mixture.json` holds."""
    path = Path(folder) / "mixture.json"
    if not path.is_file():
        found = "an interrupted preparation" if (Path(folder) / "state.sqlite").is_file() else "none"
        raise ValueError(
            f"{folder}: expected a data set that `palo data prepare` has finished, found {found}. Run it (again)."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON as `palo data prepare` wrote it, found {error}.") from error
