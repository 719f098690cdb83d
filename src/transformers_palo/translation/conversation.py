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
"""One record into one language: turn after turn, checked, mended, asked again."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..llm import ChatClient, RefusedRequestError
from .checks import Finding, check_translation
from .damage import check_characters, shortened
from .flags import find_flags
from .masking import Masked, mask
from .prompts import MORE_TOKENS, Attempt, Prompter, Turn, parse_conversation
from .repairs import repair


@dataclass
class Outcome:
    """What became of a record in one language.

    Attributes:
        translation: The translated turns. If the record was rejected: up to the turn that did not pass, this one last.
        reasons: Why it was rejected, each with the number of the turn; empty if it was accepted.
        asked_again: Reasons for which turns were asked again, and how often.
        repairs: Names of repairs, and how many turns they changed.
        flags: Names of flags for a reviewer, and how many.
    """

    translation: list[str] = field(default_factory=list)
    reasons: list[dict[str, Any]] = field(default_factory=list)
    asked_again: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)

    @property
    def accepted(self) -> bool:
        """Whether every turn passed its checks."""
        return not self.reasons

    def reject(self, turn: int, findings: Sequence[Finding]) -> None:
        """Note why a turn (counted from 1; 0 for the whole record) does not pass."""
        self.reasons += [{"turn": turn, "reason": finding.reason, "detail": finding.detail} for finding in findings]


@dataclass(frozen=True)
class Translator:
    """Translates records into one language.

    Attributes:
        client: Asks the model.
        prompter: Makes the requests.
        max_attempts: How often one turn is asked for before the record is rejected.
        whole_conversations: Whether a record is asked for in one structured request at first.
    """

    client: ChatClient
    prompter: Prompter
    max_attempts: int = 3
    whole_conversations: bool = False

    async def translate(self, turns: Sequence[Turn]) -> Outcome:
        """Translate the turns of a record.

        Raises:
            EndpointError: The endpoint did not answer.
            JournalError: An answer could not be kept.
        """
        outcome = Outcome()
        drafts: Sequence[str | None] = [None] * len(turns)
        if self.whole_conversations:
            drafts = await self._draft(turns, outcome) or drafts
        earlier: list[Turn] = []
        for number, (turn, draft) in enumerate(zip(turns, drafts, strict=True), start=1):
            text, findings = await self._translate_turn(turn, earlier, draft, outcome)
            outcome.translation.append(text)
            if findings:
                outcome.reject(number, findings)
                break
            earlier.append(Turn(turn.role, turn.english, text))
            flags = find_flags(turn.english, text, self.prompter.target, self.prompter.glossary)
            outcome.flags.update(flag.name for flag in flags)
        return outcome

    async def _draft(self, turns: Sequence[Turn], outcome: Outcome) -> list[str] | None:
        """All turns in one request; where that brings no list of as many, they are asked for one by one."""
        masked = [Turn(turn.role, mask(turn.english).text) for turn in turns]
        try:
            reply = await self.client.ask(self.prompter.conversation_request(masked))
        except RefusedRequestError:  # an endpoint without structured outputs
            return None
        texts = parse_conversation(reply.text)
        if texts is None or len(texts) != len(turns):
            outcome.asked_again["turn_count"] += 1
            return None
        return texts

    async def _translate_turn(
        self, turn: Turn, earlier: Sequence[Turn], draft: str | None, outcome: Outcome
    ) -> tuple[str, list[Finding]]:
        masked = mask(turn.english)
        if not masked.has_words:
            return turn.english, []
        to_send, rejected, room = Turn(turn.role, masked.text), None, 1
        for attempt in range(self.max_attempts):
            finish_reason = "stop"
            if attempt or draft is None:
                try:
                    reply = await self.client.ask(self.prompter.turn_request(to_send, earlier, rejected, room))
                except RefusedRequestError as error:
                    return "", [Finding("request_refused", str(error))]
                draft, finish_reason = reply.text, reply.finish_reason
            draft, findings = shortened(draft, turn.english)
            text, repairs = (draft, ()) if findings else self._finish(draft, masked)
            findings = findings or check_characters(turn.english, text)
            findings = findings or check_translation(turn.english, text, self.prompter.target, finish_reason)
            if not findings:
                outcome.repairs.update(repairs)
                return text, []
            if attempt + 1 < self.max_attempts:
                outcome.asked_again.update(finding.reason for finding in findings)
            rejected = Attempt(draft, findings)
            room *= MORE_TOKENS if finish_reason == "length" else 1
        return text, findings

    def _finish(self, draft: str, masked: Masked) -> tuple[str, tuple[str, ...]]:
        return repair(masked.restore(unwrap(draft, masked.text)), self.prompter.target)


_WRAPPINGS = (
    re.compile(r"\A<<<TEXT \w+>>>\s*(.*?)\s*<<<END \w+>>>\Z", flags=re.DOTALL),
    re.compile(r"\A```\w*\n(.*)\n```\Z", flags=re.DOTALL),
    re.compile(r"""\A["“«「]([^"“”«»「」]*)["”»」]\Z""", flags=re.DOTALL),
)


def unwrap(reply: str, source: str) -> str:
    """A reply without markers, a fence or quotation marks that stand round all of it but not round its source.

    >>> unwrap('"Bonjour."', "Hello.")
    'Bonjour.'
    """
    reply = reply.strip()
    for wrapping in _WRAPPINGS:
        if (match := wrapping.match(reply)) and not wrapping.match(source.strip()):
            reply = match[1].strip()
    return reply
