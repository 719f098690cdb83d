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
"""The records of a run: prepared data, held-out records, and the mixture that draws from it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from datasets import Dataset

from ..data.mixture import MixtureStrategy, mixture_indices
from ..data.prepared import load_prepared, read_mixture
from .arguments import DataArguments


@dataclass(frozen=True)
class TrainingData:
    """What a run trains and is examined on.

    Attributes:
        train: The records to train on.
        eval: The held-out ones, or `None`.
        epoch_indices: Which records of `train` an epoch draws, by its number.
        counts: Records to train on by language, of the languages that the mixture draws.
        drawn: Of these, draws of the first epoch by language.
    """

    train: Dataset
    eval: Dataset | None
    epoch_indices: Callable[[int], np.ndarray]
    counts: dict[str, int]
    drawn: dict[str, int]


def load_training_data(arguments: DataArguments) -> TrainingData:
    """Open what `palo data prepare` wrote.

    Raises:
        ValueError: There is none, or its languages do not fit the mixture.
    """
    if arguments.dataset is None:
        raise ValueError("The recipe names no dataset: set it to a folder that `palo data prepare` wrote.")
    train = load_prepared(arguments.dataset)
    mixture = read_mixture(arguments.dataset)
    if (chosen := mixture_strategy(arguments)) is not None:
        mixture["strategy"] = chosen
    held_out = None
    if arguments.eval_dataset is not None:
        held_out = load_prepared(arguments.eval_dataset)
    elif arguments.eval_records:
        train, held_out = _hold_out(train, arguments.eval_records, seed=mixture["seed"])
    languages = np.asarray(train["language"][:])
    draw = partial(mixture_indices, languages, np.asarray(train["source"][:]), **_without_absent(mixture, train))
    drawn = Counter(languages[draw(epoch=0)].tolist())
    return TrainingData(
        train=train,
        eval=held_out,
        epoch_indices=lambda epoch: draw(epoch=epoch),
        counts={code: count for code, count in Counter(languages.tolist()).items() if drawn[code]},
        drawn=dict(drawn),
    )


def mixture_strategy(arguments: DataArguments) -> MixtureStrategy | None:
    """The mixture that a recipe asks for; `None` leaves it to the data set."""
    if arguments.mixture is None:
        return None
    return MixtureStrategy(
        strategy=arguments.mixture,
        temperature=arguments.mixture_temperature,
        weights=cast("dict[str, float | int] | None", arguments.mixture_weights),
    )


def _without_absent(mixture: dict[str, Any], train: Dataset) -> dict[str, Any]:
    """Every record of a small source may have been held out."""
    present = set(train.unique("source"))
    return {**mixture, "source_weights": {k: v for k, v in mixture["source_weights"].items() if k in present}}


def _hold_out(dataset: Dataset, count: int, seed: int) -> tuple[Dataset, Dataset]:
    if count >= len(dataset):
        raise ValueError(f"eval_records={count}: the data set has {len(dataset)} records, and some have to be left.")
    order = np.random.default_rng([seed, len(dataset)]).permutation(len(dataset))
    # In the order of the files: shuffled reads of a large data set are slow.
    return dataset.select(np.sort(order[count:])), dataset.select(np.sort(order[:count]))
