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
"""What was used so far, and the line that says so."""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True)
class Prices:
    """Dollars for a million tokens."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Dollars for so many tokens.

        >>> Prices(prompt=2.5, completion=10).cost(1_000_000, 100_000)
        3.5
        """
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6

    @property
    def of_batches(self) -> "Prices":
        """Half: what OpenAI asks for the same in a batch."""
        return Prices(self.prompt / 2, self.completion / 2)


@dataclass
class Usage:
    """Counts of one process.

    Attributes:
        answered: Requests that the endpoint answered.
        reused: Requests that the journal answered.
        retries: Tries that brought no answer, by what happened.
        prompt_tokens: Of the answered requests.
        completion_tokens: Of the answered requests.
    """

    answered: int = 0
    reused: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def describe(self, prices: Prices | None = None) -> str:
        """In one line: requests, tokens, cost."""
        parts = [f"{self.answered:,} answered"]
        if self.reused:
            parts.append(f"{self.reused:,} from the journal")
        if self.retries:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.retries.items()))
            parts.append(f"{self.retries.total():,} retries ({kinds})")
        parts.append(f"{self.prompt_tokens:,} + {self.completion_tokens:,} tokens")
        if prices is not None:
            parts.append(f"${prices.cost(self.prompt_tokens, self.completion_tokens):,.2f}")
        return ", ".join(parts)


class ProgressLine:
    """One line about work that takes long: rewritten in a terminal, a new one every half minute in a log.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._interval = 0.5 if self._terminal else 30.0
        self._began = self._shown = time.monotonic()
        self._began_at: float | None = None

    def show(self, fraction: float, text: str) -> None:
        """Say how far the work is (0 to 1), if the last time is long enough ago."""
        now = time.monotonic()
        if self._began_at is None:
            self._began_at = fraction
        if now - self._shown < self._interval:
            return
        self._shown = now
        line = f"{fraction:6.1%}, {self._remaining(fraction, now)} to go, {text}"
        self._stream.write(f"\r\x1b[2K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def _remaining(self, fraction: float, now: float) -> str:
        # What was already done when this process began says nothing about its speed.
        done = fraction - (self._began_at or 0.0)
        if done <= 0:
            return "?"
        seconds = round((now - self._began) * (1 - fraction) / done)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def close(self) -> None:
        """Clear the line."""
        if self._terminal:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
