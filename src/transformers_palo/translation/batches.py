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
"""The batches of a run: what has become of them, their answers into the journal, an end to them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..llm import BatchClient, Endpoint
from ..llm.batch import UNDER_WAY, BatchRow, all_batches, open_batches
from ..llm.batch_api import BatchApi
from .store import FinishedRun, RunStore


def batch_status(folder: Path) -> str:
    """A table of all batches of a run, as the provider tells of those that are under way.

    Raises:
        OSError: There is no run.
        ValueError: It has no batches.
        EndpointError: The provider does not answer.
    """

    run = FinishedRun(folder)
    if not any(run.rows("SELECT 1 FROM sqlite_master WHERE name = 'batches'")) or not (found := all_batches(run.rows)):
        raise ValueError(_NO_BATCHES.format(folder=folder))

    async def lines() -> list[str]:
        return [await _line(row) for row in found]

    header = f"{'batch':<30}{'requests':>10}{'answered':>10}{'refused':>9}  {'state':<12}{'written':<18}"
    return "\n".join([header, *asyncio.run(lines())])


_NO_BATCHES = "{folder}: expected a run with batches, found none: 'palo translate run --batch' sends them."


async def _line(row: BatchRow) -> str:
    state, counts = row.state, f"{'':>19}"
    if row.state == UNDER_WAY and row.batch_id is not None:
        async with BatchApi(row.base_url, Endpoint.max_retries) as api:
            batch = await api.retrieve(row.batch_id)
        state = batch.status
        if (of := batch.request_counts) is not None:
            counts = f"{of.completed:>10,}{of.failed:>9,}"
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.written_at))
    return f"{row.batch_id or row.name:<30}{row.requests:>10,}{counts}  {state:<12}{written:<18}"


def collect_batches(folder: Path) -> str:
    """Collect what has ended, start what waits, and say what came of it."""

    async def collect(client: BatchClient, store: RunStore) -> str:
        await client.poll()
        still = open_batches(store.journal)
        return (
            f"{client.usage.describe()}; {len(still):,} batches of {sum(row.requests for row in still):,} requests "
            "under way"
        )

    return _with_client(folder, collect)


def cancel_batches(folder: Path) -> str:
    """Stop what is under way, and say what to do about it."""

    async def cancel(client: BatchClient, store: RunStore) -> str:
        stopped = await client.cancel()
        return (
            f"{len(stopped):,} batches are being stopped: 'palo translate batch collect {folder}' keeps their answers."
        )

    return _with_client(folder, cancel)


def _with_client(folder: Path, act: Callable[[BatchClient, RunStore], Awaitable[str]]) -> str:
    settings = FinishedRun(folder).settings
    store = RunStore(folder, settings)
    try:
        if not (batches := all_batches(store.journal.rows)):
            raise ValueError(_NO_BATCHES.format(folder=folder))
        # Where the last one is: those under way are all at one address.
        endpoint = Endpoint(next((row for row in open_batches(store.journal)), batches[-1]).base_url)

        async def with_client() -> str:
            async with BatchClient(endpoint, store.journal, folder / "batches") as client:
                return await act(client, store)

        return asyncio.run(with_client())
    finally:
        store.close()
