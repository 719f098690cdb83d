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

from ..llm import BatchClient, Endpoint, EndpointError, FatalEndpointError
from ..llm.batch import UNDER_WAY, BatchRow, all_batches, open_batches
from ..llm.batch_api import BatchApi
from .store import FinishedRun, RunStore


# Somebody waits for these commands, and can give them again.
_RETRIES = 2


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
        async with BatchApi(row.base_url, _RETRIES) as api:
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
    """Stop what is under way, and say what to do about it.

    Raises:
        OSError: There is no run.
        ValueError: It has no batches.
        FatalEndpointError: The endpoint does not answer.
    """

    async def cancel(client: BatchClient, store: RunStore) -> str:
        try:
            stopped = await client.cancel()
        except EndpointError as error:
            raise FatalEndpointError(
                f"{error}. Try again later; where the endpoint is gone for good, 'palo translate batch cancel {folder} "
                "--give-up' forgets its batches."
            ) from None
        return (
            f"{len(stopped):,} batches are being stopped: 'palo translate batch collect {folder}' keeps their answers."
        )

    return _with_client(folder, cancel)


def give_up_batches(folder: Path) -> str:
    """Forget what is under way without asking the endpoint, and say what that means.

    Raises:
        OSError: There is no run.
        ValueError: It has no batches.
    """

    async def give_up(client: BatchClient, store: RunStore) -> str:
        forgotten = await client.give_up()
        return (
            f"{len(forgotten):,} batches of {sum(row.requests for row in forgotten):,} requests are forgotten: 'palo translate "
            "run' asks again, and what the endpoint still answers of them is paid twice."
        )

    return _with_client(folder, give_up)


def _with_client(folder: Path, act: Callable[[BatchClient, RunStore], Awaitable[str]]) -> str:
    settings = FinishedRun(folder).settings
    store = RunStore(folder, settings)
    try:
        if not (batches := all_batches(store.journal.rows)):
            raise ValueError(_NO_BATCHES.format(folder=folder))
        # Where the last one is: those under way are all at one address.
        at = next(iter(open_batches(store.journal)), batches[-1]).base_url
        endpoint = Endpoint(at, max_retries=_RETRIES)

        async def with_client() -> str:
            async with BatchClient(endpoint, store.journal, folder / "batches") as client:
                return await act(client, store)

        return asyncio.run(with_client())
    finally:
        store.close()
