"""The card of a model, and the results file that it reads."""

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, hf_hub_url
from hypothesis import given
from hypothesis import strategies as st

from transformers_palo import LANGUAGES, PaloConfig
from transformers_palo.hub.model_card import (
    THIS_FOLDER,
    LicenseTerm,
    PaloModelCard,
    TrainingData,
    WidgetExample,
    architecture_facts,
    with_results,
    with_use,
)
from transformers_palo.hub.results import read_results

from .conftest import tiny_config


CODES = [language.code for language in LANGUAGES]


def results(**languages: dict) -> dict:
    row = {"score": 57.6, "by_category": {"conv": 60.0}, "fidelity": 0.95, "questions": 60, "judged": 59}
    return {
        "format_version": 1,
        "model": "user/palo-tiny",
        "created": "2026-11-21",
        "benchmark": {"name": "LLaVA-Bench", "hub_id": "user/bench", "sha256": "ab" * 32},
        "judge": {"model": "a-judge", "prompt_sha256": "cd" * 32, "temperature": 0.2},
        "generation": {"do_sample": False, "max_new_tokens": 1024},
        "languages": {"hi": row, "bn": {**row, "score": None, "judged": 0}, **languages},
        "averages": {"high": None, "low": 57.6, "all": 57.6},
        "versions": {"transformers": "5.23.0"},
    }


def a_card(**fields) -> PaloModelCard:
    return PaloModelCard(**{"name": "palo-tiny", "summary": "A small PALO.", **fields})


class TestMetadata:
    def test_says_what_the_hub_needs_to_list_the_model(self):
        data = a_card(base_model="lmsys/vicuna-7b-v1.5", base_model_relation="finetune", license="llama2").metadata()
        assert data.pipeline_tag == "image-text-to-text"
        assert data.library_name == "transformers"
        assert data.language == CODES
        assert {"palo", "transformers-palo"} <= set(data.tags)
        assert data.to_dict()["base_model"] == "lmsys/vicuna-7b-v1.5"
        assert data.to_dict()["base_model_relation"] == "finetune"
        assert data.license == "llama2"

    def test_names_only_data_sets_that_are_on_the_hub(self):
        data = [TrainingData("ours", records=3), TrainingData("theirs", hub_id="user/theirs")]
        assert a_card(data=data).metadata().datasets == ["user/theirs"]

    def test_results_of_an_evaluation_are_two_metrics_a_language(self):
        card = ModelCard(str(a_card(results=results()).to_card()))
        found = {(r.dataset_config, r.metric_type): r.metric_value for r in card.data.eval_results}
        # Nothing could be judged in Bengali: no score is made up for it.
        assert found == {
            ("hi", "score"): 57.6,
            ("hi", "language_fidelity"): 0.95,
            ("bn", "language_fidelity"): 0.95,
        }
        assert card.data.model_name == "palo-tiny"

    def test_widget_examples_carry_picture_question_and_answer(self):
        examples = [WidgetExample("Hindi", "examples/a.png", "यह क्या है?", "एक नाव"), WidgetExample("x", "b.png", "?")]
        assert a_card(widget=examples).metadata().widget == [
            {
                "example_title": "Hindi",
                "src": "examples/a.png",
                "text": "यह क्या है?",
                "output": {"text": "एक नाव"},
            },
            {"example_title": "x", "src": "b.png", "text": "?"},
        ]

    def test_a_relation_needs_a_base_model(self):
        with pytest.raises(ValueError, match="there is no base_model"):
            a_card(base_model_relation="adapter").to_card()

    def test_languages_are_of_the_ten(self):
        with pytest.raises(ValueError, match="Unknown language 'xx'"):
            a_card(languages=["en", "xx"]).to_card()

    def test_what_is_written_is_read_back(self, tmp_path):
        card = a_card(results=results(), license="apache-2.0").to_card()
        card.save(tmp_path / "README.md")
        assert str(ModelCard.load(tmp_path / "README.md")) == str(card)


class TestText:
    def test_tells_only_what_it_was_told(self):
        text = a_card().to_card().text
        for heading in ("## Training", "## Licence", "## What it is for"):
            assert heading not in text
        assert "No scores have been measured" in text
        assert "None" not in text

    def test_records_stand_in_the_papers_order(self):
        text = a_card(records_by_language={"ur": 15, "hi": 1500, "en": 3}).to_card().text
        rows = [
            line for line in text.splitlines() if line.startswith("| ") and line.split("|")[1].strip() != "Language"
        ]
        assert rows == ["| English | 3 |", "| Hindi | 1,500 |", "| Urdu | 15 |"]

    def test_an_adapter_says_what_it_needs(self):
        text = a_card(base_model="user/palo", base_model_relation="adapter").to_card().text
        assert "`peft`" in text and "https://huggingface.co/user/palo" in text

    def test_licences_of_the_parts(self):
        chain = [LicenseTerm("Weights", "Llama 2", "https://x.test/llama"), LicenseTerm("Code", "Apache-2.0")]
        text = a_card(license="llama2", license_chain=chain).to_card().text
        assert "| Weights | [Llama 2](https://x.test/llama) |" in text and "| Code | Apache-2.0 |" in text

    def test_scores_stand_beside_fidelity_and_how_many_were_judged(self):
        text = a_card(results=results()).to_card().text
        assert "| Hindi | 57.6 | 95.0 % | 59 of 60 |" in text
        assert "| Bengali | – | 95.0 % | 0 of 60 |" in text
        assert "cd" * 32 in text and "a-judge" in text and "transformers 5.23.0" in text

    @given(st.text(max_size=30))
    def test_no_value_breaks_its_table(self, value):
        lines = a_card(recipe={"a setting": value, "another": 1}).to_card().text.splitlines()
        (row,) = [line for line in lines if line.startswith("| a setting |")]
        assert row.endswith("|") and row.replace("\\|", "").count("|") == 3
        assert lines[lines.index(row) + 1] == "| another | 1 |"

    def test_numbers_of_the_model_come_from_its_configuration(self):
        facts = architecture_facts(PaloConfig.from_size("1.7b"), num_parameters=1_686_742_016)
        assert facts["Parameters"] == "1,686,742,016"
        assert facts["Projector"] == "ldp, 144 tokens a picture"
        assert "336 pixels" in facts["Vision tower"]
        assert "mlp of 2 layers, 16 tokens" in architecture_facts(tiny_config())["Projector"]


class TestRewriting:
    def test_a_published_card_names_the_repository(self):
        card = a_card(example_question='What is "this"?')
        text = with_use(str(card.to_card()), "user/palo-tiny", with_code=False)
        assert THIS_FOLDER not in text
        assert 'model="user/palo-tiny"' in text and '"What is \\"this\\"?"' in text
        assert "import transformers_palo" in text and "trust_remote_code" not in text

    def test_a_picture_of_the_folder_is_shown_from_where_it_is(self):
        text = str(a_card(example_image="examples/a.png").to_card())
        assert f'"path": "{THIS_FOLDER}/examples/a.png"' in text
        published = with_use(text, "user/palo-tiny", with_code=False)
        url = hf_hub_url("user/palo-tiny", "examples/a.png")
        assert f'"url": "{url}"' in published and f"palo ask {url} " in published

    def test_with_code_no_package_is_imported(self):
        text = with_use(str(a_card().to_card()), "user/palo-tiny", with_code=True)
        assert "import transformers_palo" not in text and "trust_remote_code=True" in text
        # And back again.
        assert with_use(text, THIS_FOLDER, with_code=False) == str(a_card().to_card())

    def test_later_results_replace_earlier_ones(self):
        first = str(a_card(results=results()).to_card())
        row = {"score": 61.0, "by_category": {}, "fidelity": 1.0, "questions": 60, "judged": 60}
        second = with_results(first, results(hi=row))
        assert "| Hindi | 61.0 | 100.0 % | 60 of 60 |" in second and "| Hindi | 57.6" not in second
        assert with_results(second, results()) == first

    def test_measured_scores_replace_the_sentence_that_there_are_none(self):
        assert "No scores" not in with_results(str(a_card().to_card()), results())

    @given(st.text(max_size=30) | st.just('"} --> {'))
    def test_any_question_survives(self, question):
        card = str(a_card(example_question=question).to_card())
        published = with_use(card, "user/palo", with_code=True)
        assert with_use(published, THIS_FOLDER, with_code=False) == card

    @pytest.mark.parametrize("comment", ['{"image": "a"}', '{"image": "a", "question": "b", "more": 1}', "{x}"])
    def test_a_damaged_comment(self, comment):
        with pytest.raises(ValueError, match=r"README.md: expected a comment <!-- palo:use"):
            with_use(f"<!-- palo:use {comment} --> <!-- /palo:use -->", "user/palo", with_code=False)

    def test_a_branch_is_named_wherever_the_model_is(self):
        card = str(a_card(example_image="a.png").to_card())
        text = with_use(card, "user/palo", with_code=True, revision="v2")
        assert 'model="user/palo", revision="v2", trust' in text and "user/palo/resolve/v2/a.png" in text
        text = with_use(card, "user/palo", with_code=False, revision="v2")
        assert 'model="user/palo", revision="v2", dtype' in text and "palo ask" not in text

    def test_says_how_to_install_the_package(self):
        project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
        name = re.search(r'^name = "(.+)"', project, flags=re.MULTILINE)[1]
        assert f"pip install {name}\n" in str(a_card().to_card())

    def test_a_card_that_somebody_wrote_keeps_its_text(self):
        text = "---\nlicense: mit\n---\n\n# Mine\n\nHello.\n"
        assert with_use(text, "user/palo", with_code=True) == text
        assert with_results(text, results()).startswith(text)


class TestResultsFile:
    def write(self, tmp_path, content) -> object:
        path = tmp_path / "evaluation_results.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def test_is_read_back(self, tmp_path):
        assert read_results(self.write(tmp_path, results())) == results()

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"format_version": 2}, "expected evaluation results with format_version 1, found 2"),
            ({"languages": {"xx": {}}}, "Unknown language 'xx'"),
            ({"languages": ["hi"]}, "expected an object for languages, found"),
            ({"languages": {"hi": 3}}, "expected an object for hi, found 3"),
            ({"benchmark": "LLaVA-Bench"}, "expected an object for benchmark, found 'LLaVA-Bench'"),
            ({"judge": {"model": "a", "prompt_sha256": "b"}}, "the results for judge lack temperature"),
            ({"averages": {"high": 1.0}}, "the results for averages lack all, low"),
            ({"averages": None}, "expected an object for averages, found None"),
            ({"averages": {"high": "1", "low": None, "all": None}}, "average high is '1', expected a number"),
            ({"generation": "greedy"}, "expected an object for generation"),
            ({"languages": {"hi": {"score": 3}}}, "the results for hi lack by_category, fidelity"),
        ],
    )
    def test_what_it_must_not_say(self, tmp_path, change, complaint):
        with pytest.raises(ValueError, match=complaint):
            read_results(self.write(tmp_path, results() | change))

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"fidelity": 95.0}, "fidelity for hi is 95.0, expected a share"),
            ({"score": -1}, "score for hi is -1"),
            ({"score": "57.6"}, "score for hi is '57.6', expected a number"),
            ({"fidelity": None}, "fidelity for hi is None, expected a number"),
            ({"judged": 61}, "61 of 60 questions"),
        ],
    )
    def test_rows_that_cannot_be(self, tmp_path, change, complaint):
        content = results()
        content["languages"]["hi"].update(change)
        with pytest.raises(ValueError, match=complaint):
            read_results(self.write(tmp_path, content))

    @pytest.mark.parametrize("content", ["not JSON", "[1]", "{}"])
    def test_other_files(self, tmp_path, content):
        with pytest.raises(ValueError, match="expected evaluation results"):
            read_results(self.write(tmp_path, content))

    def test_a_missing_key_is_named(self, tmp_path):
        content = results()
        del content["judge"]
        with pytest.raises(ValueError, match="lack judge"):
            read_results(self.write(tmp_path, content))
