"""Palo against Transformers' Llava on the same weights, and the LDP against the MLP.

python -m benchmarks.model --size small 1.7b
"""

import argparse
import gc
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from .common import Report, compare, palo_config, random_palo, ratio


QUESTION_TOKENS = 40
DECODED_TOKENS = 16
GENERATE = {"max_new_tokens": DECODED_TOKENS, "min_new_tokens": DECODED_TOKENS, "do_sample": False}


def prompt(config: Any, batch_size: int, device: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """A prompt with one image a row: ids (batch, tokens) and pixels (batch, 3, 336, 336)."""
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(3, 31000, (batch_size, QUESTION_TOKENS), generator=generator)
    image = torch.full((batch_size, config.image_seq_length), config.image_token_index)
    side = config.vision_config.image_size
    ids = torch.cat([text[:, :20], image, text[:, 20:]], dim=1)
    return {
        "input_ids": ids.to(device),
        "attention_mask": torch.ones_like(ids).to(device),
        "pixel_values": torch.randn(batch_size, 3, side, side, generator=generator).to(device, dtype),
    }


def as_llava(model: Any) -> LlavaForConditionalGeneration:
    """Transformers' Llava around the very tensors of a Palo-MLP."""
    fields = model.config.to_dict()
    config = LlavaConfig(
        **{name: fields[name] for name in ("vision_config", "text_config", "image_seq_length")},
        image_token_index=model.config.image_token_index,
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        projector_hidden_act=model.config.projector_hidden_act,
    )
    with torch.device("meta"):
        llava = LlavaForConditionalGeneration(config)
    llava.load_state_dict(model.state_dict(), assign=True)
    # What a state dict does not hold stays on the meta device: position ids, rotary frequencies.
    for (name, buffer), (other, ours) in zip(llava.named_buffers(), model.named_buffers(), strict=True):
        assert name == other, (name, other)
        if buffer.is_meta:
            parent, _, leaf = name.rpartition(".")
            setattr(llava.get_submodule(parent), leaf, ours)
    llava.model.language_model.rotary_emb.original_inv_freq = model.model.language_model.rotary_emb.original_inv_freq
    return llava.eval()


def steps(model: Any, inputs: dict[str, torch.Tensor]) -> dict[str, Callable[[], Any]]:
    """The four things that a user waits for."""
    with torch.inference_mode():
        prefilled = model(**inputs, use_cache=True)
    token = prefilled.logits[:, -1:].argmax(-1)

    def decode() -> None:
        cache = prefilled.past_key_values
        for _ in range(DECODED_TOKENS):
            model(input_ids=token, past_key_values=cache, use_cache=True)
        cache.crop(-DECODED_TOKENS)

    return {
        "forward, all logits": lambda: model(**inputs, use_cache=False),
        "prefill": lambda: model(**inputs, use_cache=True, logits_to_keep=1),
        f"decode {DECODED_TOKENS} tokens": decode,
        f"generate {DECODED_TOKENS} tokens": lambda: model.generate(
            **inputs, max_new_tokens=DECODED_TOKENS, min_new_tokens=DECODED_TOKENS, do_sample=False
        ),
    }


def against_llava(report: Report, size: str, batch_size: int, device: str, dtype: torch.dtype, repeats: int) -> None:
    # The placeholder inside the vocabulary, where Llava needs it.
    config = palo_config(size, "mlp", image_token_index=31999)
    palo = random_palo(config, device, dtype)
    llava = as_llava(palo)
    inputs = prompt(config, batch_size, device, dtype)
    with torch.inference_mode():
        assert torch.equal(palo(**inputs).logits, llava(**inputs).logits)
        rows = []
        ours, theirs = steps(palo, inputs), steps(llava, inputs)
        for name in ours:
            timings = compare({"palo": ours[name], "llava": theirs[name]}, repeats, device)
            rows.append([name, str(timings["palo"]), str(timings["llava"]), ratio(timings, "palo", "llava")])
    report.text(f"## Palo-MLP against Llava: {size}, {describe(palo, batch_size, dtype)}")
    report.table(["", "Palo", "Llava", "ratio"], rows)


def ldp_against_mlp(report: Report, size: str, batch_size: int, device: str, dtype: torch.dtype, repeats: int) -> None:
    mlp = random_palo(palo_config(size, "mlp"), device, dtype)
    ldp = random_palo(palo_config(size, "ldp"), device, dtype)
    # One language model and one tower for both: the projector is what differs.
    ldp.model.language_model = mlp.model.language_model
    ldp.model.vision_tower = mlp.model.vision_tower
    ldp.lm_head = mlp.lm_head
    gc.collect()
    rows = []
    with torch.inference_mode():
        inputs = {
            name: prompt(model.config, batch_size, device, dtype) for name, model in (("mlp", mlp), ("ldp", ldp))
        }
        contenders = {
            "MLP": lambda: mlp(**inputs["mlp"], use_cache=True, logits_to_keep=1),
            "LDP": lambda: ldp(**inputs["ldp"], use_cache=True, logits_to_keep=1),
        }
        timings = compare(contenders, repeats, device)
        for name, function in contenders.items():
            cache = function().past_key_values
            tokens = cache.get_seq_length()
            size_in_bytes = sum(
                part.numel() * part.element_size() for layer in cache.layers for part in (layer.keys, layer.values)
            )
            rows.append([name, str(tokens), str(timings[name]), f"{size_in_bytes / 2**20 / batch_size:.1f} MiB"])
    report.text(
        f"## LDP against MLP, the same language model: {size}, {describe(mlp, batch_size, dtype)}",
        f"Prefill with the LDP takes {ratio(timings, 'LDP', 'MLP')} of the time with the MLP.",
    )
    report.table(["projector", "tokens", "prefill", "KV cache a row"], rows)


def one_at_a_time(report: Report, size: str, batch_size: int, device: str, dtype: torch.dtype, repeats: int) -> None:
    for projector_type in ("mlp", "ldp"):
        model = random_palo(palo_config(size, projector_type), device, dtype)
        inputs = prompt(model.config, batch_size, device, dtype)
        rows = [{name: part[index : index + 1] for name, part in inputs.items()} for index in range(batch_size)]
        contenders = {
            "batch": lambda model=model, inputs=inputs: model.generate(**inputs, **GENERATE),
            "singly": lambda model=model, rows=rows: [model.generate(**row, **GENERATE) for row in rows],
        }
        with torch.inference_mode():
            timings = compare(contenders, repeats, device)
        report.text(f"## {batch_size} questions at once, or one at a time: {size}, {projector_type.upper()}")
        report.table(
            ["", f"{batch_size} x {DECODED_TOKENS} tokens"],
            [
                ["one batch", str(timings["batch"])],
                ["one at a time", str(timings["singly"])],
                ["ratio", ratio(timings, "batch", "singly")],
            ],
        )
        del model, contenders
        gc.collect()


def describe(model: Any, batch_size: int, dtype: torch.dtype) -> str:
    parameters = model.num_parameters() / 1e6
    return f"{parameters:,.0f} M parameters, {str(dtype).removeprefix('torch.')}, batch {batch_size}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", nargs="+", default=["small", "1.7b"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = arguments.device
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    report = Report("model", "Model: Palo against Llava, LDP against MLP, batches against single questions", device)
    report.text(
        "Random weights; an image of 336 pixels and 40 tokens of text a row. Times are medians, with minimum and maximum; "
        "ratios are medians over rounds in which the contenders take turns, with their middle half."
    )
    for size in arguments.size:
        quick = size == "small" or device.startswith("cuda")
        # A real size on a CPU takes most of a minute for one pass through the four steps.
        repeats = 11 if quick else 3
        for batch_size in (1, 4) if quick else (1,):
            against_llava(report, size, batch_size, device, dtype, repeats)
            gc.collect()
            report.write()
        ldp_against_mlp(report, size, 1, device, dtype, repeats)
        gc.collect()
        if quick:
            one_at_a_time(report, size, 8, device, dtype, 5)
        report.write()


if __name__ == "__main__":
    main()
