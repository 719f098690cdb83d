"""What the tests share: the recorded references, one tiny model, one tokenizer."""

import json
import os
import sys
from pathlib import Path
from typing import Any


os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, set_seed
from transformers.utils import logging

import transformers_palo
from transformers_palo import PaloConfig, PaloForConditionalGeneration, PaloProcessor


logging.disable_progress_bar()

GOLDEN = Path(__file__).parent / "fixtures" / "golden"
SHARED = GOLDEN / "public_shared"

TINY_VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
}
TINY_TEXT = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 600,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def golden_image(name: str) -> Image.Image:
    return Image.open(SHARED / "images" / f"{name}.png").convert("RGB")


def tiny_config(
    projector_type: str = "mlp", *, text: dict | None = None, vision: dict | None = None, **fields: Any
) -> PaloConfig:
    return PaloConfig(
        vision_config={**TINY_VISION, **(vision or {})},
        text_config={**TINY_TEXT, **(text or {})},
        projector_type=projector_type,
        **fields,
    )


def tiny_model(projector_type: str = "mlp", **fields: Any) -> PaloForConditionalGeneration:
    """Weights larger than at initialisation, so that logits differ and greedy decoding does not loop."""
    set_seed(0)
    model = PaloForConditionalGeneration(tiny_config(projector_type, **fields))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name and parameter.ndim > 1:
                parameter.normal_(std=0.15)
    return model.eval()


@pytest.fixture(scope="session")
def processor() -> PaloProcessor:
    """Processor of a released folder: 56-pixel images, 16 tokens each, vocabulary of 600."""
    return AutoProcessor.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint")


@pytest.fixture(scope="session")
def ldp_processor() -> PaloProcessor:
    return AutoProcessor.from_pretrained(GOLDEN / "public_ldpnet" / "checkpoint")


@pytest.fixture
def image() -> Image.Image:
    return golden_image("landscape")


@pytest.fixture
def here(monkeypatch, capsys):
    """In this process, which saves the seconds of starting one: (exit code, standard output, standard error)."""

    from transformers_palo.cli.main import main

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["palo", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return (stop.value.code or 0, *capsys.readouterr())

    return run


def chat(question: str, *images: Image.Image) -> list[dict]:
    """One user turn with images."""
    content = [{"type": "image", "image": image} for image in images] + [{"type": "text", "text": question}]
    return [{"role": "user", "content": content}]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    set_seed(0)


__all__ = ["GOLDEN", "SHARED", "chat", "golden_image", "read_json", "tiny_config", "tiny_model", "transformers_palo"]
