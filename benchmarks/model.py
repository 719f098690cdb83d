"""Palo against Transformers' Llava on the same weights, and the LDP against the MLP.

python -m benchmarks.model --size small 1.7b
"""

import argparse
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from transformers_palo import PaloForConditionalGeneration
from transformers_palo.models.palo.export_palo import with_padding_rows
from transformers_palo.models.palo.projectors_palo import build_projector

from .common import Report, compare, palo_config, random_palo, ratio


QUESTION_TOKENS = 40


@dataclass(frozen=True)
class Effort:
    """How much is measured, so that the whole stays within minutes.

    Attributes:
        repeats: Rounds, in each of which every contender has one turn.
        decoded_tokens: Tokens that one run decodes.
        batch_sizes: Rows at once, against Llava.
        all_steps: Also the logits of all positions, and batches against single questions.
    """

    repeats: int
    decoded_tokens: int
    batch_sizes: tuple[int, ...]
    all_steps: bool

    @property
    def generation(self) -> dict[str, Any]:
        return {"max_new_tokens": self.decoded_tokens, "min_new_tokens": self.decoded_tokens, "do_sample": False}


QUICK = Effort(repeats=11, decoded_tokens=16, batch_sizes=(1, 4), all_steps=True)
# A real size on a CPU: seconds for a prefill, tenths of a second for a token.
LARGE = Effort(repeats=3, decoded_tokens=8, batch_sizes=(1,), all_steps=False)


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
    """Transformers' Llava around the very tensors of a Palo-MLP.

    PALO's placeholder lies behind its vocabulary of 32000. Llava needs a row for it: both tables are padded to a
    multiple of 64, as llava-hf's are, and Palo's become views of their first rows, so that nothing is held twice.
    """
    fields = model.config.to_dict()
    rows = -(-(model.config.image_token_id + 1) // 64) * 64
    config = LlavaConfig(
        vision_config=fields["vision_config"],
        text_config={**fields["text_config"], "vocab_size": rows},
        image_seq_length=model.config.image_seq_length,
        image_token_index=model.config.image_token_index,
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        projector_hidden_act=model.config.projector_hidden_act,
    )
    with torch.device("meta"):
        llava = LlavaForConditionalGeneration(config)
    tables = {}
    for name, table in (
        ("model.language_model.embed_tokens.weight", model.get_input_embeddings()),
        ("lm_head.weight", model.lm_head),
    ):
        tables[name] = with_padding_rows(table.weight.detach(), rows)
        table.weight = torch.nn.Parameter(tables[name][: table.weight.shape[0]])
    llava.load_state_dict({**model.state_dict(), **tables}, assign=True)
    # What a state dict does not hold stays on the meta device: position ids, rotary frequencies.
    for (name, buffer), (other, ours) in zip(llava.named_buffers(), model.named_buffers(), strict=True):
        assert name == other, (name, other)
        if buffer.is_meta:
            parent, _, leaf = name.rpartition(".")
            setattr(llava.get_submodule(parent), leaf, ours)
    llava.model.language_model.rotary_emb.original_inv_freq = model.model.language_model.rotary_emb.original_inv_freq
    return llava.eval()


def with_ldp(mlp: Any, size: str) -> Any:
    """The same language model and tower under an LDP: the projector is what differs."""
    with torch.device("meta"):
        ldp = PaloForConditionalGeneration(palo_config(size, "ldp"))
    ldp.model.language_model = mlp.model.language_model
    ldp.model.vision_tower = mlp.model.vision_tower
    ldp.model.multi_modal_projector = build_projector(ldp.config).to(mlp.device, mlp.dtype)
    ldp.lm_head = mlp.lm_head
    return ldp.eval()


def steps(model: Any, inputs: dict[str, torch.Tensor], effort: Effort) -> dict[str, Callable[[], Any]]:
    """The things that a user waits for."""
    tokens = effort.decoded_tokens
    prefilled = model(**inputs, use_cache=True, logits_to_keep=1)
    token = prefilled.logits[:, -1:].argmax(-1)

    def decode() -> None:
        cache = prefilled.past_key_values
        for _ in range(tokens):
            model(input_ids=token, past_key_values=cache, use_cache=True)
        cache.crop(-tokens)

    found: dict[str, Callable[[], Any]] = {
        "forward, all logits": lambda: model(**inputs, use_cache=False),
        "prefill": lambda: model(**inputs, use_cache=True, logits_to_keep=1),
        f"decode {tokens} tokens": decode,
        f"generate {tokens} tokens": lambda: model.generate(**inputs, **effort.generation),
    }
    if not effort.all_steps:
        del found["forward, all logits"]
    return found


def against_llava(report: Report, size: str, palo: Any, llava: Any, batch_size: int, effort: Effort) -> None:
    inputs = prompt(palo.config, batch_size, str(palo.device), palo.dtype)
    with torch.inference_mode():
        ours, theirs = steps(palo, inputs, effort), steps(llava, inputs, effort)
        logits = (model(**inputs, logits_to_keep=1).logits[..., :32000].float() for model in (palo, llava))
        # The wider table is multiplied in other blocks, so sums are in another order.
        torch.testing.assert_close(*logits, atol=1e-4 if palo.dtype == torch.float32 else 0.1, rtol=0)
        rows = []
        for name in ours:
            timings = compare({"palo": ours[name], "llava": theirs[name]}, effort.repeats, str(palo.device))
            rows.append([name, str(timings["palo"]), str(timings["llava"]), ratio(timings, "palo", "llava")])
    report.text(f"## Palo-MLP against Llava: {size}, {describe(palo, batch_size)}")
    report.table(["", "Palo", "Llava", "ratio"], rows)


def ldp_against_mlp(report: Report, size: str, mlp: Any, ldp: Any, effort: Effort) -> None:
    rows = []
    device = str(mlp.device)
    with torch.inference_mode():
        inputs = {name: prompt(model.config, 1, device, mlp.dtype) for name, model in (("mlp", mlp), ("ldp", ldp))}
        contenders = {
            "MLP": lambda: mlp(**inputs["mlp"], use_cache=True, logits_to_keep=1),
            "LDP": lambda: ldp(**inputs["ldp"], use_cache=True, logits_to_keep=1),
        }
        timings = compare(contenders, effort.repeats, device)
        for name, function in contenders.items():
            cache = function().past_key_values
            tokens = cache.get_seq_length()
            size_in_bytes = sum(
                part.numel() * part.element_size() for layer in cache.layers for part in (layer.keys, layer.values)
            )
            rows.append([name, str(tokens), str(timings[name]), f"{size_in_bytes / 2**20:.1f} MiB"])
    report.text(
        f"## LDP against MLP, the same language model: {size}, {describe(mlp, 1)}",
        f"Prefill with the LDP takes {ratio(timings, 'LDP', 'MLP')} of the time with the MLP.",
    )
    report.table(["projector", "tokens", "prefill", "KV cache a row"], rows)


def one_at_a_time(report: Report, size: str, name: str, model: Any, batch_size: int, effort: Effort) -> None:
    inputs = prompt(model.config, batch_size, str(model.device), model.dtype)
    rows = [{name: part[index : index + 1] for name, part in inputs.items()} for index in range(batch_size)]
    contenders = {
        "batch": lambda: model.generate(**inputs, **effort.generation),
        "singly": lambda: [model.generate(**row, **effort.generation) for row in rows],
    }
    with torch.inference_mode():
        timings = compare(contenders, 5, str(model.device))
    report.text(f"## {batch_size} questions at once, or one at a time: {size}, {name}")
    report.table(
        ["", f"{batch_size} x {effort.decoded_tokens} tokens"],
        [
            ["one batch", str(timings["batch"])],
            ["one at a time", str(timings["singly"])],
            ["ratio", ratio(timings, "batch", "singly")],
        ],
    )


def measure(report: Report, size: str, device: str) -> None:
    """Every comparison at one size. One set of weights serves all contenders."""
    on_gpu = device.startswith("cuda")
    effort = QUICK if size == "small" or on_gpu else LARGE
    # Where a CPU has instructions for bfloat16, a real size is several times as fast in it.
    dtype = torch.float32 if size == "small" and not on_gpu else torch.bfloat16
    mlp = random_palo(palo_config(size, "mlp"), device, dtype)
    llava = as_llava(mlp)
    for batch_size in effort.batch_sizes:
        against_llava(report, size, mlp, llava, batch_size, effort)
        report.write()
    del llava
    ldp = with_ldp(mlp, size)
    ldp_against_mlp(report, size, mlp, ldp, effort)
    if effort.all_steps:
        for name, model in (("MLP", mlp), ("LDP", ldp)):
            one_at_a_time(report, size, name, model, 8, effort)
    report.write()


def describe(model: Any, batch_size: int) -> str:
    parameters = model.num_parameters() / 1e6
    return f"{parameters:,.0f} M parameters, {str(model.dtype).removeprefix('torch.')}, batch {batch_size}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", nargs="+", default=["small", "1.7b"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    device = arguments.device
    report = Report("model", "Model: Palo against Llava, LDP against MLP, batches against single questions", device)
    report.text(
        "Random weights; an image of 336 pixels and 40 tokens of text a row. The placeholder's id is 32000, behind Palo's "
        "vocabulary, as released; Llava needs a row for it, so its tables are padded to 32064 rows. Times are medians, with "
        "minimum and maximum; ratios are medians over rounds in which the contenders take turns, with their middle half."
    )
    for size in arguments.size:
        measure(report, size, device)
        gc.collect()


if __name__ == "__main__":
    main()
