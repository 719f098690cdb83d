"""The files in `model_cards/`: what they say, and that they are what the code renders."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import DatasetCard, ModelCard

from transformers_palo import LANGUAGES, PaloConfig, PaloForConditionalGeneration
from transformers_palo.hub.released_cards import _MODELS, CODES, TABLE_1, cards

from .card_metadata import card_errors
from .hub_server import HubServer


FOLDER = Path(__file__).parents[1] / "model_cards"
MODELS = list(_MODELS)


def test_the_files_are_what_the_code_renders():
    """After a change: python -m transformers_palo.hub.released_cards model_cards"""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")} == cards()


@pytest.mark.parametrize("name", cards())
def test_the_hub_accepts_their_metadata(name, monkeypatch):
    """By huggingface_hub's own check, which asks a Hub: the loopback one, which knows the published specification."""
    kind = DatasetCard if "dataset" in name else ModelCard
    card = kind.load(FOLDER / name)
    assert card_errors(str(card)) == []
    with HubServer() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        card.validate()
    assert card.data.language == list(CODES)


@pytest.mark.parametrize("name", MODELS)
class TestModels:
    def test_metadata(self, name):
        data = ModelCard.load(FOLDER / f"{name}.md").data
        assert (data.pipeline_tag, data.library_name) == ("image-text-to-text", "transformers")
        assert data.to_dict()["base_model_relation"] == "finetune"
        assert data.base_model == _MODELS[name][3]
        assert data.datasets == ["MBZUAI/palo_multilingual_dataset"]
        assert data.license == ("apache-2.0" if name == "MobilePALO-1.7B" else "llama2")
        assert {example["example_title"] for example in data.widget} >= {"English", "Hindi"}

    def test_scores_are_the_papers_and_say_so(self, name):
        card = ModelCard.load(FOLDER / f"{name}.md")
        found = {result.dataset_config: result.metric_value for result in card.data.eval_results}
        assert found == dict(zip(CODES, TABLE_1[name], strict=False))
        assert {result.source_name for result in card.data.eval_results} == {"PALO paper, Table 1"}
        assert "Scores **from the paper**" in card.text
        for language in LANGUAGES:
            assert f"| {language.name} | {language.native_name} | {found[language.code]} |" in card.text

    def test_the_number_of_parameters_is_that_of_the_architecture(self, name):
        with torch.device("meta"):
            model = PaloForConditionalGeneration(PaloConfig.from_size(_MODELS[name][0]))
        assert f"| Parameters | {model.num_parameters():,} |" in (FOLDER / f"{name}.md").read_text(encoding="utf-8")

    def test_a_stranger_finds_what_decides(self, name):
        text = ModelCard.load(FOLDER / f"{name}.md").text
        for heading in ("Use", "What it is for", "Limits and risks", "Languages and scores", "Training", "Licence"):
            assert f"\n## {heading}\n" in text
        assert "section 6" in text and "section 7" in text and "@article{maaz2024palo" in text


@pytest.mark.parametrize("model", TABLE_1)
def test_table_1_is_copied_without_a_slip(model):
    """The printed means are of scores before rounding: they may differ in the last place, and by no more."""
    *scores, high, low, everything = TABLE_1[model]
    levels = [language.resource_level for language in LANGUAGES]
    for mean, level in ((high, "high"), (low, "low"), (everything, None)):
        own = [score for score, of in zip(scores, levels, strict=True) if level in (None, of)]
        assert sum(own) / len(own) == pytest.approx(mean, abs=0.11)


def test_no_card_says_none():
    assert not any("None" in card.split("\n---\n", 1)[1] for card in cards().values())
