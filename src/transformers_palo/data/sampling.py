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
"""In which order records are seen: batches of one modality and of similar length, the same for the same seed."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


# Records are sorted by length within this many global batches, shuffled before: enough for little padding, few enough
# for the order to stay random.
_BATCHES_SORTED_TOGETHER = 50


class ModalityLengthSampler(Sampler[int]):
    """Batches that hold only records with images or only records without, of similar length.

    A step then does no work for images that are not there, and little for padding. Text-only and image records of one step
    would leave some processes without gradients of the projector; here a whole step is of one modality, but for the last
    few records of each. The longest image records come first: what does not fit into memory fails at once.

    The original (`LengthGroupedSampler` of LLaVA's trainer) counts words; these lengths are tokens.

    Args:
        lengths: Tokens of every record, image tokens included.
        has_images: Whether every record has an image.
        batch_size: Records of one optimizer step, of all processes and accumulation steps together. The order depends on
            this product alone, so one process that accumulates twice sees what two processes see.
        seed: Of the shuffle.
        epoch_indices: Which records an epoch draws, by number of the epoch (`[0, len(lengths))`, repeats allowed); the same
            number of them every epoch. `None`: every record once.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        has_images: Sequence[bool] | np.ndarray,
        batch_size: int,
        seed: int,
        epoch_indices: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.has_images = np.asarray(has_images, dtype=bool)
        if len(self.lengths) != len(self.has_images):
            raise ValueError(
                f"Expected a length and a modality for every record, found {len(self.lengths)} lengths and "
                f"{len(self.has_images)} modalities."
            )
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.epoch_indices = epoch_indices
        self._size = len(self._drawn())

    def __len__(self) -> int:
        return self._size

    def set_epoch(self, epoch: int) -> None:
        """Draw and shuffle anew. Accelerate calls this at the start of every epoch, also when a run continues."""
        self.epoch = epoch

    def _drawn(self) -> np.ndarray:
        return np.arange(len(self.lengths)) if self.epoch_indices is None else self.epoch_indices(self.epoch)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        drawn = self._drawn()
        batches: list[np.ndarray] = []
        rest: list[np.ndarray] = []
        for modality in (True, False):
            own = rng.permutation(drawn[self.has_images[drawn] == modality])
            whole = len(own) - len(own) % self.batch_size
            batches += self._sorted_batches(own[:whole])
            rest.append(own[whole:])
        order = rng.permutation(len(batches))
        if batches:
            # The longest image batch (of text, where there are no images) goes first.
            order = np.concatenate([[0], order[order != 0]])
        for index in order:
            yield from batches[index].tolist()
        # What fills no batch of its own, images first.
        yield from np.concatenate(rest).tolist()

    def _sorted_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        batches: list[np.ndarray] = []
        step = self.batch_size * _BATCHES_SORTED_TOGETHER
        for start in range(0, len(indices), step):
            together = indices[start : start + step]
            together = together[np.argsort(-self.lengths[together], kind="stable")]
            batches += np.split(together, range(self.batch_size, len(together), self.batch_size))
        return sorted(batches, key=lambda batch: -int(self.lengths[batch].max()))
