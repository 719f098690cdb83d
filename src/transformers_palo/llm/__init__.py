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
"""Asking language models behind any OpenAI-compatible endpoint."""

from .batch import BatchClient, UnderWayError, open_batches
from .chat import ChatRequest, Reply
from .client import ChatClient, Endpoint
from .errors import EndpointError, FatalEndpointError, RefusedRequestError, RetryableEndpointError, UnansweredError
from .journal import Journal, JournalError
from .usage import Prices, ProgressLine, Usage


__all__ = [
    "BatchClient",
    "ChatClient",
    "ChatRequest",
    "Endpoint",
    "EndpointError",
    "FatalEndpointError",
    "Journal",
    "JournalError",
    "Prices",
    "ProgressLine",
    "RefusedRequestError",
    "Reply",
    "RetryableEndpointError",
    "UnansweredError",
    "UnderWayError",
    "Usage",
    "open_batches",
]
