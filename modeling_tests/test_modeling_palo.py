"""The model: equal to Llava where it is Llava, and all that Transformers gives Llava."""

import math
import os

import pytest
import torch
from torch import nn
from transformers import (
    BitsAndBytesConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen3Config,
    SiglipVisionConfig,
)
from transformers.quantizers.quantizers_utils import should_convert_module

from transformers_palo import PaloConfig, PaloForConditionalGeneration, PaloModel
from transformers_palo.models.palo.modeling_palo import _leave_vision_alone
from transformers_palo.models.palo.projectors_palo import PaloLdpProjector, squeeze_width

from .conftest import TINY_TEXT, TINY_VISION, golden_image, tiny_config, tiny_model


PROJECTORS = ["mlp", "ldp", "linear"]


def batch(processor, *, text: str = "USER: <image>\nWhat is it? ASSISTANT:", images: int = 1):
    pictures = [golden_image(name) for name in ("landscape", "portrait", "square")[:images]]
    return processor(text=text, images=pictures or None, return_tensors="pt")


@pytest.fixture(scope="module")
def inputs(processor):
    return batch(processor)


@pytest.fixture(scope="module")
def processors(processor, ldp_processor):
    return {"mlp": processor, "linear": processor, "ldp": ldp_processor}


# ---- Llava


@pytest.fixture(params=["eager", "sdpa"])
def llava_pair(request):
    """The same weights in both classes. Llava needs the placeholder inside the vocabulary."""
    palo = tiny_model(image_token_index=599)
    config = LlavaConfig(
        vision_config=dict(TINY_VISION), text_config=dict(TINY_TEXT), image_token_index=599, image_seq_length=16
    )
    llava = LlavaForConditionalGeneration(config).eval()
    llava.load_state_dict(palo.state_dict())
    palo.set_attn_implementation(request.param)
    llava.set_attn_implementation(request.param)
    return palo, llava


def inside(inputs):
    return {**inputs, "input_ids": inputs["input_ids"].masked_fill(inputs["input_ids"] == 600, 599)}


def test_equal_to_llava_bit_for_bit(llava_pair, processor):
    palo, llava = llava_pair
    for images, text in ((1, "USER: <image>\nWhat? ASSISTANT:"), (2, "<image><image> x"), (0, "USER: hi ASSISTANT:")):
        given = inside(batch(processor, images=images, text=text))
        with torch.no_grad():
            ours = palo(**given, labels=given["input_ids"], output_hidden_states=True)
            theirs = llava(**given, labels=given["input_ids"], output_hidden_states=True)
        assert torch.equal(ours.logits, theirs.logits)
        assert torch.equal(ours.loss, theirs.loss)
        for a, b in zip(ours.hidden_states, theirs.hidden_states, strict=True):
            assert torch.equal(a, b)


def test_equal_gradients_to_llava(llava_pair, inputs):
    palo, llava = llava_pair
    given = inside(inputs)
    for model in (palo, llava):
        model(**given, labels=given["input_ids"]).loss.backward()
    theirs = dict(llava.named_parameters())
    for name, parameter in palo.named_parameters():
        if parameter.grad is None:
            assert theirs[name].grad is None
        else:
            assert torch.equal(parameter.grad, theirs[name].grad), name


def test_a_placeholder_outside_the_vocabulary_changes_nothing(inputs):
    """The same model with the id inside and outside: the embedding under an image never matters."""
    outside, within = tiny_model(), tiny_model(image_token_index=599)
    with torch.no_grad():
        assert torch.equal(outside(**inputs).logits, within(**inside(inputs)).logits)


def test_state_dict_names():
    names = set(tiny_model("ldp").state_dict())
    prefixes = ("model.vision_tower.", "model.multi_modal_projector.", "model.language_model.")
    assert all(name.startswith(prefixes) or name == "lm_head.weight" for name in names)


# ---- projectors


def reference_ldp(projector: PaloLdpProjector, features: torch.Tensor) -> torch.Tensor:
    """The LDP as the MobileVLM paper describes it, with functions only."""
    f = nn.functional
    x = f.linear(features, projector.linear_1.weight, projector.linear_1.bias)
    x = f.linear(f.gelu(x), projector.linear_2.weight, projector.linear_2.bias)
    side = math.isqrt(x.shape[1])
    x = x.transpose(1, 2).reshape(x.shape[0], -1, side, side)
    for stride, block in zip((1, 2), projector.blocks, strict=True):
        y = f.conv2d(x, block.depthwise.weight, stride=stride, padding=1, groups=x.shape[1])
        y = f.hardswish(channel_norm(y, block.depthwise_norm))
        se = block.squeeze_excitation
        scale = f.conv2d(y.mean((2, 3), keepdim=True), se.fc1.weight, se.fc1.bias)
        scale = f.hardsigmoid(f.conv2d(f.relu(scale), se.fc2.weight, se.fc2.bias))
        y = channel_norm(f.conv2d(y * scale, block.pointwise.weight), block.pointwise_norm)
        x = x + y if stride == 1 else y
    return x.reshape(*x.shape[:2], -1).transpose(1, 2)


def channel_norm(x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    mean = x.mean(1, keepdim=True)
    variance = x.var(1, keepdim=True, correction=0)
    return (x - mean) / (variance + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 24])
def test_ldp_is_the_papers(side):
    projector = PaloLdpProjector(tiny_config("ldp"))
    for parameter in projector.parameters():
        nn.init.normal_(parameter, std=0.3)
    features = torch.randn(2, side * side, 32)
    with torch.no_grad():
        output = projector(features)
    assert output.shape == (2, math.ceil(side / 2) ** 2, 64)
    torch.testing.assert_close(output, reference_ldp(projector, features), atol=1e-5, rtol=1e-5)


def test_ldp_needs_a_square_grid():
    with pytest.raises(ValueError, match="a square grid of features, got 17"):
        PaloLdpProjector(tiny_config("ldp"))(torch.randn(1, 17, 32))


@pytest.mark.parametrize(
    ("width", "expected"), [(8, 8), (32, 8), (64, 16), (80, 24), (144, 40), (2048, 512), (4096, 1024), (56, 16)]
)
def test_squeeze_width(width, expected):
    assert squeeze_width(width) == expected
    assert expected % 8 == 0
    assert expected >= 0.9 * width / 4


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_mlp_layers(layers):
    projector = tiny_model(projector_num_layers=layers).model.multi_modal_projector
    linears = [module for module in projector.modules() if isinstance(module, nn.Linear)]
    assert [linear.in_features for linear in linears] == [32] + [64] * (layers - 1)


def test_identity_projector(processor):
    model = tiny_model("identity", vision={"hidden_size": 64})
    assert not list(model.model.multi_modal_projector.parameters())
    assert model(**batch(processor)).logits.shape[-1] == 600


def test_several_feature_layers(processor):
    model = tiny_model(vision_feature_layer=[-2, -1])
    assert model.model.multi_modal_projector.linear_1.in_features == 64
    assert model(**batch(processor)).logits.isfinite().all()


@pytest.mark.parametrize("projector_type", PROJECTORS)
def test_weights_that_no_file_holds_are_initialised(projector_type):
    """Loading makes modules without memory first; what no checkpoint fills must not stay what was in memory."""
    model = PaloForConditionalGeneration.from_pretrained(None, config=tiny_config(projector_type), state_dict={})
    for name, parameter in model.model.multi_modal_projector.named_parameters():
        if "norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all(), name
        else:
            assert parameter.isfinite().all()
            assert parameter.abs().max() < 1


# ---- what Transformers gives Llava


@pytest.mark.parametrize("projector_type", PROJECTORS)
@pytest.mark.parametrize("implementation", ["sdpa", "flex_attention"])
def test_attention_implementations_agree(processors, projector_type, implementation):
    model = tiny_model(projector_type)
    given = batch(processors[projector_type])
    with torch.no_grad():
        model.set_attn_implementation("eager")
        expected = model(**given).logits
        model.set_attn_implementation({"text_config": implementation, "vision_config": "sdpa"})
        torch.testing.assert_close(model(**given).logits, expected, atol=2e-5, rtol=1e-5)
    assert model.model.language_model.config._attn_implementation == implementation


@pytest.mark.parametrize("projector_type", PROJECTORS)
def test_gradient_checkpointing_gives_the_same_gradients(processors, projector_type):
    given = batch(processors[projector_type])
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(projector_type).train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model(**given, labels=given["input_ids"]).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)


def test_what_gets_no_gradient(inputs):
    """PALO reads hidden_states[-2]: the tower's last layer and final norm take no part."""
    model = tiny_model().train()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {n for n in dict(model.named_parameters()) if "encoder.layers.2." in n or "post_layernorm" in n}


@pytest.mark.parametrize("projector_type", PROJECTORS)
def test_compiled_forward(processors, projector_type):
    model = tiny_model(projector_type)
    given = batch(processors[projector_type])
    with torch.no_grad():
        # The first call installs Transformers' hooks for hidden states, which cannot be traced (with Llava neither).
        expected = model(**given).logits
        compiled = torch.compile(model.forward, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(**given).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("projector_type", ["mlp", "ldp"])
def test_device_map(processors, projector_type, tmp_path):
    model = tiny_model(projector_type)
    model.save_pretrained(tmp_path)
    given = batch(processors[projector_type])
    auto = PaloForConditionalGeneration.from_pretrained(tmp_path, device_map="auto")
    offloaded = PaloForConditionalGeneration.from_pretrained(
        tmp_path,
        device_map={
            "model.vision_tower": "cpu",
            "model.multi_modal_projector": "disk",
            "model.language_model": "cpu",
            "lm_head": "disk",
        },
        offload_folder=tmp_path / "offload",
    )
    with torch.no_grad():
        for each in (auto, offloaded):
            torch.testing.assert_close(each(**given).logits, model(**given).logits, atol=1e-5, rtol=1e-5)


def test_parts_that_stay_on_one_device():
    model = tiny_model("ldp")
    assert {"PaloLdpBlock", "LlamaDecoderLayer", "CLIPEncoderLayer"} <= set(model._no_split_modules)


def test_tensor_parallel_plan():
    plan = tiny_model().tp_plan
    assert plan["model.language_model.layers.*.self_attn.q_proj"] == "colwise"
    assert plan["model.language_model.layers.*.mlp.down_proj"] == "rowwise"
    assert not any("vision_tower" in name or "projector" in name for name in plan)


@pytest.mark.parametrize(
    "config",
    [
        BitsAndBytesConfig(load_in_8bit=True),
        BitsAndBytesConfig(load_in_4bit=True),
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
    ],
)
def test_quantisation_leaves_the_eyes_alone(config):
    """By the rule with which every quantisation method of Transformers picks its modules."""
    kept = _leave_vision_alone(config).llm_int8_skip_modules
    for model in (tiny_model(), tiny_model().model):
        quantized = {
            name.removeprefix("model.").split(".")[0]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and should_convert_module(name, kept)
        }
        assert quantized == {"language_model"}


def test_a_quantisation_list_of_ones_own_is_kept():
    config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["lm_head"])
    assert _leave_vision_alone(config) is config


def test_resizing_the_vocabulary(inputs):
    model = tiny_model()
    with torch.no_grad():
        before = model(**inputs).logits
        model.resize_token_embeddings(608)
        after = model(**inputs).logits
    assert model.config.text_config.vocab_size == model.lm_head.out_features == 608
    assert model.config.image_token_id == 600, "the placeholder now has a row"
    torch.testing.assert_close(after[..., :600], before, atol=1e-6, rtol=0)


def test_logits_to_keep(inputs):
    model = tiny_model()
    with torch.no_grad():
        full = model(**inputs).logits
        last = model(**inputs, logits_to_keep=1).logits
        some = model(**inputs, logits_to_keep=torch.tensor([0, 5])).logits
    torch.testing.assert_close(last, full[:, -1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(some, full[:, [0, 5]], atol=1e-5, rtol=0)


def test_headless_model(inputs, tmp_path):
    model = tiny_model()
    with torch.no_grad():
        output = model.model(**inputs)
    assert output.last_hidden_state.shape == (1, inputs["input_ids"].shape[1], 64)
    assert output.image_hidden_states.shape == (16, 64)
    model.save_pretrained(tmp_path)
    headless, info = PaloModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        assert torch.equal(headless(**inputs).last_hidden_state, output.last_hidden_state)


def test_tuples_instead_of_outputs(inputs):
    model = tiny_model()
    with torch.no_grad():
        assert torch.equal(model(**inputs, return_dict=False)[0], model(**inputs).logits)


# ---- embeddings in place of ids


def test_inputs_embeds(inputs):
    model = tiny_model()
    text = torch.tensor([[1, 300, 301, 302]])
    with torch.no_grad():
        embeds = model.get_input_embeddings()(text)
        assert torch.equal(model(inputs_embeds=embeds).logits, model(input_ids=text).logits)


def test_images_in_embeddings_need_a_placeholder_with_an_embedding(inputs):
    within = tiny_model(image_token_index=599)
    given = inside(inputs)
    with torch.no_grad():
        embeds = within.get_input_embeddings()(given["input_ids"])
        assert torch.equal(
            within(inputs_embeds=embeds, pixel_values=given["pixel_values"]).logits, within(**given).logits
        )
        outside = tiny_model()
        with pytest.raises(ValueError, match=r"id \(600\) lies outside the vocabulary and so has no embedding"):
            outside(inputs_embeds=embeds, pixel_values=given["pixel_values"])


def test_ids_and_embeddings_together_are_refused(inputs):
    model = tiny_model()
    with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
        model(input_ids=inputs["input_ids"], inputs_embeds=torch.zeros(1, 3, 64))


@pytest.mark.parametrize(
    ("placeholders", "images", "complaint"),
    [
        (15, 1, "holds 15 image placeholders, but the images make 16 image tokens"),
        (16, 2, "holds 16 image placeholders, but the images make 32 image tokens"),
        (16, 0, "holds 16 image placeholders, but no images were passed"),
    ],
)
def test_unequal_counts_name_both_numbers(placeholders, images, complaint):
    model = tiny_model()
    ids = torch.tensor([[1] + [600] * placeholders + [5]])
    pixel_values = torch.zeros(images, 3, 56, 56) if images else None
    with pytest.raises(ValueError, match=complaint):
        model(input_ids=ids, pixel_values=pixel_values)


# ---- labels


def test_a_placeholder_in_the_labels_is_not_supervised(inputs):
    model = tiny_model()
    ids = inputs["input_ids"]
    with torch.no_grad():
        loss = model(**inputs, labels=ids).loss
        masked = model(**inputs, labels=ids.masked_fill(ids == 600, -100)).loss
    assert torch.equal(loss, masked)


def test_gradients_reach_the_projector_and_not_past_text_only_batches(inputs):
    model = tiny_model()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert model.model.multi_modal_projector.linear_1.weight.grad.abs().sum() > 0


# ---- other towers and language models


def test_another_language_model(processor):
    config = PaloConfig(
        vision_config=dict(TINY_VISION),
        text_config=Qwen3Config(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            vocab_size=700,
            tie_word_embeddings=True,
        ),
        image_token_index=600,
        projector_type="ldp",
    )
    model = PaloForConditionalGeneration(config).eval()
    assert model.lm_head.weight is model.get_input_embeddings().weight, "Qwen3's small models tie them"
    given = {
        "input_ids": torch.tensor([[5, 600, 600, 600, 600, 9]]),
        "pixel_values": batch(processor)["pixel_values"],
    }
    output = model.generate(**given, max_new_tokens=8, do_sample=False)
    assert output.shape == (1, 14)
    assert 600 not in output[0, 6:]


def test_another_language_model_reloads(tmp_path):
    config = tiny_config(text={"model_type": "qwen3", "head_dim": 16, "tie_word_embeddings": True})
    model = PaloForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    reloaded, info = PaloForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert type(reloaded.model.language_model).__name__ == "Qwen3Model"
    assert reloaded.lm_head.weight is reloaded.get_input_embeddings().weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, reloaded.state_dict()[name])


@pytest.mark.parametrize("projector_type", ["mlp", "ldp"])
def test_another_tower(projector_type, tmp_path):
    config = PaloConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=56,
            patch_size=14,
            vision_use_head=False,
        ),
        text_config=dict(TINY_TEXT),
        projector_type=projector_type,
    )
    assert config.vision_feature_select_strategy == "full", "SigLIP has no class token to leave out"
    model = PaloForConditionalGeneration(config).eval()
    tokens = {"mlp": 16, "ldp": 4}[projector_type]
    given = {"input_ids": torch.tensor([[1] + [600] * tokens + [7]]), "pixel_values": torch.randn(1, 3, 56, 56)}
    with torch.no_grad():
        expected = model(**given).logits
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(PaloForConditionalGeneration.from_pretrained(tmp_path)(**given).logits, expected)


def test_saved_weights_are_as_readable_as_their_config(tmp_path):
    previous = os.umask(0o002)
    try:
        tiny_model().save_pretrained(tmp_path, max_shard_size="300KB")
    finally:
        os.umask(previous)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o664}
