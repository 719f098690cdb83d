"""What the benchmarks measure with."""

import pytest
from benchmarks.common import Timing, in_turn, ratio


def timings(rounds: int) -> dict[str, Timing]:
    return {"ours": Timing([float(number) for number in range(1, rounds + 1)]), "peer": Timing([1.0] * rounds)}


@pytest.mark.parametrize(
    ("rounds", "shown"),
    [(1, "1.000 (1.000-1.000 min-max)"), (3, "2.000 (1.000-3.000 min-max)"), (4, "2.500 (2.000-3.000)")],
)
def test_a_range_of_few_rounds_is_called_what_it_is(rounds, shown):
    assert ratio(timings(rounds), "ours", "peer") == shown


def test_contenders_take_turns():
    order = []
    contenders = {name: lambda name=name: order.append(name) or len(order) for name in ("a", "b")}
    assert in_turn(contenders, 3) == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert order == ["a", "b", "b", "a", "a", "b"]
