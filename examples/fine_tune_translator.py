"""Fine-tune a local translator with LoRA on what reviewers corrected, then serve it and translate with it by name.

palo translate export-finetune run --format trl --out tuning.jsonl
python examples/fine_tune_translator.py --model Qwen/Qwen3-8B --train tuning.jsonl --output-dir translator
vllm serve Qwen/Qwen3-8B --enable-lora --lora-modules translator=./translator
palo translate run ... --base-url http://localhost:8000/v1 --model translator --output-dir run-tuned
palo translate compare run run-tuned
"""

import argparse
from pathlib import Path

import torch
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Any instruction-tuned causal model with a chat template.")
    parser.add_argument("--train", type=Path, required=True, help="What 'export-finetune --format trl' wrote.")
    parser.add_argument("--output-dir", required=True)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--gradient-accumulation-steps", type=int, default=4)
    args = parser.parse_args()

    validation = args.train.with_name(f"{args.train.stem}.validation{args.train.suffix}")
    dataset = load_dataset("json", data_files={"train": str(args.train), "validation": str(validation)})
    trainer = SFTTrainer(
        model=args.model,
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        args=SFTConfig(
            output_dir=args.output_dir,
            num_train_epochs=args.epochs,
            learning_rate=args.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=20,
            per_device_train_batch_size=args.batch_size,
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            gradient_checkpointing=True,
            completion_only_loss=True,  # the prompt is the pipeline's, not to be learnt
            max_length=4096,
            bf16=torch.cuda.is_available(),  # TRL's default asks for a GPU
            eval_strategy="epoch",
            logging_steps=10,
            save_strategy="no",
            report_to="none",
        ),
        peft_config=LoraConfig(r=32, lora_alpha=64, lora_dropout=0.05, target_modules="all-linear"),
    )
    trainer.train()
    trainer.save_model()
    print({name: round(value, 3) for name, value in trainer.evaluate().items() if name.startswith("eval_")})


if __name__ == "__main__":
    main()
