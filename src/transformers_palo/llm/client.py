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
"""One client for any endpoint that speaks OpenAI's chat completions."""

import asyncio
import itertools
import os
import random
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from .chat import ChatRequest, Reply, parse_reply
from .errors import (
    EndpointError,
    FatalEndpointError,
    RefusedRequestError,
    RetryableEndpointError,
    UnansweredError,
    from_openai,
)
from .journal import Journal
from .pace import Pace
from .usage import Usage


# Roughly: a request's tokens are only estimated until the endpoint has counted them.
_CHARACTERS_PER_TOKEN = 3.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
# An endpoint that never answered anything is more likely a wrong address than an overloaded one.
_TRIES_TO_CONNECT = 3
_REFUSALS_IN_VAIN = 20
# What some models call otherwise or do not take (OpenAI's reasoning models): parameter -> its other name.
_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "temperature": None}


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how hard.

    Attributes:
        base_url: Such as `https://api.openai.com/v1`. The key, if one is needed, is in the environment: OPENAI_API_KEY.
        concurrency: Requests at a time.
        requests_per_minute: The endpoint's limit, if there is one.
        tokens_per_minute: The same for tokens of requests and answers together.
        max_retries: How often a request is sent again before it is left for a later run.
        timeout: Seconds that one answer may take.
    """

    base_url: str
    concurrency: int = 64
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_retries: int = 8
    timeout: float = 120.0

    def __post_init__(self) -> None:
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"Expected a base URL such as http://localhost:8000/v1, found {self.base_url!r}.")
        if "@" in address.netloc:
            raise ValueError(
                f"Found a password in the URL of {address.hostname}, where others see it: set OPENAI_API_KEY instead."
            )


class ChatClient:
    """Asks an endpoint, many requests at once, each of them until it is answered or given up.

    Every answer is in the journal before `ask` returns it, and is taken from there ever after. Equal requests that
    are under way at the same time are sent once. Retries wait as long as `Retry-After` says, else twice as long each
    time, with jitter.

    Args:
        endpoint: Where to ask.
        journal: Where answers are kept.

    Raises:
        ImportError: The `openai` package is missing.
    """

    def __init__(self, endpoint: Endpoint, journal: Journal) -> None:
        try:
            import openai
        except ImportError:
            raise ImportError(
                "Asking an endpoint needs the openai package: pip install 'transformers-palo[translate]'"
            ) from None

        self._key = os.environ.get("OPENAI_API_KEY") or ""
        self._openai = openai.AsyncOpenAI(
            base_url=endpoint.base_url, api_key=self._key or "none", max_retries=0, timeout=endpoint.timeout
        )
        self._endpoint = endpoint
        self._journal = journal
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._requests = Pace(endpoint.requests_per_minute)
        self._tokens = Pace(endpoint.tokens_per_minute)
        self._under_way: dict[bytes, asyncio.Task[Reply]] = {}
        self._renamed: dict[str, str | None] = {}
        self._refusals = 0
        self._stopped: FatalEndpointError | None = None
        self._random = random.Random()
        self.usage = Usage()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What nobody waits for any more: after an error, or an interruption.
        for task in (left := list(self._under_way.values())):
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._openai.close()

    async def ask(self, request: ChatRequest) -> Reply:
        """The answer to a request.

        Raises:
            FatalEndpointError: Nothing will be answered; every later call raises it as well.
            RefusedRequestError: The endpoint refuses this request.
            UnansweredError: No answer after all retries, though others were answered.
            JournalError: The answer could not be kept.
        """
        task = self._under_way.get(request.key)
        if task is None:
            task = asyncio.create_task(self._answer(request))
            self._under_way[request.key] = task
            task.add_done_callback(lambda _: self._under_way.pop(request.key, None))
        return await asyncio.shield(task)

    async def _answer(self, request: ChatRequest) -> Reply:
        if (known := self._journal.find(request)) is not None:
            self.usage.reused += 1
            return known
        async with self._slots:
            reply, seconds = await self._send_until_answered(request)
        await self._journal.record(request, reply, seconds)
        self.usage.answered += 1
        self.usage.prompt_tokens += reply.prompt_tokens
        self.usage.completion_tokens += reply.completion_tokens
        return reply

    async def _send_until_answered(self, request: ChatRequest) -> tuple[Reply, float]:
        answered_before = self.usage.answered
        for tries in itertools.count(1):
            if self._stopped is not None:
                raise self._stopped
            renamed = set(self._renamed)
            try:
                return await self._send(request)
            except RetryableEndpointError as error:
                self.usage.retries[error.kind] += 1
                self._give_up_if_in_vain(error, tries, self.usage.answered > answered_before)
                await asyncio.sleep(self._wait(error, tries))
            except RefusedRequestError as error:
                if error.parameter not in _OTHER_NAMES or error.parameter in renamed:
                    self._stop_if_all_are_refused(error)
                    raise
                self._renamed[error.parameter] = _OTHER_NAMES[error.parameter]
            except FatalEndpointError as error:
                self._stopped = error
                raise
        raise AssertionError("unreachable")

    async def _send(self, request: ChatRequest) -> tuple[Reply, float]:
        import openai

        estimate = request.num_characters / _CHARACTERS_PER_TOKEN
        await self._requests.take()
        await self._tokens.take(estimate)
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._endpoint.timeout):
                # `chat.completions.create` takes half as long again, over types of parameters that are plain already.
                raw = await self._openai.post(
                    "/chat/completions",
                    body={"model": request.model, "messages": request.messages, **self._named(request.parameters)},
                    cast_to=str,
                )
        except TimeoutError:
            raise RetryableEndpointError(f"{self._endpoint.base_url} took too long to answer", "timeout") from None
        except openai.OpenAIError as error:
            raise self._without_key(from_openai(error, self._endpoint.base_url)) from None
        reply = parse_reply(self._hide_key(raw))
        self._tokens.correct(reply.prompt_tokens + reply.completion_tokens - estimate if reply.prompt_tokens else 0)
        return reply, time.monotonic() - began

    def _named(self, parameters: dict[str, Any]) -> dict[str, Any]:
        named = {self._renamed.get(name, name): value for name, value in parameters.items()}
        return {name: value for name, value in named.items() if name is not None}

    def _give_up_if_in_vain(self, error: RetryableEndpointError, tries: int, others_answered: bool) -> None:
        never = self.usage.answered == 0 and not error.connected
        if tries <= self._endpoint.max_retries and not (never and tries >= _TRIES_TO_CONNECT):
            return
        if others_answered:
            raise UnansweredError(f"no answer after {tries} tries; the last: {error}")
        self._stopped = FatalEndpointError(
            f"No answer after {tries} tries: {error}. Run the same command again once the endpoint is up."
        )
        raise self._stopped

    def _stop_if_all_are_refused(self, error: RefusedRequestError) -> None:
        self._refusals += 1
        if self._refusals >= _REFUSALS_IN_VAIN and not self.usage.answered + self.usage.reused:
            self._stopped = FatalEndpointError(
                f"The first {self._refusals} requests were all refused; the last: {error}"
            )
            raise self._stopped

    def _wait(self, error: RetryableEndpointError, tries: int) -> float:
        if error.retry_after is not None:
            # Not all at the same moment.
            return error.retry_after * self._random.uniform(1.0, 1.1)
        return min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (tries - 1)) * self._random.uniform(0.5, 1.0)

    def _hide_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def _without_key(self, error: EndpointError) -> EndpointError:
        error.args = tuple(self._hide_key(str(argument)) for argument in error.args)
        return error
