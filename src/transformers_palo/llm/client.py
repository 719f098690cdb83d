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
import random
import re
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from .chat import ChatRequest, Reply, parse_reply, whole_characters
from .errors import (
    USE_ANOTHER_KEY,
    EndpointError,
    FatalEndpointError,
    RefusedRequestError,
    RetryableEndpointError,
    UnansweredError,
    from_openai,
)
from .journal import Journal
from .pace import Pace
from .secret import Secret
from .usage import Usage


if TYPE_CHECKING:
    from openai import AsyncOpenAI

# Roughly: a request's tokens are only estimated until the endpoint has counted them.
_CHARACTERS_PER_TOKEN = 3.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
# An endpoint that never answered anything is more likely a wrong address than an overloaded one.
_TRIES_TO_CONNECT = 3
_SECONDS_TO_CONNECT = 20.0
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
        # Without what may be a password or a key.
        shown = re.split(r"[?#]", self.base_url)[0].rpartition("@")[2]
        try:
            address = urlsplit(self.base_url)
            address.port  # noqa: B018  # looked at only when asked for
        except ValueError:
            raise ValueError(f"Expected a base URL such as http://localhost:8000/v1, found {shown!r}.") from None
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"Expected a base URL such as http://localhost:8000/v1, found {shown!r}.")
        for what, found in (("a password", "@" in address.netloc), ("a query", address.query or address.fragment)):
            if found:
                raise ValueError(
                    f"Found {what} in the URL of {address.hostname}, where others see it: leave it out, and set OPENAI_API_KEY "
                    "if the endpoint wants a key."
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
        self._secret = Secret.from_environment()
        self._openai = _open(endpoint, self._secret.key or "none")
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._endpoint = endpoint
        self._journal = journal
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._requests = Pace(endpoint.requests_per_minute)
        self._tokens = Pace(endpoint.tokens_per_minute)
        self._under_way: dict[bytes, asyncio.Task[Reply]] = {}
        self._renamed: dict[str, str | None] = {}
        self._has_answered = False
        self._probe: asyncio.Task[None] | None = None
        self._stopped: FatalEndpointError | None = None
        self._random = random.Random()
        self.usage = Usage()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What nobody waits for any more: after an error, or an interruption.
        left: list[asyncio.Task[Any]] = [*self._under_way.values(), *([self._probe] if self._probe else [])]
        for task in left:
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
            task.add_done_callback(lambda done: self._forget(request, done))
        return await asyncio.shield(task)

    def _forget(self, request: ChatRequest, task: asyncio.Task[Reply]) -> None:
        self._under_way.pop(request.key, None)
        if not task.cancelled():
            task.exception()  # those who waited were told, or have gone: asyncio is not to print it

    async def _answer(self, request: ChatRequest) -> Reply:
        if (known := self._journal.find(request)) is not None:
            self.usage.reused += 1
            return known
        async with self._slots:
            reply, seconds = await self._send_until_answered(request)
        await self._keep(request, reply, seconds)
        return reply

    async def _keep(self, request: ChatRequest, reply: Reply, seconds: float) -> None:
        await self._journal.record(request, reply, seconds)
        self.usage.answered += 1
        self.usage.prompt_tokens += reply.prompt_tokens
        self.usage.completion_tokens += reply.completion_tokens

    async def _send_until_answered(self, request: ChatRequest, probing: bool = False) -> tuple[Reply, float]:
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
                    if not probing:
                        await self._make_sure_others_are_answered(request, error)
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
                # `chat.completions.create` takes half as long again, over types of parameters that are plain already, and
                # a path alone a tenth, over joining it to the base URL.
                content = await self._openai.post(
                    self._url,
                    body={"model": request.model, "messages": request.messages, **self._named(request.parameters)},
                    cast_to=bytes,
                )
        except TimeoutError:
            raise RetryableEndpointError(f"{self._endpoint.base_url} took too long to answer", "timeout") from None
        except openai.OpenAIError as error:
            raise self._without_key(from_openai(error, self._endpoint.base_url)) from None
        reply = parse_reply(self._secret.hide(content.decode("utf-8-sig", "replace")))
        self._has_answered = True
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

    async def _make_sure_others_are_answered(self, request: ChatRequest, error: RefusedRequestError) -> None:
        """Tell a refusal of one request from one of them all, before a record is rejected for it.

        A greeting in the place of the text is answered in the first case alone. It is asked where nothing was answered
        yet, and behind each 403, by which some say that a text is against their rules and others that a key is.
        """
        if self._has_answered and not error.doubtful:
            return
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._greet(request))
        try:
            await asyncio.shield(self._probe)
        except RefusedRequestError:
            advice = USE_ANOTHER_KEY if error.doubtful else "check --model, and what the endpoint takes"
            self._stopped = FatalEndpointError(f"{error}; a mere greeting was refused as well ({advice})")
            raise self._stopped from None

    async def _greet(self, request: ChatRequest) -> None:
        # No other greeting is the same: that the journal knows one says nothing about this moment.
        greeting = {"role": "user", "content": f"Hello. It is {time.time_ns()}."}
        probe = ChatRequest(request.model, (*request.messages[:-1], greeting), request.max_tokens)
        await self._keep(probe, *await self._send_until_answered(probe, probing=True))

    def _wait(self, error: RetryableEndpointError, tries: int) -> float:
        if error.retry_after is not None:
            # Not all at the same moment.
            return error.retry_after * self._random.uniform(1.0, 1.1)
        return min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (tries - 1)) * self._random.uniform(0.5, 1.0)

    def _without_key(self, error: EndpointError) -> EndpointError:
        error.args = tuple(whole_characters(self._secret.hide(str(argument))) for argument in error.args)
        return error


def _open(endpoint: Endpoint, key: str) -> "AsyncOpenAI":
    try:
        import openai

        # Its other transport looks through all connections for each request: three times the work at 64 at a time.
        transport = openai.DefaultAioHttpClient(
            limits=type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=endpoint.concurrency + 1)
        )
    except (ImportError, RuntimeError):
        raise ImportError(
            "Asking an endpoint needs the openai package with aiohttp: pip install 'transformers-palo[translate]'"
        ) from None
    timeout = openai.Timeout(endpoint.timeout, connect=min(endpoint.timeout, _SECONDS_TO_CONNECT))
    return openai.AsyncOpenAI(
        base_url=endpoint.base_url, api_key=key, max_retries=0, timeout=timeout, http_client=transport
    )
