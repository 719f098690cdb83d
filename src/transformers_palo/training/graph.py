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
"""What the forward pass needs so that every process computes the gradients that one process would."""

from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule

from ..models.palo.modeling_palo import PaloForConditionalGeneration


def keep_projector_in_graph(model: PaloForConditionalGeneration) -> None:
    """Make a batch of text alone give the projector gradients of zero rather than none.

    Where one process has text alone, the others wait for its share of the projector's gradients (DDP), or disagree about
    the size of what is exchanged (FSDP2). The zeros enter in front of the language model, where image features do: the
    backward pass then goes the same way on every process, which FSDP2 relies on.
    """
    palo = model.model
    text_alone = False

    def notice(module: Any, arguments: Any, kwargs: dict[str, Any]) -> None:
        nonlocal text_alone
        text_alone = module.training and kwargs.get("pixel_values") is None

    def add_nothing(module: Any, arguments: Any, kwargs: dict[str, Any]) -> Any:
        trained = [p for p in palo.multi_modal_projector.parameters() if p.requires_grad]
        if not text_alone or not trained:
            return None
        nothing = 0.0 * torch.stack([p.sum() for p in trained]).sum()
        embeds = kwargs["inputs_embeds"]
        return arguments, {**kwargs, "inputs_embeds": embeds + nothing.to(embeds.dtype)}

    palo.register_forward_pre_hook(notice, with_kwargs=True)
    palo.language_model.register_forward_pre_hook(add_nothing, with_kwargs=True)


def gather_sharded_head(model: PaloForConditionalGeneration) -> None:
    """Make TRL's loss see the whole head where Accelerate's FSDP2 shards it by itself.

    TRL's loss multiplies with `lm_head.weight` and does not call `lm_head`, so the hooks that FSDP2 gathers its weight by
    never run. TRL gathers it on its own then, but the gradient does not find the way back: it is that of one process alone,
    and no error tells. Gathered before the forward pass, it is reduced with the other gradients after the backward pass.
    """

    def gather(module: PaloForConditionalGeneration, arguments: Any) -> None:
        if isinstance(head := module.get_output_embeddings(), FSDPModule):
            head.unshard()

    def release(module: PaloForConditionalGeneration, arguments: Any, output: Any) -> None:
        # Where a backward pass follows, that does it.
        if isinstance(head := module.get_output_embeddings(), FSDPModule) and not torch.is_grad_enabled():
            head.reshard()

    model.register_forward_pre_hook(gather)
    model.register_forward_hook(release)
