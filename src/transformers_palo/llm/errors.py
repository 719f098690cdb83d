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
"""What an endpoint does instead of answering, told apart by what is to be done about it."""

import email.utils
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import openai


class EndpointError(RuntimeError):
    """An endpoint did not answer."""


class FatalEndpointError(EndpointError):
    """No other request will be answered either: a wrong key, an unknown model, no money left."""


class RetryableEndpointError(EndpointError):
    """The same request may be answered later: overloaded, unreachable, too slow, or a damaged reply.

    Attributes:
        kind: What happened, in a word or two, to be counted by.
        retry_after: Seconds that the endpoint asks to wait, if it says so.
        connected: Whether something was there to talk to.
    """

    def __init__(self, message: str, kind: str, retry_after: float | None = None, connected: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        self.connected = connected


class RefusedRequestError(EndpointError):
    """This request will not be answered, others may be: too long for the model, or against the provider's rules.

    Attributes:
        parameter: The parameter that the endpoint says this model does not take, if that is why.
        doubtful: Whether it may as well be the key, for all that the endpoint says (403).
    """

    def __init__(self, message: str, parameter: str | None = None, doubtful: bool = False) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.doubtful = doubtful


class UnansweredError(EndpointError):
    """A request was given up after its last retry, while others were answered. Ask again later."""


_RETRYABLE_STATUS = {408, 409, 425, 429}
_WHAT_TO_DO = {
    401: "set OPENAI_API_KEY to a key that is valid there",
    402: "top up the account, then run again",
    404: "check --model and --base-url, which usually ends in /v1",
}
_NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached"}
_NO_MODEL = {"model_not_found", "model_not_available"}
# A 403 by which OpenAI says that nobody there is served; others say 403 of a text that their moderation stopped.
_NOT_SERVED = {"unsupported_country_region_territory"}
# What to add where a 403 turned out to concern every request.
USE_ANOTHER_KEY = "use a key that may use this model, or another model"
# A wrong date in a header is not to stop a run for a year.
_LONGEST_RETRY_AFTER = 3600.0
# Of what an endpoint says; some answer with a whole web page.
_LONGEST_MESSAGE = 300


def from_openai(error: "openai.OpenAIError", base_url: str) -> EndpointError:
    """Sort an error of the `openai` package into one of the classes above."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _from_status(error, base_url)
    if isinstance(error, openai.APIConnectionError):
        return _from_connection(error, base_url)
    return RetryableEndpointError(f"{base_url} sent what is no reply: {error}", "malformed reply")


def _from_connection(error: "openai.APIConnectionError", base_url: str) -> RetryableEndpointError:
    # The transport calls whatever goes wrong a time-out; its own error, at the bottom, says what it was.
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, TimeoutError):
        # Of the same kind whether nobody opened the door or nobody said anything.
        return RetryableEndpointError(f"{base_url} took too long to answer", "timeout")
    # What breaks while a connection is opened: a wrong address, or a server that is not up.
    opening = isinstance(cause, OSError) and (
        isinstance(cause, ConnectionRefusedError) or not isinstance(cause, ConnectionError)
    )
    return RetryableEndpointError(
        f"no connection to {base_url}: {cause or type(cause).__name__}", "connection", connected=not opening
    )


def _from_status(error: "openai.APIStatusError", base_url: str) -> EndpointError:
    return from_status(error.status_code, error.message, error.code, error.param, error.response.headers, base_url)


def from_status(
    status: int, message: str, code: str | None, param: str | None, headers: Mapping[str, str], base_url: str
) -> EndpointError:
    """Sort an answer that is none, be it to a request or to one of a batch."""
    code = str(code)
    message = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
    said = f"{base_url} answered {status}: {message}"
    if code in _NO_MONEY:
        return FatalEndpointError(f"{said} ({_WHAT_TO_DO[402]})")
    if status in _WHAT_TO_DO or code in _NO_MODEL:
        return FatalEndpointError(f"{said} ({_WHAT_TO_DO.get(status, _WHAT_TO_DO[404])})")
    if status == 403 and code in _NOT_SERVED:
        return FatalEndpointError(f"{said} ({USE_ANOTHER_KEY})")
    if status in _RETRYABLE_STATUS or status >= 500:
        return RetryableEndpointError(said, str(status), retry_after(headers))
    unsupported = code.startswith("unsupported")
    return RefusedRequestError(said, str(param) if unsupported else None, doubtful=status == 403)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (RFC 9110: seconds, or a date), `None` if neither is there.

    >>> retry_after({"retry-after": "1.5"})
    1.5
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            return _bounded(float(value) * unit)
        except ValueError:
            continue
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return _bounded(date.timestamp() - time.time())


def _bounded(seconds: float) -> float:
    return max(0.0, min(seconds, _LONGEST_RETRY_AFTER))
