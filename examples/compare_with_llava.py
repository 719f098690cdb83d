"""The same MLP weights in Transformers' Llava: converted, loaded without this package's classes, with equal logits.

python examples/compare_with_llava.py [--model DIR] [--image PICTURE]
"""

import argparse
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from transformers_palo.models.palo.export_palo import convert_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="outputs/quickstart/model")
    parser.add_argument("--image", default="outputs/quickstart/examples/sum.png")
    parser.add_argument("--question", default="What is the sum of the two digits?")
    args = parser.parse_args()

    content = [{"type": "image", "path": args.image}, {"type": "text", "text": args.question}]
    chat = [{"role": "user", "content": content}]
    logits, answers = [], []
    with tempfile.TemporaryDirectory() as folder:
        # The same as `palo convert MODEL FOLDER --format llava`.
        llava = convert_checkpoint(args.model, Path(folder) / "llava", format="llava")
        pairs = [
            (AutoModelForImageTextToText.from_pretrained(args.model), AutoProcessor.from_pretrained(args.model)),
            (LlavaForConditionalGeneration.from_pretrained(llava), LlavaProcessor.from_pretrained(llava)),
        ]
    for model, processor in pairs:
        inputs = processor.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        with torch.no_grad():
            # Palo keeps its vocabulary; Llava needs a row for the placeholder.
            logits.append(model(**inputs).logits[..., : processor.tokenizer.vocab_size])
        output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
        answers.append(processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
        print(f"{type(model).__name__}: {answers[-1]}")
    print(f"largest difference of logits: {(logits[0] - logits[1]).abs().max().item():.1e}")


if __name__ == "__main__":
    main()
