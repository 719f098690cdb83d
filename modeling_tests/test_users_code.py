"""Code as users write it: LLaVA's documentation with PALO's names, PEFT, state dicts, threads, servers."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    TextIteratorStreamer,
)

from transformers_palo import PaloConfig, PaloForConditionalGeneration, PaloProcessor

from .conftest import SHARED, chat, golden_image, tiny_model


PATH = str(SHARED / "images" / "landscape.png")


@pytest.fixture(scope="module", params=["mlp", "ldp"])
def folder(request, tmp_path_factory, processor, ldp_processor):
    """A native folder as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny_model(request.param).save_pretrained(folder)
    (processor if request.param == "mlp" else ldp_processor).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(folder):
    return PaloForConditionalGeneration.from_pretrained(folder)


@pytest.fixture(scope="module")
def palo_processor(folder):
    return AutoProcessor.from_pretrained(folder)


@pytest.fixture
def inputs(palo_processor):
    return palo_processor.apply_chat_template(
        chat("What is it?", golden_image("landscape")),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def assert_same(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-5) -> None:
    """Equal but for the order of sums: weights mapped from a file lie at other addresses, and convolutions notice."""
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


# ---- the snippets of LLaVA's documentation


def test_a_model_from_two_configurations():
    vision_config = CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    text_config = LlamaConfig(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4)
    configuration = PaloConfig(vision_config=vision_config, text_config=text_config)
    model = PaloForConditionalGeneration(configuration)
    assert model.config.text_config.hidden_size == 64
    assert model.config.vision_config.hidden_size == 32


def test_single_image_inference(folder):
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16, device_map="cpu")
    conversation = [
        {
            "role": "user",
            "content": [
                {"type": "image", "url": PATH},
                {"type": "text", "text": "What is shown in this image?"},
            ],
        },
    ]
    inputs = processor.apply_chat_template(
        conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    ).to(model.device, torch.bfloat16)
    generate_ids = model.generate(**inputs, max_new_tokens=5)
    (text,) = processor.batch_decode(generate_ids, skip_special_tokens=True)
    assert text.count("USER:") == 1
    assert "What is shown in this image? ASSISTANT:" in text


def test_batched_inference(folder):
    processor = AutoProcessor.from_pretrained(folder, use_fast=True)
    model = PaloForConditionalGeneration.from_pretrained(folder)
    conversations = [
        [{"role": "user", "content": [{"type": "image", "url": PATH}, {"type": "text", "text": question}]}]
        for question in ("What is shown in this image?", "Why?")
    ]
    inputs = processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        padding=True,
        padding_side="left",
        return_tensors="pt",
    ).to(model.device)
    generate_ids = model.generate(**inputs, max_new_tokens=5)
    assert len(processor.batch_decode(generate_ids, skip_special_tokens=True)) == 2


def test_a_prompt_written_by_hand(folder):
    processor = AutoProcessor.from_pretrained(folder)
    model = PaloForConditionalGeneration.from_pretrained(folder)
    prompt = "USER: <image>\nWhat's the content of the image? ASSISTANT:"
    inputs = processor(images=golden_image("landscape"), text=prompt, return_tensors="pt")
    generate_ids = model.generate(**inputs, max_new_tokens=5)
    (text,) = processor.batch_decode(generate_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert text.startswith("USER:")
    assert "What's the content of the image? ASSISTANT:" in text


def test_settings_of_the_processor_by_hand(folder):
    """The lines LLaVA's documentation has users write for checkpoints that were saved without them."""
    processor = AutoProcessor.from_pretrained(folder)
    model = PaloForConditionalGeneration.from_pretrained(folder)
    before = processor(images=golden_image("landscape"), text="<image>")["input_ids"]
    processor.patch_size = model.config.vision_config.patch_size
    processor.vision_feature_select_strategy = model.config.vision_feature_select_strategy
    processor.tokenizer.padding_side = "left"
    assert processor(images=golden_image("landscape"), text="<image>")["input_ids"] == before


def test_image_features(model, inputs):
    features = model.get_image_features(pixel_values=inputs["pixel_values"])
    features = getattr(features, "pooler_output", features)
    assert features[0].shape == (model.config.image_seq_length, model.config.text_config.hidden_size)


def test_training_step(model, inputs):
    labels = inputs["input_ids"].clone()
    labels[labels == model.config.image_token_index] = -100
    outputs = model(**inputs, labels=labels)
    assert outputs.loss.item() > 0
    assert outputs.logits.shape[:2] == labels.shape


@pytest.mark.parametrize(
    ("quantization_config", "linear"),
    [
        (BitsAndBytesConfig(load_in_8bit=True), "Linear8bitLt"),
        (BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32), "Linear4bit"),
    ],
    ids=["8 bit", "4 bit"],
)
@pytest.mark.parametrize("projector_type", ["mlp", "ldp"])
def test_a_quantised_model_answers(request, tmp_path, projector_type, quantization_config, linear):
    """The linears of the language model alone: tower, projector and head keep their precision."""
    # 4-bit kernels for the CPU take blocks of 64 only.
    tiny_model(projector_type, text={"intermediate_size": 128}).save_pretrained(tmp_path)
    processor = request.getfixturevalue("processor" if projector_type == "mlp" else "ldp_processor")
    inputs = processor(text="<image>\nWhat is it?", images=golden_image("landscape"), return_tensors="pt")
    model = PaloForConditionalGeneration.from_pretrained(
        tmp_path, quantization_config=quantization_config, device_map="cpu", dtype=torch.float32
    )
    kinds = {
        name: type(module).__name__ for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)
    }
    for name, kind in kinds.items():
        assert kind == (linear if ".language_model." in name else "Linear"), name
    assert linear in kinds.values()
    output = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert output.shape[1] > inputs["input_ids"].shape[1]


# ---- PEFT


def lora() -> LoraConfig:
    """LoRA on the language model alone, as PALO was tuned; the projector trains in full."""
    return LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=r".*language_model.*\.(q|k|v|o|gate|up|down)_proj",
        modules_to_save=["multi_modal_projector"],
        init_lora_weights=False,
    )


def test_lora_trains_saves_and_reloads(folder, inputs, tmp_path):
    model = get_peft_model(PaloForConditionalGeneration.from_pretrained(folder), lora())
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all("lora_" in name or "multi_modal_projector" in name for name in trained)
    assert not any("vision_tower" in name for name in trained)
    with torch.no_grad():
        for parameter in model.base_model.model.model.multi_modal_projector.modules_to_save.parameters():
            parameter.add_(0.01)
    model.eval()
    expected = model(**inputs).logits
    model.save_pretrained(tmp_path / "adapter")

    reloaded = PeftModel.from_pretrained(PaloForConditionalGeneration.from_pretrained(folder), tmp_path / "adapter")
    assert_same(reloaded.eval()(**inputs).logits, expected)

    merged = reloaded.merge_and_unload()
    assert type(merged) is PaloForConditionalGeneration
    assert_same(merged(**inputs).logits, expected, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    again = PaloForConditionalGeneration.from_pretrained(tmp_path / "merged").eval()
    assert_same(again(**inputs).logits, merged(**inputs).logits)


def test_load_adapter(folder, inputs, tmp_path):
    """Transformers' own door to PEFT: `model.load_adapter`."""
    trained = get_peft_model(PaloForConditionalGeneration.from_pretrained(folder), lora())
    trained.save_pretrained(tmp_path)
    expected = trained.eval()(**inputs).logits

    model = PaloForConditionalGeneration.from_pretrained(folder).eval()
    base = model(**inputs).logits
    model.load_adapter(str(tmp_path))
    assert_same(model(**inputs).logits, expected)
    assert (expected - base).abs().max() > 0.01
    model.disable_adapters()
    assert_same(model(**inputs).logits, base)


def test_an_adapter_folder_loads_by_itself(folder, inputs, tmp_path):
    """`from_pretrained` of a folder with nothing but an adapter finds the base model in the adapter's config."""
    trained = get_peft_model(PaloForConditionalGeneration.from_pretrained(folder), lora())
    trained.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(str(tmp_path)).eval()
    assert_same(loaded(**inputs).logits, trained.eval()(**inputs).logits)


# ---- PyTorch


def test_state_dict_through_torch_save(folder, model, inputs, tmp_path):
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = PaloForConditionalGeneration(PaloConfig.from_pretrained(folder)).eval()
    assert str(other.load_state_dict(torch.load(tmp_path / "weights.pt"))) == "<All keys matched successfully>"
    assert_same(other(**inputs).logits, model(**inputs).logits)


def test_the_processor_in_a_data_loaders_workers(palo_processor):
    """Workers of another start method than fork unpickle it in a new interpreter."""
    images = torch.utils.data.DataLoader(
        [golden_image("landscape")] * 4,
        batch_size=2,
        num_workers=1,
        multiprocessing_context="spawn",
        collate_fn=ProcessPair(palo_processor),
    )
    shapes = [tuple(batch["pixel_values"].shape) for batch in images]
    assert shapes == [(2, 3, 56, 56)] * 2


class ProcessPair:
    """A collator that holds a processor."""

    def __init__(self, processor: PaloProcessor) -> None:
        self.processor = processor

    def __call__(self, images):
        return self.processor(images=images, text=["<image>\nWhat?"] * len(images), return_tensors="pt")


def test_two_threads_generate_on_one_model(model, palo_processor):
    questions = ["What is it?", "¿Qué es?", "Who?", "何ですか?"] * 2
    picture = golden_image("landscape")

    def answer(question):
        inputs = palo_processor.apply_chat_template(
            chat(question, picture), add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        return model.generate(**inputs, max_new_tokens=8, do_sample=False).tolist()

    alone = [answer(question) for question in questions]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(answer, questions)) == alone


def test_streaming_from_another_thread(model, palo_processor, inputs):
    streamer = TextIteratorStreamer(palo_processor.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=30)
    thread = Thread(target=model.generate, kwargs={**inputs, "streamer": streamer, "max_new_tokens": 8})
    thread.start()
    streamed = "".join(streamer)
    thread.join()
    output = model.generate(**inputs, max_new_tokens=8)
    assert streamed == palo_processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_a_generation_config_of_ones_own(model, inputs, tmp_path):
    GenerationConfig(max_new_tokens=3, do_sample=False).save_pretrained(tmp_path)
    config = GenerationConfig.from_pretrained(tmp_path)
    output = model.generate(**inputs, generation_config=config)
    assert output.shape[1] <= inputs["input_ids"].shape[1] + 3


# ---- what reads `architectures`


def test_classes_can_be_imported_from_transformers():
    """TRL's trainers given a path, `transformers serve` and Accelerate look class names up in `transformers`."""
    code = (
        "import transformers_palo, transformers\n"
        "names = ['PaloConfig', 'PaloModel', 'PaloForConditionalGeneration', 'PaloProcessor', 'PaloTokenizer']\n"
        "print(all(getattr(transformers, name) is getattr(transformers_palo, name) for name in names))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "True"
