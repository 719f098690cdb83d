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
"""Fields of TRL's and Transformers' classes that a recipe may not set, and what to do instead.

The recipe's classes have some two hundred fields that come with them. Most do what they say. These would have no effect, or
would quietly take away what `palo train` promises.
"""

from dataclasses import MISSING, Field, fields
from typing import Any

from transformers.trainer_pt_utils import AcceleratorConfig


_PACKING = "records with pictures are not packed: batches are of similar length as they are"
_PREPARED = "has no effect on prepared data (palo data prepare)"
_PUBLISH = "publish the finished model with palo publish, which checks it first"
_END_OF_TURN = "PALO's turns end with </s>, in the prompt as in the labels"
_KERNELS = "has no effect on PALO's classes"
_COLLATION = "the batches are of PALO's own collator, which every process fills by itself"

REFUSED = {
    # no effect
    "dataset_text_field": _PREPARED,
    "completion_only_loss": f"{_PREPARED}; assistant_only_loss says what is supervised",
    "shuffle_dataset": f"{_PREPARED}: every epoch is shuffled; train_sampling_strategy says how",
    "lora_target_parameters": "a Llama has linear layers alone: name them in lora_target_modules",
    "lora_task_type": "PALO is a causal language model",
    "use_liger_kernel": _KERNELS,
    "liger_kernel_config": _KERNELS,
    "do_predict": "palo train predicts nothing; eval_strategy and eval_records say what is looked at",
    "label_names": "the labels are of PALO's own collator",
    "resume_from_checkpoint": (
        "the same command goes on from the last whole checkpoint of output_dir by itself; to begin with another model, set "
        "model_name_or_path"
    ),
    # changes of the prompt or the labels
    "chat_template_path": "choose template: chat or caption",
    "eos_token": _END_OF_TURN,
    "pad_token": _END_OF_TURN,
    "label_smoothing_factor": "TRL is about to remove it, and computes everything twice for it",
    "truncation_mode": "image tokens stand at the beginning: only keep_start leaves them whole",
    "packing": _PACKING,
    "padding_free": _PACKING,
    "packing_strategy": _PACKING,
    "eval_packing": _PACKING,
    "remove_unused_columns": "the language of a record is a column that metrics need",
    "dataset_kwargs": _PREPARED,
    # a run could not go on, or not to the same weights
    "save_only_model": (
        "an interrupted run could not go on without the optimizer's state; save_strategy: 'no' saves no checkpoints at all"
    ),
    "enable_jit_checkpoint": "it saves in the middle of a step; SIGTERM loses what came after the last of save_steps, no more",
    "ignore_data_skip": "an interrupted run would see the same records again",
    "dataloader_in_order": "an interrupted run would not go on with the right records",
    "auto_find_batch_size": "it changes the global batch: set per_device_train_batch_size and gradient_accumulation_steps",
    # the weights that are saved would be rounded
    "bf16_full_eval": "it would round the trained weights before they are saved; bf16 is used in evaluation anyway",
    "fp16_full_eval": "it would round the trained weights before they are saved; fp16 is used in evaluation anyway",
    # batches and processes
    "accelerator_config": _COLLATION,
    "parallelism_config": "use one of examples/accelerate: DDP, FSDP2, ZeRO-2 or ZeRO-3",
    # publishing
    "push_to_hub": _PUBLISH,
    "hub_model_id": _PUBLISH,
    "hub_strategy": _PUBLISH,
    "hub_token": _PUBLISH,
    "hub_private_repo": _PUBLISH,
    "hub_always_push": _PUBLISH,
    "hub_revision": _PUBLISH,
}

# What the classes themselves make of a field that is not set.
_FILLED_IN = {"accelerator_config": (AcceleratorConfig(),)}


def check_fields(*groups: Any) -> None:
    """Refuse fields that [`REFUSED`] names, where they have another value than the default.

    Args:
        groups: Instances of the recipe's classes.

    Raises:
        ValueError: One is set.
    """
    for group in groups:
        for field in fields(group):
            value = getattr(group, field.name)
            if field.name in REFUSED and value not in _ordinary_values(field):
                raise ValueError(f"{field.name}: {value!r} is not supported here: {REFUSED[field.name]}.")


def _ordinary_values(field: Field) -> list[Any]:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return [default, *_FILLED_IN.get(field.name, ())]
