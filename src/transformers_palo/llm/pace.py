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
"""Rate limits."""

import asyncio
import time


class Pace:
    """Spreads an amount a minute evenly, so that no minute sees more than it.

    Args:
        per_minute: Requests or tokens a minute; `None` for no limit.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def take(self, amount: float = 1) -> None:
        """Wait until this much more may be used."""
        if not self._seconds_each:
            return
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + amount * self._seconds_each
        await asyncio.sleep(start - now)

    def correct(self, amount: float) -> None:
        """What was taken turned out to be this much more (or, negative, less)."""
        self._next += amount * self._seconds_each
