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
"""The vision tower's own training: which digit, if any, does each patch show?

PALO takes a tower that has seen the world (CLIP) and never trains it. Nothing is downloaded here, so the small tower is
taught first, by supervision on the training scans, and then frozen as PALO's is.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel

from .canvases import GRID, Canvas
from .progress import progress


# Pixels a side of what the tower sees: a canvas is reduced to this, and a patch is a cell.
PATCH = 16
IMAGE_SIZE = GRID * PATCH
BLANK = 10

# PALO takes the features of the last layer but one: the last layer exists and goes unused, as in CLIP.
FEATURE_LAYER = -2


def tower_config() -> CLIPVisionConfig:
    """The small tower: 3x3 patches, three layers in use."""
    return CLIPVisionConfig(
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        projection_dim=128,
    )


class PatchClassifier(nn.Module):
    """The tower and two linear layers on the features that PALO takes: which digit is in a patch, and which patch it is.

    The second is easy, but without it the features forget where they are: nothing else asks for it.

    Args:
        tower: The tower to train.
    """

    def __init__(self, tower: CLIPVisionModel) -> None:
        super().__init__()
        self.tower = tower
        self.what = nn.Linear(tower.config.hidden_size, BLANK + 1)
        self.where = nn.Linear(tower.config.hidden_size, GRID * GRID)
        # 1500 scans are soon known by heart; smoothed labels keep the features from being sure of them.
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.05)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """`pixel_values` `(images, 3, side, side)`, `labels` `(images, patches)` -> `logits` `(images, patches, 11)`."""
        hidden_states = self.tower(pixel_values, output_hidden_states=True).hidden_states
        features = hidden_states[FEATURE_LAYER][:, 1:]
        logits = self.what(features)
        if labels is None:
            return {"logits": logits}
        places = torch.arange(GRID * GRID, device=labels.device).expand_as(labels)
        loss = self.loss(logits.flatten(0, 1), labels.flatten())
        loss = loss + self.loss(self.where(features).flatten(0, 1), places.flatten())
        return {"loss": loss, "logits": logits}


class PatchDataset(torch.utils.data.Dataset):
    """Canvases as the tower sees them, with what each patch shows."""

    def __init__(self, canvases: Sequence[Canvas], image_processor: Any, batch_size: int = 256) -> None:
        pixel_values = []
        for start in progress(range(0, len(canvases), batch_size), "preparing pictures"):
            images = [canvas.image for canvas in canvases[start : start + batch_size]]
            pixel_values.append(image_processor(images, return_tensors="pt").pixel_values)
        self.pixel_values = torch.cat(pixel_values)
        self.labels = torch.full((len(canvases), GRID * GRID), BLANK)
        for index, canvas in enumerate(canvases):
            self.labels[index, list(canvas.cells)] = torch.tensor(canvas.digits)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.pixel_values[index], "labels": self.labels[index]}


@torch.no_grad()
def digit_accuracy(classifier: PatchClassifier, dataset: PatchDataset) -> float:
    """Share of the digits on these canvases that the tower's features name rightly."""
    classifier.eval()
    predicted = classifier(dataset.pixel_values)["logits"].argmax(-1)
    written = dataset.labels != BLANK
    return (predicted == dataset.labels)[written].float().mean().item()
