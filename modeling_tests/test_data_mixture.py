"""Epochs: every record once, or shares of languages and sources, always the same for a seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformers_palo.data.mixture import MixtureStrategy, expected_mixture, mixture_indices


LANGUAGES = ["en"] * 900 + ["hi"] * 90 + ["ur"] * 10
TEMPERATURE = MixtureStrategy("temperature", temperature=2)
WEIGHTS = MixtureStrategy("weights", weights={"en": 1, "hi": 2, "ur": 1})


def draws(indices) -> Counter:
    return Counter(LANGUAGES[index] for index in indices)


def test_proportional_is_every_record_once_in_a_new_order_each_epoch():
    first, second = (mixture_indices(LANGUAGES, epoch=epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(1000))
    assert first.dtype == np.int64
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.sort(first))


def test_the_seed_decides():
    arguments = {"strategy": WEIGHTS, "epoch": 3}
    assert np.array_equal(
        mixture_indices(LANGUAGES, seed=1, **arguments), mixture_indices(LANGUAGES, seed=1, **arguments)
    )
    assert not np.array_equal(
        mixture_indices(LANGUAGES, seed=1, **arguments), mixture_indices(LANGUAGES, seed=2, **arguments)
    )


@pytest.mark.parametrize("strategy", [None, TEMPERATURE, WEIGHTS])
def test_the_draws_are_those_expected_from_counts_alone(strategy):
    counts = Counter(LANGUAGES)
    assert draws(mixture_indices(LANGUAGES, strategy=strategy)) == expected_mixture(counts, strategy)


def test_shares():
    assert expected_mixture({"en": 900, "hi": 90, "ur": 10}, WEIGHTS) == {"en": 250, "hi": 500, "ur": 250}
    assert expected_mixture({"en": 900, "ur": 100}, TEMPERATURE) == {"en": 750, "ur": 250}
    nearly_equal = MixtureStrategy("temperature", temperature=1e9)
    assert expected_mixture({"en": 900, "hi": 90, "ur": 9}, nearly_equal) == {"en": 333, "hi": 333, "ur": 333}


def test_a_small_language_is_repeated_evenly():
    repeats = Counter(mixture_indices(LANGUAGES, strategy=WEIGHTS))
    assert {repeats[index] for index in range(990, 1000)} == {25}
    assert {repeats[index] for index in range(900, 990)} == {5, 6}


def test_a_large_language_is_seen_whole_over_the_epochs():
    """250 of 900 an epoch: what was left out comes next, and nothing comes twice before everything came once."""
    epochs = [mixture_indices(LANGUAGES, strategy=WEIGHTS, epoch=epoch) for epoch in range(18)]
    seen = Counter(int(index) for indices in epochs for index in indices if index < 900)
    assert len(seen) == 900 and set(seen.values()) == {5}
    early = Counter(int(index) for indices in epochs[:3] for index in indices if index < 900)
    assert set(early.values()) == {1}


def test_weights_of_sources_set_how_often_an_epoch_sees_them():
    sources = ["a"] * 450 + ["b"] * 450 + ["a"] * 100
    indices = mixture_indices(LANGUAGES, sources, source_weights={"a": 2, "b": 0.5})
    repeats = Counter(indices.tolist())
    assert len(indices) == 550 * 2 + 225
    assert {repeats[index] for index in [*range(450), *range(900, 1000)]} == {2}
    assert {repeats[index] for index in range(450, 900)} == {0, 1}


def test_within_a_language_sources_share_by_their_weights():
    languages, sources = ["en"] * 200 + ["ur"] * 100, ["a"] * 100 + ["b"] * 100 + ["a"] * 100
    strategy = MixtureStrategy("weights", weights={"en": 0.5, "ur": 0.5})
    indices = mixture_indices(languages, sources, strategy=strategy, source_weights={"b": 3})
    counts = Counter((languages[index], sources[index]) for index in indices)
    assert counts == {("en", "a"): 62, ("en", "b"): 188, ("ur", "a"): 250} or counts == {
        ("en", "a"): 63,
        ("en", "b"): 187,
        ("ur", "a"): 250,
    }


def test_a_source_of_weight_zero_is_left_out():
    indices = mixture_indices(["en"] * 4, ["a", "b", "a", "b"], source_weights={"b": 0})
    assert sorted(indices) == [0, 2]


def test_one_language_alone_is_every_record_of_it_once():
    """What is left out does not make the epoch longer."""
    strategy = MixtureStrategy("weights", weights={"en": 0, "hi": 1, "ur": 0})
    assert sorted(mixture_indices(LANGUAGES, strategy=strategy)) == list(range(900, 990))
    assert expected_mixture(Counter(LANGUAGES), strategy) == {"en": 0, "hi": 90, "ur": 0}
    two = MixtureStrategy("weights", weights={"en": 0, "hi": 1, "ur": 1})
    assert expected_mixture(Counter(LANGUAGES), two) == {"en": 0, "hi": 50, "ur": 50}


def test_no_records_no_indices():
    assert mixture_indices([]).tolist() == []


@given(
    st.lists(st.tuples(st.sampled_from(["en", "hi", "ur"]), st.sampled_from(["a", "b"])), min_size=1, max_size=60),
    st.sampled_from([None, TEMPERATURE]),
    st.integers(0, 5),
)
def test_an_epoch_has_as_many_draws_as_records(places, strategy, epoch):
    languages, sources = zip(*places, strict=True)
    indices = mixture_indices(languages, sources, strategy=strategy, epoch=epoch)
    assert len(indices) == len(places)
    counts = Counter(languages[index] for index in indices)
    assert counts == Counter({k: v for k, v in expected_mixture(Counter(languages), strategy).items() if v})


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            {"strategy": MixtureStrategy("weights", weights={"en": 1, "hi": 1})},
            "no weight for ur \\(0 leaves it out\\)",
        ),
        (
            {"strategy": MixtureStrategy("weights", weights={"en": 1, "hi": 1, "ur": 1, "ja": 1})},
            "no records of ja",
        ),
        ({"source_weights": {"c": 1}}, "source_weights names c"),
    ],
)
def test_weights_that_do_not_fit_the_data(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        mixture_indices(LANGUAGES, ["a"] * 1000, **arguments)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"strategy": "temperature"}, "temperature and strategy: temperature need each other"),
        ({"temperature": 2.0}, "need each other, found strategy: proportional"),
        ({"strategy": "temperature", "temperature": 0}, "temperature has to be a number above 0, found 0"),
        ({"strategy": "temperature", "temperature": "hot"}, "temperature has to be a number above 0, found 'hot'"),
        ({"strategy": "weights"}, "weights and strategy: weights need each other"),
        ({"strategy": "weights", "weights": [1, 2]}, "weights have to be by language code"),
        ({"strategy": "weights", "weights": {"Hindi": 1}}, "write hi for 'Hindi'"),
        ({"strategy": "weights", "weights": {"xx": 1}}, "Unknown language 'xx'"),
        ({"strategy": "weights", "weights": {"hi": -1}}, "the weight of hi has to be a number from 0, found -1"),
        ({"strategy": "weights", "weights": {"hi": float("inf")}}, "the weight of hi has to be a number from 0"),
        ({"strategy": "weights", "weights": {"hi": 0}}, "all 0"),
        ({"strategy": "random"}, "strategy has to be one of proportional, temperature, weights, found 'random'"),
    ],
)
def test_a_strategy_that_is_none(fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        MixtureStrategy(**fields)
