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

import json
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
        ValueError: The folder holds no prepared data set, or an unfinished one.
        ImportError: `datasets` is not installed.
    """
    try:
        import pyarrow.parquet as pq
        from datasets import Dataset, Features, Image, List
    except ImportError:
        raise ImportError(
            "Prepared data needs the datasets package: install transformers-palo with its [train] extra."
        ) from None

    read_mixture(folder)
    shards = sorted(str(path) for path in Path(folder).glob("train-*.parquet"))
    features = Features.from_arrow_schema(pq.read_schema(shards[0]))
    return Dataset.from_parquet(shards, features=Features({**features, "images": List(Image(decode=False))}))


def read_mixture(folder: str | Path) -> dict[str, Any]:
    """How a prepared data set says that it should be mixed, as keywords of [`mixture_indices`].

    Returns:
        `{"strategy": MixtureStrategy, "source_weights": {source: weight}, "seed": int}`.

    Raises:
        ValueError: The folder holds no prepared data set, or an unfinished one.
    """
    path = Path(folder) / "mixture.json"
    if not path.is_file():
        found = "an interrupted preparation" if (Path(folder) / "state.sqlite").is_file() else "none"
        raise ValueError(
            f"{folder}: expected a data set that `palo data prepare` has finished, found {found}. Run it (again)."
        )
    made_of = json.loads(path.read_text(encoding="utf-8"))
    return {
        "strategy": MixtureStrategy(**made_of["mixture"]),
        # A source that kept no records has nothing to weigh.
        "source_weights": {source["name"]: source["weight"] for source in made_of["sources"] if source["records"]},
        "seed": made_of["seed"],
    }
