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
"""Loss, token accuracy and supervised tokens by language, summed over processes and accumulation steps."""

from collections.abc import Sequence
from typing import Any

import torch


_OTHER = "other"


class LanguageMetrics:
    """Sums since the last log.

    Args:
        codes: Languages of the data; what else turns up, or has none, is counted as `other`.
    """

    def __init__(self, codes: Sequence[str]) -> None:
        self.codes = [*codes, _OTHER]
        self._index = {code: index for index, code in enumerate(self.codes)}
        self._sums: torch.Tensor | None = None

    def rows(self, output: Any, languages: Sequence[str], loss_type: str = "nll") -> torch.Tensor:
        """What one batch adds: `(batch, 5)` of language, loss, right tokens, entropy and tokens.

        Args:
            output: TRL's `FusedCausalLMOutput`: its fields are zero where nothing is supervised.
            languages: A code for each row.
            loss_type: TRL's: `nll`, or `dft`, which weighs a token's loss by its probability.
        """
        log_probs = output.log_probs.detach()
        loss = -log_probs * log_probs.exp() if loss_type == "dft" else -log_probs
        which = [self._index.get(language, len(self.codes) - 1) for language in languages]
        columns = (
            torch.tensor(which, device=log_probs.device),
            loss.sum(dim=1),
            output.is_top1.sum(dim=1),
            output.entropy.detach().sum(dim=1),
            output.label_mask.sum(dim=1),
        )
        return torch.stack([column.double() for column in columns], dim=1)

    def add(self, rows: torch.Tensor) -> None:
        """Add the rows of every process."""
        if self._sums is None:
            self._sums = torch.zeros(len(self.codes), 4, dtype=torch.float64, device=rows.device)
        self._sums.index_add_(0, rows[:, 0].long(), rows[:, 1:])

    def means(self) -> dict[str, float]:
        """`loss`, `mean_token_accuracy` and `entropy` over every supervised token; empty if there was none."""
        sums = [0.0] if self._sums is None else self._sums.sum(dim=0).tolist()
        if not (tokens := sums[-1]):
            return {}
        return {
            name: total / tokens for name, total in zip(("loss", "mean_token_accuracy", "entropy"), sums, strict=False)
        }

    def take(self) -> dict[str, float]:
        """`{"loss/hi", "token_accuracy/hi", "tokens/hi", ...}` for languages with supervised tokens; starts anew."""
        if self._sums is None:
            return {}
        logs = {}
        for code, (loss, right, _, tokens) in zip(self.codes, self._sums.tolist(), strict=True):
            if tokens:
                logs[f"loss/{code}"] = round(loss / tokens, 6)
                logs[f"token_accuracy/{code}"] = round(right / tokens, 6)
                logs[f"tokens/{code}"] = int(tokens)
        self._sums = None
        return logs
