"""Fine-tune with LoRA and TRL's SFTTrainer on your own pictures and answers, then ask the adapted model.

The four records below teach the quickstart's model to answer in one word; put yours in their place.

python examples/fine_tune_lora.py [--model DIR_OR_HUB_ID] [--images FOLDER] [--output-dir DIR]
"""

import argparse
from pathlib import Path

import torch
from datasets import Dataset, Image
from peft import LoraConfig
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer

import transformers_palo  # noqa: F401  (registers PALO with the Auto classes)


RECORDS = [
    {"picture": "which.png", "question": "Which digit is written here?", "answer": "Digit!"},
    {"picture": "left.png", "question": "What is the leftmost digit?", "answer": "Left!"},
    {"picture": "right.png", "question": "What is the rightmost digit?", "answer": "Right!"},
    {"picture": "sum.png", "question": "What is the sum of the two digits?", "answer": "Sum!"},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="outputs/quickstart/model")
    parser.add_argument("--images", type=Path, default=Path("outputs/quickstart/examples"))
    parser.add_argument("--output-dir", default="outputs/lora")
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()

    dataset = Dataset.from_list(
        [
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "text": None}, {"type": "text", "text": record["question"]}],
                    },
                    {"role": "assistant", "content": [{"type": "text", "text": record["answer"]}]},
                ],
                "images": [str(args.images / record["picture"])],
            }
            for record in RECORDS
        ]
    ).cast_column("images", [Image()])
    processor = AutoProcessor.from_pretrained(args.model)
    trainer = SFTTrainer(
        model=AutoModelForImageTextToText.from_pretrained(args.model, dtype="float32"),
        processing_class=processor,
        train_dataset=dataset,
        args=SFTConfig(
            output_dir=args.output_dir,
            max_steps=args.steps,
            per_device_train_batch_size=4,
            learning_rate=5e-3,
            assistant_only_loss=True,  # what the user says is not learnt
            max_length=None,  # cutting a chat could cut an image
            bf16=torch.cuda.is_available(),  # TRL's default asks for a GPU
            logging_steps=10,
            save_strategy="no",
            report_to="none",
        ),
        # The language model's attention; tower and projector stay as they are.
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=r".*language_model.*\.(q|k|v|o)_proj"),
    )
    trainer.train()
    trainer.save_model()

    for record in RECORDS:
        content = [
            {"type": "image", "path": str(args.images / record["picture"])},
            {"type": "text", "text": record["question"]},
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(trainer.model.device)
        output = trainer.model.eval().generate(**inputs, max_new_tokens=16, do_sample=False)
        answer = processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        print(f"{record['question']} -> {answer.strip()}")


if __name__ == "__main__":
    main()
