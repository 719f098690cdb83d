"""Auto classes and the pipeline, as a user of Transformers meets them."""

import importlib
import subprocess
import sys

import pytest
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
    TextIteratorStreamer,
    pipeline,
)
from transformers.models.auto import configuration_auto

import transformers_palo
from transformers_palo import PaloConfig, PaloForConditionalGeneration, PaloModel, PaloProcessor, register
from transformers_palo.models.palo import auto_palo

from .conftest import GOLDEN, chat, golden_image, tiny_config, tiny_model


def run(code: str) -> str:
    """In an interpreter of its own."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture(scope="module")
def saved(tmp_path_factory, processor):
    """A native folder: model and processor."""
    folder = tmp_path_factory.mktemp("saved")
    tiny_model().save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


# ---- registration


def test_every_auto_class(saved):
    assert isinstance(AutoConfig.from_pretrained(saved), PaloConfig)
    assert isinstance(AutoProcessor.from_pretrained(saved), PaloProcessor)
    assert isinstance(AutoModel.from_pretrained(saved), PaloModel)
    for auto in (AutoModelForImageTextToText, AutoModelForMultimodalLM, transformers_palo.AutoModelForVision2Seq):
        assert isinstance(auto.from_pretrained(saved), PaloForConditionalGeneration)
    assert isinstance(AutoModelForImageTextToText.from_config(tiny_config()), PaloForConditionalGeneration)


def test_registering_twice_changes_nothing(saved):
    assert register()
    assert register()
    importlib.reload(auto_palo).register()
    register()
    assert type(AutoModelForImageTextToText.from_pretrained(saved)) is PaloForConditionalGeneration


def test_stepping_aside_for_a_palo_of_transformers_own(monkeypatch):
    monkeypatch.setitem(configuration_auto.CONFIG_MAPPING_NAMES, "palo", "PaloConfig")
    registered = []
    monkeypatch.setattr(AutoConfig, "register", lambda *args, **kwargs: registered.append(args))
    assert register() is False
    assert not registered


def test_what_vision2seq_was_called():
    """Transformers 5 removed the name; code that imports it keeps working."""
    assert (
        run(
            "import transformers_palo\n"
            "from transformers import AutoModelForVision2Seq as a\n"
            "from transformers_palo import AutoModelForVision2Seq as b\n"
            "from transformers.models.auto import AutoModelForVision2Seq as c\n"
            "import transformers\n"
            "print(a is b is c is transformers.AutoModelForVision2Seq, a.__name__)"
        )
        == "True AutoModelForVision2Seq"
    )


def test_vision2seq_in_a_module_imported_before():
    """`import transformers` first, and its processing utilities replacing the module later, is what users' code does."""
    assert (
        run(
            "import transformers as before\n"
            "import transformers_palo\n"
            "import transformers as after\n"
            "print(before.AutoModelForVision2Seq is after.AutoModelForVision2Seq is transformers_palo.AutoModelForVision2Seq)"
        )
        == "True"
    )


def test_vision2seq_loads_a_model(saved):
    from transformers import AutoModelForVision2Seq

    assert isinstance(AutoModelForVision2Seq.from_pretrained(saved), PaloForConditionalGeneration)
    assert issubclass(AutoModelForVision2Seq, AutoModelForImageTextToText)


# ---- pipeline


@pytest.fixture(scope="module")
def pipe(saved):
    return pipeline("image-text-to-text", model=saved)


QUESTION = "What is the colour of the boat?"


def greedy(pipe, conversation) -> str:
    """The answer without the pipeline."""
    inputs = pipe.processor.apply_chat_template(
        conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    output = pipe.model.generate(**inputs, max_new_tokens=8, do_sample=False)
    return pipe.processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_pipeline_of_a_chat(pipe):
    conversation = chat(QUESTION, golden_image("landscape"))
    (output,) = pipe(text=conversation, max_new_tokens=8)
    assert output["generated_text"][:-1] == conversation
    assert output["generated_text"][-1] == {"role": "assistant", "content": greedy(pipe, conversation)}


def test_pipeline_of_a_chat_new_text_only(pipe):
    conversation = chat(QUESTION, golden_image("landscape"))
    (output,) = pipe(text=conversation, max_new_tokens=8, return_full_text=False)
    assert output["generated_text"] == greedy(pipe, conversation)


def test_pipeline_of_an_image_and_a_plain_string(pipe):
    """In a plain string the placeholder is written out, and no chat template is applied."""
    prompt = pipe.processor.apply_chat_template(chat(QUESTION, golden_image("landscape")), add_generation_prompt=True)
    assert "<image>" in prompt
    (output,) = pipe(images=golden_image("landscape"), text=prompt, max_new_tokens=8, return_full_text=False)
    assert output["generated_text"] == greedy(pipe, chat(QUESTION, golden_image("landscape")))


def test_pipeline_of_text_alone(pipe):
    (output,) = pipe(text=[{"role": "user", "content": "Who are you?"}], max_new_tokens=8, return_full_text=False)
    assert output["generated_text"] == greedy(pipe, [{"role": "user", "content": "Who are you?"}])


CONVERSATIONS = [
    lambda: chat(QUESTION, golden_image("landscape")),
    lambda: chat("¿De qué color es el barco, por favor, y cuántos pájaros hay?", golden_image("portrait")),
    lambda: chat("何?", golden_image("square"), golden_image("big")),
]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_pipeline_in_batches(pipe, batch_size):
    conversations = [build() for build in CONVERSATIONS]
    outputs = pipe(text=conversations, batch_size=batch_size, max_new_tokens=8, return_full_text=False)
    answers = [output[0]["generated_text"] for output in outputs]
    assert answers == [greedy(pipe, conversation) for conversation in conversations]


def test_pipeline_of_a_list_of_images_and_strings(pipe):
    prompts = [pipe.processor.apply_chat_template(build(), add_generation_prompt=True) for build in CONVERSATIONS[:2]]
    outputs = pipe(
        images=[golden_image("landscape"), golden_image("portrait")],
        text=prompts,
        max_new_tokens=8,
        return_full_text=False,
    )
    assert [output["generated_text"] for output in outputs] == [greedy(pipe, build()) for build in CONVERSATIONS[:2]]


def test_pipeline_streams(pipe):
    conversation = chat(QUESTION, golden_image("landscape"))
    streamer = TextIteratorStreamer(pipe.processor.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=10)
    pipe(text=conversation, generate_kwargs={"streamer": streamer}, max_new_tokens=8)
    assert "".join(streamer) == greedy(pipe, conversation)


def test_pipeline_with_another_precision(saved):
    pipe = pipeline("image-text-to-text", model=saved, dtype=torch.bfloat16)
    (output,) = pipe(text=chat(QUESTION, golden_image("landscape")), max_new_tokens=4, return_full_text=False)
    assert isinstance(output["generated_text"], str)


def test_pipeline_of_a_path_in_a_chat(pipe):
    path = str(GOLDEN / "public_shared" / "images" / "landscape.png")
    by_path = [{"role": "user", "content": [{"type": "image", "path": path}, {"type": "text", "text": QUESTION}]}]
    (output,) = pipe(text=by_path, max_new_tokens=8, return_full_text=False)
    assert output["generated_text"] == greedy(pipe, chat(QUESTION, golden_image("landscape")))


def test_unequal_counts_in_a_pipeline(pipe):
    with pytest.raises(ValueError, match="Found 0 <image> tokens and 1 images"):
        pipe(images=golden_image("landscape"), text="What?")


def test_the_name_of_the_pipeline_task():
    assert transformers.pipelines.PIPELINE_REGISTRY.check_task("image-text-to-text")
