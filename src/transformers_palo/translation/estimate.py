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
"""What a run will take, told before anything is sent."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..llm import Prices
from ..record_files import open_records
from .masking import mask
from .prompts import CONTEXT_TURNS, Prompter, Turn
from .records import MalformedRecordError, english_turns
from .run import Job


# As the targets' (o200k_base, on the sources of the labelled sentences).
ENGLISH_CHARACTERS_PER_TOKEN = 4.4
# The chat format round each message.
_TOKENS_PER_MESSAGE = 4


@dataclass
class Estimate:
    """What translating into one language will take, if every turn passes at once.

    Attributes:
        records: How many there are.
        requests: How many requests they need; equal texts are asked for once, so it may be fewer.
        prompt_tokens: Estimate, from characters.
        completion_tokens: Estimate, from characters.
    """

    records: int = 0
    requests: int = 0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0


def estimate(job: Job) -> dict[str, Estimate]:
    """Requests and tokens for each language, without sending or writing anything.

    Raises:
        OSError: The input cannot be read.
        ValueError: The input is malformed.
    """
    counters = [_Counter(prompter, job.whole_conversations) for prompter in job.prompters()]
    for _, record in job.records(open_records(job.input)):
        for counter in counters:
            counter.estimate.records += 1
        try:
            turns = [Turn(turn.role, mask(turn.english).text) for turn in english_turns(record)]
        except MalformedRecordError:
            continue
        for counter in counters:
            counter.add(turns)
    return {counter.code: counter.estimate for counter in counters}


class _Counter:
    def __init__(self, prompter: Prompter, whole_conversations: bool) -> None:
        target = prompter.target
        self.code = target.code
        self.estimate = Estimate()
        self._whole = whole_conversations
        # The usual length is in the middle of the bounds; in tokens for a character of English.
        self._tokens_each = (target.length[0] * target.length[1]) ** 0.5 / target.characters_per_token
        frame = prompter.turn_request(Turn("gpt", ""), [])
        characters = frame.num_characters
        foreign = sum(len(translation) for _, translation in prompter.examples)
        self._frame = (
            (characters - foreign) / ENGLISH_CHARACTERS_PER_TOKEN
            + foreign / target.characters_per_token
            + _TOKENS_PER_MESSAGE * len(frame.messages)
        )

    def add(self, turns: Sequence[Turn]) -> None:
        lengths = [len(turn.english) if any(map(str.isalpha, turn.english)) else 0 for turn in turns]
        if self._whole:
            self._add_request(sum(lengths), 0)
            return
        for index, length in enumerate(lengths):
            if length:
                self._add_request(length, sum(lengths[max(0, index - CONTEXT_TURNS) : index]))

    def _add_request(self, characters: int, context: int) -> None:
        self.estimate.requests += 1
        english = (characters + context) / ENGLISH_CHARACTERS_PER_TOKEN
        self.estimate.prompt_tokens += self._frame + english + context * self._tokens_each
        self.estimate.completion_tokens += characters * self._tokens_each


def estimate_table(estimates: dict[str, Estimate], prices: Prices | None) -> str:
    """The estimates as a table, with costs if prices are known."""
    rows = [
        "language    records   requests  prompt tokens  completion tokens" + ("        cost" if prices else ""),
    ]
    total = Estimate()
    for code, one in estimates.items():
        rows.append(_row(code, one, prices))
        total.records += one.records
        total.requests += one.requests
        total.prompt_tokens += one.prompt_tokens
        total.completion_tokens += one.completion_tokens
    return "\n".join([*rows, _row("all", total, prices)])


def _row(name: str, one: Estimate, prices: Prices | None) -> str:
    cost = f"{prices.cost(one.prompt_tokens, one.completion_tokens):>12,.2f}" if prices else ""
    return f"{name:<8}{one.records:>11,}{one.requests:>11,}{one.prompt_tokens:>15,.0f}{one.completion_tokens:>19,.0f}{cost}"
