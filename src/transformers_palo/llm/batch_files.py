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
"""The files of a batch: requests by id, and what came of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .chat import ChatRequest, Reply, parse_reply, whole_characters
from .errors import EndpointError, RetryableEndpointError, from_status


# As `ChatClient` may have renamed it for a model.
_MAX_TOKENS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class InputFile:
    """The requests of a batch, of which only the places in the file are in memory."""

    path: Path
    offsets: dict[str, int]

    def find(self, custom_id: str) -> ChatRequest | None:
        """The request of an id, if it is one of this file's."""
        if (offset := self.offsets.get(custom_id)) is None:
            return None
        with self.path.open("rb") as file:
            file.seek(offset)
            body = json.loads(file.readline())["body"]
        return ChatRequest(
            body["model"],
            tuple(body["messages"]),
            next(body[name] for name in _MAX_TOKENS if name in body),
            body.get("temperature", 0.0),
            body.get("response_format"),
        )


def read_requests(path: Path) -> InputFile:
    """An input file of a batch.

    Raises:
        OSError: It is not there.
        ValueError: It is not as it was written.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: the requests of a batch were here: put the file back, its answers belong to it."
        )
    offsets: dict[str, int] = {}
    with path.open("rb") as file:
        offset = 0
        for line in file:
            offsets[json.loads(line)["custom_id"]] = offset
            offset += len(line)
    requests = InputFile(path, offsets)
    for custom_id in list(offsets)[:1]:
        request = requests.find(custom_id)
        if request is None or request.key.hex() != custom_id:
            raise ValueError(f"{path}: expected the requests of a batch as they were sent, found others.")
    return requests


def read_results(
    path: Path, base_url: str, hide_key: Callable[[str], str]
) -> Iterator[tuple[str, Reply | EndpointError]]:
    """Id and result of every line of an output or error file; lines that are damaged are left out."""
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(hide_key(line.decode()))
                custom_id, result = str(entry["custom_id"]), _result(entry, base_url)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
            yield custom_id, result


def _result(entry: dict[str, Any], base_url: str) -> Reply | EndpointError:
    response = entry.get("response") or {}
    if response.get("status_code") == 200:
        try:
            return parse_reply(json.dumps(response.get("body"), ensure_ascii=False))
        except RetryableEndpointError as error:
            return error
    if status := response.get("status_code"):
        return _error(status, response.get("body"), base_url)
    said = entry.get("error") or {}
    code = str(said.get("code") or "no answer")
    return RetryableEndpointError(f"{base_url} did not answer: {said.get('message') or code}", code)


def _error(status: int, body: Any, base_url: str) -> EndpointError:
    """Sorted as the same answer to a request of its own is, in the same words."""
    said = body.get("error", body) if isinstance(body, dict) else None
    said = said if isinstance(said, dict) else {}
    message = f"Error code: {status} - {said['message']}" if said.get("message") else f"Error code: {status}"
    return from_status(status, whole_characters(message), said.get("code"), said.get("param"), {}, base_url)
