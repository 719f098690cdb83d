"""Trains the tiny model for the tests of several processes: two of them, or one that accumulates twice.

python train_script.py OUTPUT NUM_PROCESSES
"""

import json
import sys
from pathlib import Path

import torch


# Run as a program by `accelerate launch`, which knows nothing of this folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from accelerate import PartialState
from datasets import Dataset
from safetensors.torch import save_file

from modeling_tests.conftest import GOLDEN, tiny_model
from modeling_tests.training_data import examples
from transformers_palo import PaloProcessor
from transformers_palo.training import PaloSFTConfig, PaloSFTTrainer, language_model_lora


# In batches of two: images, then text alone. Two processes get one of them each.
RECORDS = ("zh_multi", "ja_multi", "ar_text", "text_multi", "en_text", "ru_text", "hi_multi", "three_turns")
# Not to be divided evenly: two processes have to fill up with records that were there before.
EVAL_RECORDS = ("hi_multi", "ur_text", "en_multi")


def main(output: Path, num_processes: int, lora: bool) -> None:
    arguments = PaloSFTConfig(
        output_dir=str(output),
        per_device_train_batch_size=2,
        per_device_eval_batch_size=2,
        gradient_accumulation_steps=2 // num_processes,
        max_steps=4,
        # Cuts some records, which are counted.
        max_length=140,
        learning_rate=1e-3,
        projector_learning_rate=2e-4,
        lr_scheduler_type="constant",
        logging_steps=1,
        train_sampling_strategy="sequential",
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        dataloader_num_workers=0,
        disable_tqdm=True,
    )
    # The arguments have set up the process group.
    state = PartialState()
    assert state.num_processes == num_processes, (state.num_processes, num_processes)
    trainer = PaloSFTTrainer(
        tiny_model(),
        arguments,
        train_dataset=Dataset.from_list(examples(*RECORDS)),
        eval_dataset=Dataset.from_list(examples(*EVAL_RECORDS)),
        processing_class=PaloProcessor.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint"),
        peft_config=language_model_lora(r=2, lora_alpha=4, lora_dropout=0.0) if lora else None,
    )
    trainer.train()
    trainer.evaluate()
    if state.is_main_process:
        weights = {
            name: p.detach().contiguous() for name, p in trainer.palo_model.named_parameters() if p.requires_grad
        }
        save_file(weights, output / "weights.safetensors")
        (output / "history.json").write_text(json.dumps(trainer.state.log_history))
    state.wait_for_everyone()


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, processes = Path(sys.argv[1]), int(sys.argv[2])
    for name in ("full", "lora"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        main(folder / name, processes, lora=name == "lora")
    PartialState().destroy_process_group()
