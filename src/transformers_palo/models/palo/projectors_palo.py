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
"""The projectors of PALO: what turns patch features into language model embeddings."""

import math

import torch
from torch import nn
from transformers.activations import ACT2FN

from .configuration_palo import PaloConfig


class PaloMlpProjector(nn.Module):
    """N linear layers with an activation between them (`mlpNx_gelu` of the original; `linear` is N = 1).

    With two layers its parameters carry the names of Transformers' `LlavaMultiModalProjector`, so that state dicts of
    LLaVA-1.5 and PALO exchange as they are.

    Shapes: `(num_images, num_features, vision_width)` -> `(num_images, num_features, text_width)`.
    """

    def __init__(self, config: PaloConfig, num_layers: int) -> None:
        super().__init__()
        text_width = config.text_config.hidden_size
        self.num_layers = num_layers
        self.act = ACT2FN[config.projector_hidden_act]
        for index in range(1, num_layers + 1):
            in_width = config.vision_feature_width if index == 1 else text_width
            self.add_module(f"linear_{index}", nn.Linear(in_width, text_width, bias=config.multimodal_projector_bias))

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        hidden_states = self.get_submodule("linear_1")(image_features)
        for index in range(2, self.num_layers + 1):
            hidden_states = self.get_submodule(f"linear_{index}")(self.act(hidden_states))
        return hidden_states


class PaloIdentityProjector(nn.Module):
    """Features pass as they are; the tower is as wide as the language model."""

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        return image_features


def squeeze_width(width: int, divisor: int = 8) -> int:
    """Channels inside the LDP's squeeze-excitation: a quarter of `width`, rounded to a multiple of 8.

    Never below 90 % of the quarter (the rule of MobileNetV3, which MobileVLM took over).
    """
    quarter = width / 4
    rounded = max(divisor, int(quarter + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * quarter else rounded


class PaloSqueezeExcitation(nn.Module):
    """Channel attention of MobileNetV3: pool, squeeze, ReLU, excite, hard sigmoid, multiply."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(width, squeeze_width(width), kernel_size=1)
        self.activation = nn.ReLU()
        self.fc2 = nn.Conv2d(squeeze_width(width), width, kernel_size=1)
        self.gate = nn.Hardsigmoid()

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        scale = self.fc2(self.activation(self.fc1(self.pool(hidden_states))))
        return hidden_states * self.gate(scale)


class PaloLayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a `(batch, channels, height, width)` tensor.

    The name matters: Transformers initialises what has `LayerNorm` in its class's name.
    """

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden_states.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PaloLdpBlock(nn.Module):
    """An inverted-residual block without expansion: depthwise 3x3, squeeze-excitation, pointwise 1x1.

    With stride 1 the input is added to the result; with stride 2 both sides of the grid halve, rounding up.
    """

    # The released weights need the norms' eps of 1e-5: at 1e-6 the features move by 1e-4.
    norm_eps = 1e-5

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1
        self.depthwise = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, groups=width, bias=False)
        self.depthwise_norm = PaloLayerNorm2d(width, eps=self.norm_eps)
        self.activation = nn.Hardswish()
        self.squeeze_excitation = PaloSqueezeExcitation(width)
        self.pointwise = nn.Conv2d(width, width, kernel_size=1, bias=False)
        self.pointwise_norm = PaloLayerNorm2d(width, eps=self.norm_eps)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        residual = hidden_states
        hidden_states = self.activation(self.depthwise_norm(self.depthwise(hidden_states)))
        hidden_states = self.squeeze_excitation(hidden_states)
        hidden_states = self.pointwise_norm(self.pointwise(hidden_states))
        return residual + hidden_states if self.residual else hidden_states


class PaloLdpProjector(nn.Module):
    """MobileVLM's Lightweight Downsample Projector (`ldpnet` of the original): a quarter of the tokens.

    Shapes: `(num_images, side * side, vision_width)` -> `(num_images, ceil(side / 2) ** 2, text_width)`; the features
    of an image are its grid of patches, row by row.
    """

    def __init__(self, config: PaloConfig) -> None:
        super().__init__()
        width = config.text_config.hidden_size
        self.linear_1 = nn.Linear(config.vision_feature_width, width)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(width, width)
        self.blocks = nn.ModuleList([PaloLdpBlock(width, stride=1), PaloLdpBlock(width, stride=2)])

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        num_images, num_features, _ = image_features.shape
        side = math.isqrt(num_features)
        if side * side != num_features:
            raise ValueError(f"The LDP projector needs a square grid of features, got {num_features} per image.")
        hidden_states = self.linear_2(self.act(self.linear_1(image_features)))
        # A view in channels-last memory: the convolutions take it as it is, and the norms find channels contiguous.
        hidden_states = hidden_states.view(num_images, side, side, -1).permute(0, 3, 1, 2)
        for block in self.blocks:
            hidden_states = block(hidden_states)
        return hidden_states.flatten(2).transpose(1, 2)


def build_projector(config: PaloConfig) -> nn.Module:
    """The projector that `config.projector_type` names."""
    return PROJECTORS[config.projector_type](config)


PROJECTORS = {
    "mlp": lambda config: PaloMlpProjector(config, num_layers=config.projector_num_layers),
    "linear": lambda config: PaloMlpProjector(config, num_layers=1),
    "ldp": PaloLdpProjector,
    "identity": lambda config: PaloIdentityProjector(),
}
