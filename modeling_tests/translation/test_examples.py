"""The examples of the pipeline, run as they stand."""

import json
import subprocess
import sys

import pytest

from .conftest import PROJECT, read_lines


def run_example(name: str, *arguments: object) -> str:
    command = [sys.executable, PROJECT / "examples" / name, *arguments]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_translate_llava_instruct(tmp_path):
    said = run_example("translate_llava_instruct.py", "--output-dir", tmp_path)
    assert "Rejected in fr for wrong_language (sample-11)" in said
    assert "79 records" in said
    records = read_lines(tmp_path / "data" / "train.jsonl")
    assert len(records) == 79
    hindi = [turn["value"] for record in records if record["language"] == "hi" for turn in record["conversations"]]
    assert any(text.endswith("।") for text in hindi) and not any(text.endswith(".") for text in hindi)
    report = json.loads((tmp_path / "run" / "checks.json").read_text(encoding="utf-8"))
    assert report["hi"]["repairs"]["full_stop"] > 10
    assert report["ar"]["asked_again"]["chatter"] == 2


def test_the_example_leaves_a_folder_of_others_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    with pytest.raises(AssertionError, match="holds other files"):
        run_example("translate_llava_instruct.py", "--output-dir", tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "mine.txt"]


@pytest.mark.slow
def test_fine_tune_translator(tmp_path):
    """With a model of two layers and the pairs of a reviewed run: an adapter comes out."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([], trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<|im_end|>")
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    fast.save_pretrained(tmp_path / "model")
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=len(fast)
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    sample = {
        "prompt": [{"role": "system", "content": "Translate."}, {"role": "user", "content": "Hello."}],
        "completion": [{"role": "assistant", "content": "नमस्ते।"}],
    }
    for name in ("tuning.jsonl", "tuning.validation.jsonl"):
        (tmp_path / name).write_text(f"{json.dumps(sample)}\n" * 4, encoding="utf-8")
    options = ["--model", tmp_path / "model", "--train", tmp_path / "tuning.jsonl", "--output-dir", tmp_path / "tuned"]
    said = run_example("fine_tune_translator.py", *options, "--epochs", 1)
    assert "eval_loss" in said
    assert (tmp_path / "tuned" / "adapter_model.safetensors").is_file()
