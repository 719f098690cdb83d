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
"""TRL's SFTTrainer, for PALO."""

import logging
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import DistributedType
from datasets import Dataset
from peft import PeftConfig, PeftModel
from torch import nn
from torch.utils.data import Sampler
from transformers import AutoProcessor, PreTrainedModel
from transformers.trainer_utils import rotate_checkpoints
from trl import SFTTrainer

from ..data.collation import PaloDataCollator
from ..data.lengths import has_images, num_tokens
from ..data.sampling import ModalityLengthSampler
from ..languages import LANGUAGES
from ..models.palo.modeling_palo import PaloForConditionalGeneration
from .arguments import PaloSFTConfig
from .checkpoints import mark_whole
from .counts import RecordCounts, name_events
from .graph import gather_sharded_head, keep_projector_in_graph
from .metrics import LanguageMetrics
from .parameters import (
    PROJECTOR,
    check_adapter,
    count_parameters,
    decay_parameter_names,
    freeze,
    keep_lora_in_language_model,
    split_off_projector,
)


logger = logging.getLogger(__name__)

_CHECKED_RECORDS = 8


class PaloSFTTrainer(SFTTrainer):
    """[`trl.SFTTrainer`] with PALO's data, freezing and optimizer groups.

    It differs in this:

    - the vision tower is frozen, the projector and the language model as `args` say; LoRA keeps to the language model, and
      the projector is trained in full beside it and saved with the adapter;
    - optimizer groups are {projector, rest} x {decay, no decay}, with the projector's own learning rate (the original's
      `create_optimizer`);
    - batches are of one modality and similar length ([`ModalityLengthSampler`]);
    - loss, token accuracy and supervised tokens are logged by language (`loss/hi`, `eval_loss/hi`, ...);
    - the loss of an evaluation is that of all its supervised tokens, whatever batches they are in;
    - a picture that cannot be opened and text beyond `max_length` do not end the run: they are counted, over all processes
      and interruptions (`records/truncated`, ...), and named in `records-not-whole-0.jsonl` of the output folder. Only where
      they are more than `max_reject_share` of the records, it fails;
    - a checkpoint says when it is whole.

    Args:
        model: A PALO model, or its name or folder.
        args: With PALO's fields.
        train_dataset: `{"messages", "images", "language"}`, as `palo data prepare` writes them.
        eval_dataset: The same.
        processing_class: Default: the model's own processor.
        peft_config: For example [`language_model_lora`].
        data_collator: Default: [`PaloDataCollator`] with the settings of `args`.
        chat_template: Jinja text in place of the processor's own, for training alone.
        epoch_indices: Which records an epoch sees, by its number, where a mixture draws them.
        kwargs: Of [`trl.SFTTrainer`].

    Raises:
        ValueError: Nothing would be trained: no parameter, no record, or no supervised token.
    """

    _tag_names = ["palo", "trl", "sft"]

    def __init__(
        self,
        model: str | PreTrainedModel | PeftModel,
        args: PaloSFTConfig,
        train_dataset: Dataset,
        eval_dataset: Any = None,
        processing_class: Any = None,
        peft_config: PeftConfig | None = None,
        data_collator: Any = None,
        chat_template: str | None = None,
        epoch_indices: Callable[[int], np.ndarray] | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(args, PaloSFTConfig):
            raise TypeError(
                f"args: expected a PaloSFTConfig (trl.SFTConfig with PALO's fields), got {type(args).__name__}."
            )
        if next(iter(train_dataset), None) is None:
            raise ValueError("Nothing would be trained: the data set holds no records.")
        name = model if isinstance(model, str) else model.config.name_or_path
        processing_class = processing_class or AutoProcessor.from_pretrained(name)
        if isinstance(model, str):
            load_kwargs = dict(args.model_init_kwargs or {})
            args.model_init_kwargs = None
            if quantization_config is not None:
                load_kwargs["quantization_config"] = quantization_config
            model = PaloForConditionalGeneration.from_pretrained(model, **load_kwargs)
        if isinstance(model, PeftModel):
            check_adapter(model)
        else:
            freeze(model, args.train_projector, args.train_language_model and peft_config is None)
        if peft_config is not None:
            peft_config = keep_lora_in_language_model(peft_config, args.train_projector)
        self._epoch_indices = epoch_indices
        codes = _languages_of(
            train_dataset, *(eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset])
        )
        self._languages = {mode: LanguageMetrics(codes) for mode in ("train", "eval")}
        self._kept_output: Any = None

        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            peft_config=peft_config,
            data_collator=data_collator
            or PaloDataCollator(
                processing_class,
                max_length=args.max_length,
                assistant_only_loss=args.assistant_only_loss,
                chat_template=chat_template,
                pad_to_multiple_of=args.pad_to_multiple_of if isinstance(args.pad_to_multiple_of, int) else None,
            ),
            **kwargs,
        )
        if peft_config is not None:
            check_adapter(self.model)
        _align_padding(self.model, processing_class)
        self._train_in_full_precision()
        self._check_something_is_trained()
        palo = self.palo_model
        palo.register_forward_hook(self._keep_output)
        self.add_callback(RecordCounts())
        keep_projector_in_graph(palo)
        gather_sharded_head(palo)

    @property
    def palo_model(self) -> PaloForConditionalGeneration:
        """The model without PEFT's wrapping."""
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        return model.get_base_model() if isinstance(model, PeftModel) else model

    @property
    def is_sharded(self) -> bool:
        """Whether parameters may be spread over processes."""
        return self.accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP)

    # ---- what is trained

    def _train_in_full_precision(self) -> None:
        """What is trained is float32 under mixed precision: steps of a small learning rate are lost in bfloat16.

        DeepSpeed keeps a float32 copy by itself, and FSDP2 wants one precision for all. For QLoRA, TRL has made what is
        trained bfloat16; the projector, which is no adapter, gets its precision back.
        """
        quantised = getattr(self.palo_model, "is_quantized", False)
        if self.args.bf16 or self.args.fp16:
            if self.is_sharded:
                return
            dtype = torch.float32
        elif quantised:
            dtype = next(self.palo_model.model.vision_tower.parameters()).dtype
        else:
            return
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and (not quantised or PROJECTOR in name.split(".")):
                parameter.data = parameter.data.to(dtype)

    def _check_something_is_trained(self) -> None:
        sizes = count_parameters(self.model)
        for size in sizes:
            logger.info("%s: %s parameters, %s trained", size.part, f"{size.total:,}", f"{size.trainable:,}")
        if not any(size.trainable for size in sizes):
            raise ValueError(
                "Nothing would be trained: every parameter is frozen. Set train_projector or train_language_model, or pass "
                "a peft_config."
            )
        examples = list(islice(self.train_dataset, _CHECKED_RECORDS))
        batch = self.data_collator(examples)
        if not (batch["labels"][:, 1:] != -100).any():
            reasons = "; ".join(f"{e['id']}: {e['reason']} ({e['detail']})" for e in batch.get("events", ())[:2])
            raise ValueError(
                f"Nothing would be trained: the first {len(examples)} records hold no supervised token"
                f"{f' ({reasons})' if reasons else ''}. Check that they have assistant messages, that max_length "
                f"({self.args.max_length}) reaches them, and that their images are there."
            )

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        return decay_parameter_names(model)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Transformers' optimizer, its groups split into the projector's and the rest."""
        if self.optimizer is not None:
            return self.optimizer
        optimizer = super().create_optimizer(model)
        rate = self.args.projector_learning_rate
        optimizer.param_groups[:] = split_off_projector(
            optimizer.param_groups,
            (p for name, p in (model or self.model).named_parameters() if PROJECTOR in name.split(".")),
            self.args.learning_rate if rate is None else rate,
        )
        return optimizer

    # ---- batches

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        lengths_unknown = not isinstance(dataset, Dataset) or dataset.format["type"] == "custom"
        if self.args.train_sampling_strategy != "group_by_length" or lengths_unknown:
            if self._epoch_indices is not None:
                raise ValueError(
                    "A mixture draws records by itself: it needs train_sampling_strategy=group_by_length."
                )
            return super()._get_train_sampler(train_dataset)
        column = self.args.length_column_name
        with self.args.main_process_first(desc="counting tokens"):
            lengths = num_tokens(dataset, self.processing_class, column, self.args.dataset_num_proc)
        return ModalityLengthSampler(
            lengths,
            has_images(dataset),
            batch_size=self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            seed=self.args.seed if self.args.data_seed is None else self.args.data_seed,
            epoch_indices=self._epoch_indices,
        )

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        # In order: Transformers would sort by a length column that a data set for evaluation need not have.
        return torch.utils.data.SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    @property
    def record_counts(self) -> RecordCounts:
        """What became of the records."""
        # Transformers may have put one with the state of a checkpoint in the place of the first.
        return next(callback for callback in self.callback_handler.callbacks if isinstance(callback, RecordCounts))

    # ---- loss and metrics

    def _keep_output(self, module: nn.Module, arguments: Any, output: Any) -> None:
        self._kept_output = output if hasattr(output, "label_mask") else None

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        mode = "train" if self.model.training else "eval"
        inputs = dict(inputs)
        if "events" in inputs:
            self.record_counts.add(mode, inputs)
            name_events(self.args, self.state.global_step, mode, inputs.pop("events"))
        languages = inputs.pop("languages", None)
        result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if languages is not None and self._kept_output is not None:
            metrics = self._languages[mode]
            rows = metrics.rows(self._kept_output, languages, self.args.loss_type)
            # An evaluation's last batch is filled up with records that were there before; in training they are trained on.
            gather = self.accelerator.gather if mode == "train" else self.accelerator.gather_for_metrics
            metrics.add(gather(rows))
        self._kept_output = None
        return result

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """Transformers' loop, but the loss is that of all supervised tokens, not the mean over batches of any number of them.

        A batch of which nothing is supervised would count as a loss of 0 there.
        """
        languages, counts = self._languages["eval"], self.record_counts
        languages.take()
        counts.forget("eval")
        output = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix=metric_key_prefix
        )
        seen = counts.gather("eval", self.accelerator)
        metrics: dict[str, float] = {f"{metric_key_prefix}_records/{name}": count for name, count in seen.items()}
        means = languages.means()
        if means and self.label_smoother is None and self.compute_loss_func is None:
            metrics[f"{metric_key_prefix}_loss"] = means["loss"]
        elif not means:
            output.metrics.pop(f"{metric_key_prefix}_loss", None)
            logger.warning("Nothing in the records for evaluation is supervised: they say nothing about the loss.")
        self._weigh_by_tokens("eval")
        metrics |= {f"{metric_key_prefix}_{name}": value for name, value in languages.take().items()}
        output.metrics.update(metrics)
        return output

    def _weigh_by_tokens(self, mode: str) -> None:
        """TRL logs the means over batches of two metrics, a batch of any size and of nothing counting alike."""
        for name, value in self._languages[mode].means().items():
            if name in self._metrics[mode]:
                self._metrics[mode][name] = [value]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            self._weigh_by_tokens("train")
            logs.update(self._languages["train"].take())
            counts = self.record_counts.gather("train", self.accelerator)
            logs.update({f"records/{name}": count for name, count in counts.items()})
        super().log(logs, start_time)

    # ---- checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.record_counts.gather("train", self.accelerator)
        # Older ones may go only when this one is whole.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            run_dir = self._get_output_dir(trial=trial)
            mark_whole(Path(run_dir) / f"checkpoint-{self.state.global_step}")
            rotate_checkpoints(run_dir, limit, self.state.best_model_checkpoint, use_mtime=False)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None beside a checkpoint: TRL's would not say what this model is. The finished model gets one."""


def _languages_of(*datasets: Any) -> list[str]:
    """Every language that turns up, the same list on every process."""
    codes = {language.code for language in LANGUAGES}
    for dataset in datasets:
        if isinstance(dataset, Dataset) and "language" in dataset.column_names:
            codes |= {code for code in dataset.unique("language") if code}
    return sorted(codes)


def _align_padding(model: Any, processor: Any) -> None:
    """TRL does this only for a collator of its own."""
    pad_token_id = processor.tokenizer.pad_token_id
    model.config.get_text_config().pad_token_id = pad_token_id
    model.generation_config.pad_token_id = pad_token_id
