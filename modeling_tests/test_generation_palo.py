"""generate(): every strategy on prompts with images, with the placeholder's id outside the vocabulary and inside."""

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessor,
    LogitsProcessorList,
    TextIteratorStreamer,
    set_seed,
)
from transformers.generation import utils as generation_utils

from .conftest import chat, golden_image, tiny_model


@pytest.fixture(params=["outside", "inside"], scope="module")
def where(request):
    """Outside: id 600 of a vocabulary of 600, as released. Inside: the vocabulary has a row for it."""
    return request.param


@pytest.fixture(params=["mlp", "ldp"], scope="module")
def projector_type(request):
    return request.param


@pytest.fixture(scope="module")
def model(where, projector_type):
    text = {"vocab_size": 608} if where == "inside" else {}
    model = tiny_model(projector_type, text=text, image_token_index=600)
    if where == "inside":
        # A model that would emit the placeholder at every step, if it could.
        with torch.no_grad():
            model.lm_head.weight[600] = model.lm_head.weight.abs().sum(0)
        model.lm_head.register_forward_hook(lambda _, __, logits: boost(logits, 600))
    return model


def boost(logits: torch.Tensor, token: int) -> torch.Tensor:
    logits = logits.clone()
    logits[..., token] = logits.amax(-1) + 10
    return logits


@pytest.fixture(scope="module")
def inputs(projector_type, processor, ldp_processor):
    processor = {"mlp": processor, "ldp": ldp_processor}[projector_type]
    text = "USER: <image>\n<image>\nWhat is the colour of the boat, of the boat? ASSISTANT:"
    return processor(text=text, images=[golden_image("landscape"), golden_image("portrait")], return_tensors="pt")


def draft_model(vocab_size: int) -> LlamaForCausalLM:
    """A text-only draft: it has never seen an image, nor a placeholder."""
    set_seed(1)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=vocab_size,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def new_tokens(model, inputs, **options) -> list[list[int]]:
    set_seed(0)
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, **options}
    output = model.generate(**inputs, **options)
    prompt = inputs["input_ids"]
    repeats = output.shape[0] // prompt.shape[0]
    assert torch.equal(output[:, : prompt.shape[1]], prompt.repeat_interleave(repeats, 0)), "the prompt comes back"
    return output[:, prompt.shape[1] :].tolist()


@pytest.fixture(scope="module")
def greedy(model, inputs):
    return new_tokens(model, inputs)


def test_greedy_is_what_the_logits_say(model, inputs, greedy):
    """Without generate: append the best token that is not the placeholder, and run the whole prompt again."""
    ids = inputs["input_ids"]
    for expected in greedy[0]:
        with torch.no_grad():
            logits = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0, -1]
        logits[600:601] = -torch.inf
        assert int(logits.argmax()) == expected
        ids = torch.cat([ids, torch.tensor([[expected]])], dim=1)


def test_cached_is_uncached(model, inputs, greedy):
    assert new_tokens(model, inputs, use_cache=False) == greedy


@pytest.mark.parametrize(
    "options",
    [
        {"prompt_lookup_num_tokens": 4},
        {"cache_implementation": "static"},
        {"prefill_chunk_size": 16},
        {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_greedy_by_other_ways(model, inputs, greedy, options):
    if "prefill_chunk_size" in options and not hasattr(generation_utils, "_slice_mm_encoder_output"):
        pytest.skip("this Transformers cannot split images over prefill chunks, for any model")
    assert new_tokens(model, inputs, **options) == greedy


def test_greedy_with_a_text_only_draft_model(model, inputs, greedy):
    draft = draft_model(model.config.text_config.vocab_size)
    assert new_tokens(model, inputs, assistant_model=draft) == greedy


def test_greedy_with_a_palo_as_draft(model, inputs, greedy):
    """Transformers shows a draft the text alone, whatever it is: it must not trip over the placeholders."""
    assert new_tokens(model, inputs, assistant_model=model) == greedy


def test_compiled(model, inputs, greedy):
    compiled = torch.compile(model.forward, backend="eager")
    original, model.forward = model.forward, compiled
    try:
        assert new_tokens(model, inputs, cache_implementation="static") == greedy
    finally:
        model.forward = original


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": True, "temperature": 1.5},
        {"do_sample": True, "top_p": 0.9, "top_k": 20, "num_return_sequences": 3},
        {"num_beams": 3},
        {"num_beams": 4, "num_return_sequences": 2, "length_penalty": 0.5},
        {"num_beams": 2, "do_sample": True},
        {"repetition_penalty": 1.7},
        {"no_repeat_ngram_size": 2},
        {"encoder_repetition_penalty": 1.5},
        {"encoder_no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "prompt_lookup_num_tokens": 3},
        {"repetition_penalty": 1.3, "do_sample": True, "prompt_lookup_num_tokens": 3},
        {"min_new_tokens": 5, "eos_token_id": 2},
        {"bad_words_ids": [[5], [7, 8]]},
        {"penalty_alpha": None, "output_scores": True},
        {"renormalize_logits": True, "num_beams": 2},
    ],
    ids=lambda options: "-".join(options),
)
def test_no_strategy_emits_the_placeholder(model, inputs, options):
    rows = new_tokens(model, inputs, **options)
    assert all(len(row) >= 5 for row in rows)
    assert all(0 <= token < model.config.text_config.vocab_size and token != 600 for row in rows for token in row)


def test_a_repetition_penalty_does_something(model, inputs, greedy):
    assert new_tokens(model, inputs, repetition_penalty=2.5) != greedy
    (row,) = new_tokens(model, inputs, no_repeat_ngram_size=1)
    assert len(set(row)) == len(row)


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 3}])
def test_every_beam_sees_its_own_images(model, inputs, options):
    """The score that beam search gives a sequence is its likelihood by a plain forward pass, image by image."""
    output = model.generate(
        **inputs,
        **options,
        max_new_tokens=6,
        eos_token_id=None,
        do_sample=False,
        length_penalty=0.0,
        renormalize_logits=True,
        return_dict_in_generate=True,
        output_scores=True,
    )
    for sequence, score in zip(output.sequences, output.sequences_scores, strict=True):
        continuation = sequence[inputs["input_ids"].shape[1] :].tolist()
        assert score.item() == pytest.approx(log_likelihood(model, inputs, continuation), abs=1e-3)


def log_likelihood(model, inputs, continuation: list[int]) -> float:
    ids = torch.cat([inputs["input_ids"], torch.tensor([continuation])], dim=1)
    with torch.no_grad():
        logits = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0, -len(continuation) - 1 : -1]
    logits[:, 600:601] = -torch.inf
    return logits.log_softmax(-1).gather(1, torch.tensor([continuation]).T).sum().item()


def test_beams_of_a_batch_with_different_numbers_of_images(model, projector_type, processor, ldp_processor):
    each = {"mlp": processor, "ldp": ldp_processor}[projector_type]
    one, two = golden_image("landscape"), golden_image("portrait")
    texts = ["USER: <image>\nWhat? ASSISTANT:", "USER: <image>\n<image>\nWhich of them? ASSISTANT:"]
    together = each(text=texts, images=[[one], [one, two]], padding=True, return_tensors="pt")
    rows = new_tokens(model, together, num_beams=3)
    for text, images, row in zip(texts, ([one], [one, two]), rows, strict=True):
        alone = each(text=text, images=images, return_tensors="pt")
        assert new_tokens(model, alone, num_beams=3) == [row]


def test_embeddings_instead_of_ids(model, inputs, greedy):
    """Features put in place by hand; generate() then returns the new tokens only."""
    with torch.no_grad():
        features = torch.cat(list(model.get_image_features(inputs["pixel_values"], return_dict=True).pooler_output))
        ids = inputs["input_ids"]
        embeds = model.get_input_embeddings()(ids.masked_fill(ids == 600, 0))
        embeds[ids == 600] = features
    output = model.generate(inputs_embeds=embeds, max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert output.tolist() == greedy


def test_a_logits_processor_of_the_users(model, inputs):
    class OnlySeven(LogitsProcessor):
        def __call__(self, input_ids, scores):
            assert input_ids.max() == 600, "a user's processor sees the prompt as it is"
            return torch.full_like(scores, -torch.inf).index_fill(1, torch.tensor([7]), 0.0)

    assert new_tokens(model, inputs, logits_processor=LogitsProcessorList([OnlySeven()])) == [[7] * 12]


def test_a_placeholder_outside_comes_inside_by_resizing(inputs, projector_type):
    model = tiny_model(projector_type)
    expected = new_tokens(model, inputs)
    model.resize_token_embeddings(608)
    model.lm_head.register_forward_hook(lambda _, __, logits: boost(logits, 600))
    assert new_tokens(model, inputs) == expected


# ---- batches equal one at a time


CONVERSATIONS = {
    "one image": lambda image: chat("What is it?", image("landscape")),
    "two images": lambda image: chat("Which is larger?", image("portrait"), image("square")),
    "text only": lambda image: [{"role": "user", "content": "Who are you, then, and what can you do for me?"}],
    "multi-turn": lambda image: [
        *chat("नाव का रंग क्या है?", image("big")),
        {"role": "assistant", "content": "नाव लाल है।"},
        {"role": "user", "content": "And birds?"},
    ],
    "images in two turns": lambda image: [
        *chat("What?", image("exact")),
        {"role": "assistant", "content": "A boat."},
        *chat("And this?", image("portrait")),
    ],
}


def test_batched_generation_equals_one_at_a_time(model, projector_type, processor, ldp_processor):
    each = {"mlp": processor, "ldp": ldp_processor}[projector_type]
    conversations = [build(golden_image) for build in CONVERSATIONS.values()]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    alone = [new_tokens(model, each.apply_chat_template(c, **options))[0] for c in conversations]
    together = each.apply_chat_template(conversations, **options, processor_kwargs={"padding": True})
    assert new_tokens(model, together) == alone
    assert len({tuple(row) for row in alone}) > 1, "the answers differ, so that mixing rows up would show"


def test_streaming(model, inputs, projector_type, processor, ldp_processor):
    each = {"mlp": processor, "ldp": ldp_processor}[projector_type]
    # A model of random weights says bytes that are no characters, and how these are shown depends on what follows.
    single_bytes = [id for token, id in each.tokenizer.get_vocab().items() if token.startswith("<0x")]
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "suppress_tokens": single_bytes}
    streamer = TextIteratorStreamer(each.tokenizer, skip_prompt=True, timeout=10)
    output = model.generate(**inputs, **options, streamer=streamer)
    assert "".join(streamer) == each.decode(output[0, inputs["input_ids"].shape[1] :])
