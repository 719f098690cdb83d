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
"""OpenAI's Batch API: every call of it can be repeated, and none makes a batch twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from .chat import whole_characters
from .errors import RetryableEndpointError, from_openai
from .secret import Secret


if TYPE_CHECKING:
    from openai.types import Batch


Result = TypeVar("Result")
ENDPOINT: Final = "/v1/chat/completions"
# The provider's states in which nothing happens any more.
ENDED = ("completed", "failed", "expired", "cancelled")
# By what a batch is found again; `batches.list` shows it.
_NAME = "palo_batch"
_TRIES, _FIRST_WAIT = 6, 1.0
# The provider's clock may be another.
_CLOCKS_APART = 3600.0
_SECONDS_FOR_AN_UPLOAD = 600.0
# Of the calls that move no file, and for a connection.
_SECONDS_FOR_A_CALL, _SECONDS_TO_CONNECT = 60.0, 10.0
_BYTES_AT_ONCE = 2**20


class BatchApi:
    """The calls that batches need; the key is OPENAI_API_KEY.

    Args:
        base_url: The endpoint.
        max_retries: Of what may be repeated as it is.
    """

    def __init__(self, base_url: str, max_retries: int) -> None:
        import openai

        self._secret = Secret.from_environment()
        self._base_url = base_url
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=self._secret.key or "none",
            max_retries=max_retries,
            timeout=openai.Timeout(_SECONDS_FOR_A_CALL, connect=_SECONDS_TO_CONNECT),
        )
        self._for_files = self._client.with_options(
            timeout=openai.Timeout(_SECONDS_FOR_AN_UPLOAD, connect=_SECONDS_TO_CONNECT)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def upload(self, path: Path) -> str:
        """Upload an input file; returns its id. Repeated, it leaves a second file that costs nothing."""
        with self._told(), path.open("rb") as file:
            uploaded = await self._for_files.files.create(file=(path.name, file), purpose="batch")
        return uploaded.id

    async def create(self, file_id: str, name: str, since: float) -> "Batch":
        """Start the batch of this name, or find it where it was started before and the reply was lost.

        Args:
            file_id: Of its input.
            name: What tells it from every other.
            since: No such batch is older (Unix time).

        Raises:
            EndpointError: It cannot be started.
        """

        async def find_or_create() -> "Batch":
            if (found := await self.find(name, since)) is not None:
                return found
            with self._told():
                return await self._client.with_options(max_retries=0).batches.create(
                    input_file_id=file_id, endpoint=ENDPOINT, completion_window="24h", metadata={_NAME: name}
                )

        return await _repeated(find_or_create)

    async def find(self, name: str, since: float) -> "Batch | None":
        """The batch of this name, unless it failed."""
        with self._told():
            async for batch in self._client.batches.list(limit=100):  # newest first
                if batch.created_at < since - _CLOCKS_APART:
                    return None
                if (batch.metadata or {}).get(_NAME) == name and batch.status != "failed":
                    return batch
        return None

    async def retrieve(self, batch_id: str) -> "Batch":
        """What has become of a batch."""
        with self._told():
            return await self._client.batches.retrieve(batch_id)

    async def cancel(self, batch_id: str) -> bool:
        """Stop a batch; `False` if the endpoint knows no such batch."""
        import openai

        with self._told():
            try:
                await self._client.batches.cancel(batch_id)
            except openai.NotFoundError:
                return False
            except openai.ConflictError:  # it has ended meanwhile
                pass
        return True

    async def download(self, file_id: str, path: Path) -> None:
        """Write a file of results to a path, a piece at a time: it may be larger than the memory.

        Raises:
            EndpointError: It cannot be had.
        """

        async def fetch() -> None:
            content = self._for_files.with_options(max_retries=0).files.with_streaming_response.content(file_id)
            with self._told(), path.open("wb") as file:
                async with content as response:
                    async for piece in self._pieces(response.iter_bytes(_BYTES_AT_ONCE)):
                        file.write(piece)

        await _repeated(fetch)

    async def _pieces(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What comes, and a connection that breaks meanwhile as an error to try again after."""
        try:
            async for piece in pieces:
                yield piece
        except Exception as error:  # the transport's own, whichever it is
            raise RetryableEndpointError(f"no connection to {self._base_url}: {error}", "connection") from None

    @contextmanager
    def _told(self) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.OpenAIError as error:
            told = from_openai(error, self._base_url)
            told.args = tuple(whole_characters(self._secret.hide(str(argument))) for argument in told.args)
            raise told from None


async def _repeated(act: Callable[[], Awaitable[Result]]) -> Result:
    """What comes of it in the end, where it may be tried again."""
    for tries in range(_TRIES):
        try:
            return await act()
        except RetryableEndpointError as error:
            if tries + 1 == _TRIES:
                raise
            await asyncio.sleep(error.retry_after or _FIRST_WAIT * 2**tries)
    raise AssertionError("unreachable")
