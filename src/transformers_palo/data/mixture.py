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
"""Which records an epoch trains on, in which order: shares of languages, weights of sources, all from a seed."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..languages import get_language


Strategy = Literal["proportional", "temperature", "weights"]


@dataclass(frozen=True)
class MixtureStrategy:
    """How much of an epoch each language gets.

    Attributes:
        strategy: `"proportional"` (as many draws as records), `"temperature"` (shares proportional to
            `records ** (1 / temperature)`) or `"weights"` (these shares).
        temperature: 1 is proportional; the larger, the nearer to equal shares.
        weights: Language code -> share of the epoch, scaled to a sum of 1. Every language of the data is in it; 0 leaves
            one out.

    Raises:
        ValueError: A value is missing, or is none that it can have.
    """

    strategy: Strategy = "proportional"
    temperature: float | None = None
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"strategy has to be one of {', '.join(get_args(Strategy))}, found {self.strategy!r}")
        for name, strategy in (("temperature", "temperature"), ("weights", "weights")):
            if (getattr(self, name) is not None) != (self.strategy == strategy):
                raise ValueError(f"{name} and strategy: {strategy} need each other, found strategy: {self.strategy}")
        if self.temperature is not None and not (_is_number(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature has to be a number above 0, found {self.temperature!r}")
        if self.weights is not None:
            self._check_weights(self.weights)

    def _check_weights(self, weights: Any) -> None:
        if not isinstance(weights, Mapping):
            raise ValueError(f"weights have to be by language code, found {weights!r}")
        for code, weight in weights.items():
            if get_language(str(code)).code != code:
                raise ValueError(f"weights have to be by language code: write {get_language(code).code} for {code!r}")
            if not (_is_number(weight) and weight >= 0):
                raise ValueError(f"the weight of {code} has to be a number from 0, found {weight!r}")
        if not sum(weights.values()):
            raise ValueError("weights are all 0: no language would be trained on")

    def shares(self, amounts: Mapping[str, float]) -> dict[str, float]:
        """Language -> share of an epoch, given how much there is of each.

        Raises:
            ValueError: The weights leave out a language of the data, or name one that the data lacks.
        """
        if self.strategy == "weights" and self.weights is not None:
            unnamed = sorted(set(amounts) - set(self.weights))
            absent = sorted(code for code, weight in self.weights.items() if weight and not amounts.get(code))
            if unnamed or absent:
                raise ValueError(
                    "The weights of the mixture do not fit the data: "
                    + "; ".join(
                        [f"no weight for {code} (0 leaves it out)" for code in unnamed]
                        + [f"no records of {code}" for code in absent]
                    )
                    + "."
                )
            scores = {code: float(self.weights[code]) for code in amounts}
        else:
            scores = {
                code: amount ** (1 / (self.temperature or 1)) if amount else 0.0 for code, amount in amounts.items()
            }
        total = sum(scores.values())
        return {code: score / total if total else 0.0 for code, score in scores.items()}

    def draws(self, amounts: Mapping[str, float]) -> dict[str, int]:
        """Language -> draws of an epoch, which has as many as there is of the languages that take part.

        Raises:
            ValueError: The weights do not fit the languages.
        """
        shares = self.shares(amounts)
        total = round(sum(amount for code, amount in amounts.items() if shares[code]))
        return dict(zip(shares, _apportion(total, list(shares.values())), strict=True))


def expected_mixture(counts: Mapping[str, int], strategy: MixtureStrategy | None = None) -> dict[str, int]:
    """How many records of each language an epoch draws, known from counts alone.

    Args:
        counts: Language code -> number of records.
        strategy: Proportional if not given.

    Returns:
        Language code -> draws; their sum is that of the counts of the languages that take part.

    Raises:
        ValueError: The strategy's weights do not fit the languages.

    Example:
        >>> expected_mixture({"en": 900, "ur": 100}, MixtureStrategy("temperature", temperature=2))
        {'en': 750, 'ur': 250}
    """
    draws = (strategy or MixtureStrategy()).draws(dict(sorted(counts.items())))
    return {code: draws[code] for code in counts}


def mixture_indices(
    languages: Sequence[str] | np.ndarray,
    sources: Sequence[str] | np.ndarray | None = None,
    *,
    strategy: MixtureStrategy | None = None,
    source_weights: Mapping[str, float] | None = None,
    epoch: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """The records of an epoch, in the order of training, for `dataset.select(indices)`.

    A language or source that gets more draws than it has records repeats them evenly; one that gets fewer goes on in
    the next epoch where it stopped, so that in the end every record is seen. Proportional, with weights of 1, an epoch
    is every record once; with a weight for one language alone, every record of that one.

    Args:
        languages: Language code of every record.
        sources: Source name of every record; needed with `source_weights`.
        strategy: Proportional if not given.
        source_weights: Source name -> how often an epoch of the proportional mixture sees its records: 2 is twice, 0.5
            every other one, 0 never; 1 where a source is not named. They set the length of the epoch; within a
            language, sources share by it.
        epoch: Which epoch, from 0.
        seed: The same seed, the same indices.

    Returns:
        int64 array of shape `(draws,)`.

    Raises:
        ValueError: Weights do not fit the languages or the sources.
    """
    strategy, weights = strategy or MixtureStrategy(), dict(source_weights or {})
    groups = _groups(languages, sources)
    if unknown := sorted(set(weights) - {source for _, source in groups}):
        raise ValueError(f"source_weights names {', '.join(unknown)}, of which the data has no records.")
    amounts = {group: len(records) * weights.get(group[1], 1.0) for group, records in groups.items()}
    by_language: dict[str, float] = {}
    for (language, _), amount in amounts.items():
        by_language[language] = by_language.get(language, 0.0) + amount

    parts = [np.empty(0, dtype=np.int64)]
    for language, language_draws in strategy.draws(by_language).items():
        own = [group for group in groups if group[0] == language]
        own_shares = [amounts[group] / (by_language[language] or 1) for group in own]
        for group, count in zip(own, _apportion(language_draws, own_shares), strict=True):
            parts.append(groups[group][_draw(group, len(groups[group]), count, epoch, seed)])
    indices = np.concatenate(parts)
    np.random.default_rng([seed, epoch]).shuffle(indices)
    return indices


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _groups(
    languages: Sequence[str] | np.ndarray, sources: Sequence[str] | np.ndarray | None
) -> dict[tuple[str, str], np.ndarray]:
    """(language, source) -> its records."""
    languages = np.asarray(languages, dtype=np.str_)
    sources = np.asarray(sources, dtype=np.str_) if sources is not None else np.full(len(languages), "")
    language_codes, language_of = np.unique(languages, return_inverse=True)
    source_names, source_of = np.unique(sources, return_inverse=True)
    group_of = language_of * len(source_names) + source_of
    order = np.argsort(group_of, kind="stable").astype(np.int64)
    numbers, starts = np.unique(group_of[order], return_index=True)
    return {
        (str(language_codes[number // len(source_names)]), str(source_names[number % len(source_names)])): records
        for number, records in zip(numbers, np.split(order, starts)[1:], strict=True)
    }


def _apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers as near to the shares as can be, with this sum (largest remainders)."""
    if not sum(shares):
        return [0] * len(shares)
    quotas = np.asarray(shares) * total
    counts = np.floor(quotas).astype(np.int64)
    # Stable: of equal remainders the first ones win.
    for index in np.argsort(counts - quotas, kind="stable")[: total - int(counts.sum())]:
        counts[index] += 1
    return counts.tolist()


def _draw(group: tuple[str, str], size: int, count: int, epoch: int, seed: int) -> np.ndarray:
    """The stretch of this epoch from an endless row of shuffles of a group's records."""
    name = zlib.crc32("\0".join(group).encode())
    first, last = epoch * count, (epoch + 1) * count
    parts = [np.empty(0, dtype=np.int64)]
    for turn in range(first // size, -(-last // size)):
        shuffled = np.random.default_rng([seed, name, turn]).permutation(size)
        parts.append(shuffled[max(first - turn * size, 0) : last - turn * size])
    return np.concatenate(parts)
