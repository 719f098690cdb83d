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
    """

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class UnansweredError(EndpointError):
    """A request was given up after its last retry, while others were answered. Ask again later."""


_RETRYABLE_STATUS = {408, 409, 425, 429}
_WHAT_TO_DO = {
    401: "set OPENAI_API_KEY to a key that is valid there",
    402: "top up the account, then run again",
    403: "use a key that may use this model, or another model",
    404: "check --model and --base-url, which usually ends in /v1",
}
_NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached"}
_NO_MODEL = {"model_not_found", "model_not_available"}


def from_openai(error: "openai.OpenAIError", base_url: str) -> EndpointError:
    """Sort an error of the `openai` package into one of the classes above."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return RetryableEndpointError(f"{base_url} took too long to answer", "timeout")
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, base_url)
    if isinstance(error, openai.APIConnectionError):
        cause = str(error.__cause__ or error) or type(error.__cause__).__name__
        # What breaks while a connection is opened: a wrong address, or a server that is not up.
        connected = type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout")
        return RetryableEndpointError(f"no connection to {base_url}: {cause}", "connection", connected=connected)
    return RetryableEndpointError(f"{base_url} sent what is no reply: {error}", "malformed reply")


def _from_status(error: "openai.APIStatusError", base_url: str) -> EndpointError:
    return from_status(error.status_code, error.message, error.code, error.param, error.response.headers, base_url)


def from_status(
    status: int, message: str, code: str | None, param: str | None, headers: Mapping[str, str], base_url: str
) -> EndpointError:
    """Sort an answer that is none, be it to a request or to one of a batch."""
    said = f"{base_url} answered {status}: {message}"
    if code in _NO_MONEY:
        return FatalEndpointError(f"{said} ({_WHAT_TO_DO[402]})")
    if status in _WHAT_TO_DO or code in _NO_MODEL:
        return FatalEndpointError(f"{said} ({_WHAT_TO_DO.get(status, _WHAT_TO_DO[404])})")
    if status in _RETRYABLE_STATUS or status >= 500:
        return RetryableEndpointError(said, str(status), retry_after(headers))
    unsupported = str(code).startswith("unsupported")
    return RefusedRequestError(said, param if unsupported else None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (RFC 9110: seconds, or a date), `None` if neither is there.

    >>> retry_after({"retry-after": "1.5"})
    1.5
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            return max(0.0, float(value) * unit)
        except ValueError:
            continue
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())
