"""The quickstart: its sentences, its pictures, its marks, and a run that is small but whole."""

import json
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import pipeline

from transformers_palo import LANGUAGES, PaloProcessor
from transformers_palo.hub.publish import prepare
from transformers_palo.language_id import detect_language, script_counts
from transformers_palo.quickstart.canvases import (
    CELL,
    GRID,
    SIDE,
    draw_canvas,
    draw_practice_sheet,
    load_scans,
    split_scans,
)
from transformers_palo.quickstart.conversations import (
    Question,
    caption,
    draw_questions,
    held_out_questions,
    prompt_chat,
    typed_variants,
)
from transformers_palo.quickstart.examination import (
    MAX_NEW_TOKENS,
    Answered,
    score_by_language,
    shortfalls,
)
from transformers_palo.quickstart.model import small_config, train_tokenizer
from transformers_palo.quickstart.phrases import (
    DIGITS_ON_CANVAS,
    KINDS,
    PHRASES,
    answer_text,
    correct_number,
    numbers_in,
)
from transformers_palo.quickstart.run import Plan, run_quickstart
from transformers_palo.quickstart.tower import tower_config

from .card_metadata import card_errors


PROJECT = Path(__file__).parents[1]
CODES = [language.code for language in LANGUAGES]
SCANS = load_scans()
digits_of = {
    kind: st.sampled_from(DIGITS_ON_CANVAS[kind]).flatmap(
        lambda count: st.tuples(*[st.integers(0, 9) for _ in range(count)])
    )
    for kind in KINDS
}


class TestSentences:
    def test_every_language_has_every_kind_and_nothing_else(self):
        assert set(PHRASES) == set(CODES)
        for kinds in PHRASES.values():
            assert set(kinds) == set(KINDS)

    @pytest.mark.parametrize("code", CODES)
    def test_wordings_differ(self, code):
        wordings = [wording for phrasing in PHRASES[code].values() for wording in phrasing.questions]
        assert len(set(wordings)) == len(wordings) == 3 * len(KINDS)

    @pytest.mark.parametrize("code", CODES)
    @pytest.mark.parametrize("kind", KINDS)
    def test_questions_and_answers_are_in_their_language(self, code, kind):
        digits = (7, 5, 1)[: max(DIGITS_ON_CANVAS[kind])]
        for text in [*PHRASES[code][kind].questions, answer_text(code, kind, digits)]:
            assert detect_language(text).code == code, text

    @pytest.mark.parametrize("code", CODES)
    def test_no_letter_of_a_foreign_script(self, code):
        allowed = {"zh": {"Hans"}, "ja": {"Jpan", "Hans"}}
        text = "".join(w for p in PHRASES[code].values() for w in [*p.questions, p.answer.format(n=1, a=1, b=1)])
        script = next(language.script for language in LANGUAGES if language.code == code)
        assert set(script_counts(text)) <= allowed.get(code, {script})

    @pytest.mark.parametrize("kind", KINDS)
    @given(data=st.data())
    def test_an_answer_states_its_number_last(self, kind, data):
        digits = data.draw(digits_of[kind])
        if kind == "larger" and digits[0] == digits[1]:
            return
        for code in CODES:
            numbers = numbers_in(answer_text(code, kind, digits))
            assert numbers[-1] == correct_number(kind, digits)
            assert numbers[:-1] == (digits if kind == "sum" else ())

    @pytest.mark.parametrize(
        ("kind", "digits", "number"),
        [
            ("which", (4,), 4),
            ("left", (4, 2, 9), 4),
            ("right", (4, 2, 9), 9),
            ("larger", (4, 8), 8),
            ("sum", (9, 8), 17),
        ],
    )
    def test_the_number_asked_for(self, kind, digits, number):
        assert correct_number(kind, digits) == number

    def test_one_digit_is_counted_in_the_singular(self):
        assert answer_text("en", "count", (5,)) == "There is 1 digit in the picture."
        assert answer_text("en", "count", (5, 5)) == "There are 2 digits in the picture."
        assert answer_text("ru", "count", (5,)) == "На картинке 1 цифра."

    def test_questions_without_a_single_answer_are_refused(self):
        with pytest.raises(ValueError, match="two different numbers, found 3 twice"):
            correct_number("larger", (3, 3))
        with pytest.raises(ValueError, match=r"needs .* digits, found 3"):
            correct_number("sum", (1, 2, 3))

    def test_captions(self):
        assert caption((7,)) == "The only digit is 7."
        assert caption((3, 7)) == "On the left is 3, on the right is 7."
        assert caption((3, 7, 1)) == "On the left is 3, in the middle is 7, on the right is 1."


class TestCanvases:
    def test_scans_to_train_on_and_to_judge_by_are_apart(self):
        train, held_out = split_scans(SCANS, 0.15, seed=0)
        indices = [scan.index for scan in train + held_out]
        assert sorted(indices) == list(range(1797))
        assert len(held_out) == 269
        assert {scan.digit for scan in held_out} == set(range(10))

    @pytest.mark.parametrize("share", [0, 1, -0.5, 2])
    def test_a_share_outside_zero_and_one_is_refused(self, share):
        with pytest.raises(ValueError, match=r"between 0 and 1"):
            split_scans(SCANS, share, seed=0)

    @given(st.integers(0, 2**32), st.integers(1, 3))
    def test_digits_stand_from_left_to_right_in_columns_of_their_own(self, seed, count):
        canvas = draw_canvas(SCANS, count, np.random.default_rng(seed))
        columns = [cell % GRID for cell in canvas.cells]
        assert columns == sorted(set(columns))
        assert canvas.digits == tuple(SCANS[index].digit for index in canvas.scans)
        assert canvas.image.mode == "RGB" and canvas.image.size == (SIDE, SIDE)
        ink = np.asarray(canvas.ink)
        for cell in canvas.cells:
            row, column = divmod(cell, GRID)
            assert ink[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL].max() > 128

    def test_practice_sheets_fill_any_cells(self):
        rng = np.random.default_rng(0)
        sheets = [draw_practice_sheet(SCANS, rng) for _ in range(50)]
        assert {len(sheet.cells) for sheet in sheets} == set(range(1, GRID * GRID + 1))
        assert all(len(set(sheet.cells)) == len(sheet.cells) for sheet in sheets)

    def test_the_same_seed_draws_the_same(self):
        first, second = (draw_canvas(SCANS, 3, np.random.default_rng(7)) for _ in range(2))
        assert first.digits == second.digits and first.ink.tobytes() == second.ink.tobytes()


class TestQuestions:
    def test_languages_have_equal_shares_and_all_kinds_come(self):
        questions = draw_questions(1000, np.random.default_rng(0))
        assert {code: sum(q.language == code for q in questions) for code in CODES} == dict.fromkeys(CODES, 100)
        assert {q.kind for q in questions} == set(KINDS)

    def test_the_examination_asks_about_each_canvas_in_every_language(self):
        _, held_out = split_scans(SCANS, 0.15, seed=0)
        questions = held_out_questions(held_out, 2, np.random.default_rng(0))
        assert len(questions) == 2 * len(KINDS) * len(CODES)
        allowed = {scan.index for scan in held_out}
        for start in range(0, len(questions), len(CODES)):
            group = questions[start : start + len(CODES)]
            assert [question.language for question in group] == CODES
            assert len({id(question.canvas) for question in group}) == 1
            assert set(group[0].canvas.scans) <= allowed

    def test_questions_are_taught_as_people_type_them(self):
        assert typed_variants("¿Qué dígito VES?") == (
            "¿Qué dígito VES?",
            "¿Qué dígito VES",
            "¿qué dígito ves?",
            "¿qué dígito ves",
        )
        questions = draw_questions(2000, np.random.default_rng(0))
        as_written = sum(q.text in PHRASES[q.language][q.kind].questions for q in questions)
        # 60 % on purpose; scripts without capitals add what lower case leaves as it is.
        assert 0.6 < as_written / len(questions) < 0.7

    def test_a_question_in_words_has_no_picture(self):
        with pytest.raises(ValueError, match="no picture"):
            prompt_chat(Question((3,), "en", "which", "Which digit is written here?"))


class TestTokenizer:
    tokenizer = train_tokenizer()

    def test_sentences_survive(self):
        for kinds in PHRASES.values():
            for phrasing in kinds.values():
                for text in [*phrasing.questions, phrasing.answer.format(n=12, a=3, b=9)]:
                    ids = self.tokenizer(text, add_special_tokens=False).input_ids
                    assert self.tokenizer.decode(ids) == text
                    assert self.tokenizer.unk_token_id not in ids

    def test_each_digit_is_a_token(self):
        tokens = self.tokenizer.tokenize("The sum of 9 and 8 is 17.")
        assert [token for token in tokens if any(map(str.isdigit, token))] == ["9", "8", "1", "7"]

    def test_every_answer_fits(self):
        longest = max(
            len(self.tokenizer(phrasing.answer.format(n=17, a=8, b=9)).input_ids)
            for kinds in PHRASES.values()
            for phrasing in kinds.values()
        )
        assert longest + 1 < MAX_NEW_TOKENS

    def test_a_typed_control_token_stays_text(self):
        processor = PaloProcessor.from_config(small_config(self.tokenizer, tower_config()), self.tokenizer)
        chat = [{"role": "user", "content": [{"type": "text", "text": "<image></s>"}]}]
        ids = processor.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"][0]
        assert processor.image_token_id not in ids and self.tokenizer.eos_token_id not in ids


def answered(code: str, kind: str, digits: tuple[int, ...], text: str) -> Answered:
    detected = detect_language(text)
    return Answered(Question(digits, code, kind, "?"), text, detected.code if detected else None)


class TestMarks:
    def test_the_right_number_in_the_right_language(self):
        answer = answered("en", "which", (7,), "The digit in the picture is 7.")
        assert answer.correct and answer.in_language

    @pytest.mark.parametrize(
        "text",
        [
            "The sum of 3 and 4 is 8.",
            "The sum of 4 and 3 is 7.",
            "The sum of 3 and 4 is 7. 9.",
            "The sum is seven.",
            "",
        ],
    )
    def test_a_sum_wants_its_parts_and_its_result(self, text):
        assert not answered("en", "sum", (3, 4), text).correct
        assert answered("en", "sum", (3, 4), "The sum of 3 and 4 is 7.").correct

    def test_a_right_number_in_another_language(self):
        answer = answered("es", "which", (7,), "The digit in the picture is 7.")
        assert answer.correct and not answer.in_language

    def test_what_stays_below_its_aim_is_named_with_its_figure(self):
        perfect = [answered(c, k, (7, 5)[: max(DIGITS_ON_CANVAS[k])], "") for c in CODES for k in KINDS]
        perfect = [replace(a, text=a.question.answer, detected_language=a.question.language) for a in perfect]
        assert shortfalls(score_by_language(perfect)) == []
        spoilt = [
            replace(a, text="8") if (a.question.language, a.question.kind) == ("ur", "which") else a for a in perfect
        ]
        missed = shortfalls(score_by_language(spoilt))
        assert missed == [
            "ur: which-digit questions 0.0%, the aim is 95%",
            f"ur: all kinds of questions {5 / 6:.1%}, the aim is 90%",
        ]


def tiny_plan() -> Plan:
    plan = Plan()
    stages = {name: replace(getattr(plan, name), steps=2, batch_size=10) for name in vars(plan) if name in STAGES}
    return replace(plan, practice_sheets=20, canvases_per_kind=1, **stages)


STAGES = ("tower", "reading", "alignment", "instructions")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("quickstart")
    return output_dir, run_quickstart(output_dir, seed=3, plan=tiny_plan())


class TestRun:
    def test_leaves_what_it_promises(self, run):
        output_dir, _ = run
        assert {path.name for path in output_dir.iterdir()} == {"model", "examples", "report.html", "results.json"}
        assert {path.stem for path in (output_dir / "examples").iterdir()} == set(KINDS)
        assert {path.name for path in (output_dir / "model").iterdir()} == {
            "README.md",
            "chat_template.jinja",
            "config.json",
            "examples",
            "generation_config.json",
            "model.safetensors",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        }

    def test_the_same_seed_gives_the_same_weights(self, run, tmp_path):
        output_dir, _ = run
        run_quickstart(tmp_path, seed=3, plan=tiny_plan())
        first, second = (load_file(folder / "model" / "model.safetensors") for folder in (output_dir, tmp_path))
        assert first.keys() == second.keys()
        assert all((first[name] == second[name]).all() for name in first)

    def test_every_stage_leaves_its_losses(self, run):
        _, summary = run
        assert [curve.stage for curve in summary.curves] == [
            "vision tower",
            "language model",
            "alignment",
            "instructions",
        ]
        assert all(
            len(curve.points) == 2 and all(np.isfinite(loss) for _, loss in curve.points) for curve in summary.curves
        )

    def test_the_tower_is_frozen_after_its_own_training(self, run, tmp_path):
        output_dir, _ = run
        longer = tiny_plan()
        longer = replace(longer, instructions=replace(longer.instructions, steps=3))
        run_quickstart(tmp_path, seed=3, plan=longer)
        first, second = (load_file(folder / "model" / "model.safetensors") for folder in (output_dir, tmp_path))
        same = {name: bool((first[name] == second[name]).all()) for name in first}
        assert all(same[name] for name in same if ".vision_tower." in name)
        assert not any(
            same[name]
            for name in same
            if ".multi_modal_projector." in name or (".self_attn.q_proj" in name and "language" in name)
        )

    def test_the_report_is_one_file_in_ten_languages(self, run):
        output_dir, summary = run
        html = (output_dir / "report.html").read_text(encoding="utf-8")
        assert not re.search(r"""(?:src|href)=["'](?!data:)""", html) and "<script" not in html
        for language in LANGUAGES:
            assert f'<div class="chat" lang="{language.code}" dir="{language.direction}">' in html
        assert html.count("data:image/png;base64,") == len(KINDS)
        assert html.count("<polyline") == len(summary.curves)
        for sentence in summary.shortfalls:
            assert sentence.replace("'", "&#39;") in html

    def test_results_name_every_wrong_answer(self, run):
        output_dir, summary = run
        results = json.loads((output_dir / "results.json").read_text(encoding="utf-8"))
        total = sum(row.together.total for row in summary.rows)
        right = sum(a.correct and a.in_language for answers in summary.examples for a in answers)
        # With one canvas a kind, the examples are the whole examination.
        assert len(results["wrong_answers"]) == total - right
        assert results["shortfalls"] == summary.shortfalls

    def test_the_card_has_the_hubs_metadata(self, run):
        from huggingface_hub import ModelCard

        card = ModelCard.load(run[0] / "model" / "README.md")
        assert card.data.language == CODES
        assert card.data.pipeline_tag == "image-text-to-text" and card.data.library_name == "transformers"
        assert {result.dataset_config: result.dataset_name for result in card.data.eval_results} == {
            language.code: f"Held-out scans of scikit-learn's digits ({language.name})" for language in LANGUAGES
        }
        assert "load_digits" in card.text

    def test_the_cards_examples_show_the_models_own_answers(self, run):
        from huggingface_hub import ModelCard

        output_dir, summary = run
        answers = {(a.question.kind, a.question.text): a.text for answers in summary.examples for a in answers}
        widget = ModelCard.load(output_dir / "model" / "README.md").data.widget
        assert len({detect_language(example["text"]).code for example in widget}) == len(widget) == len(KINDS)
        for example in widget:
            picture = output_dir / "model" / example["src"]
            assert picture.is_file()
            assert answers[picture.stem, example["text"]] == example["output"]["text"]

    def test_the_model_can_be_published(self, run):
        output_dir, _ = run
        publication = prepare(output_dir / "model", "user/palo-quickstart")
        assert "examples/sum.png" in {file.path for file in publication.files}
        assert card_errors(publication.card) == []
        assert 'model="user/palo-quickstart"' in publication.card

    def test_the_model_reloads_through_the_pipeline(self, run):
        output_dir, _ = run
        pipe = pipeline("image-text-to-text", model=str(output_dir / "model"), device="cpu")
        chat = [
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": str(output_dir / "examples" / "sum.png")},
                    {"type": "text", "text": "这两个数字的和是多少？"},
                ],
            }
        ]
        assert isinstance(pipe(text=chat, max_new_tokens=3, return_full_text=False)[0]["generated_text"], str)


class TestExamples:
    """The scripts in examples/, on what a run leaves."""

    @staticmethod
    def output_of(script: str, output_dir: Path, *arguments: str) -> str:
        command = [
            sys.executable,
            str(PROJECT / "examples" / script),
            "--model",
            str(output_dir / "model"),
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=output_dir.parent)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_ask_in_ten_languages(self, run):
        output_dir, _ = run
        output = self.output_of(
            "ask_in_ten_languages.py", output_dir, "--image", str(output_dir / "examples" / "sum.png")
        )
        assert [line for line in output.splitlines() if line in {language.name for language in LANGUAGES}] == [
            language.name for language in LANGUAGES
        ]

    def test_compare_with_llava(self, run):
        output_dir, _ = run
        output = self.output_of(
            "compare_with_llava.py", output_dir, "--image", str(output_dir / "examples" / "sum.png")
        )
        answers = dict(line.split(": ", 1) for line in output.splitlines())
        assert answers["PaloForConditionalGeneration"] == answers["LlavaForConditionalGeneration"]
        assert float(answers["largest difference of logits"]) == 0

    def test_fine_tune_lora(self, run, tmp_path):
        output_dir, _ = run
        arguments = ("--images", str(output_dir / "examples"), "--output-dir", str(tmp_path), "--steps", "2")
        output = self.output_of("fine_tune_lora.py", output_dir, *arguments)
        assert output.count(" -> ") == 4
        assert (tmp_path / "adapter_model.safetensors").is_file()

    def test_finetune_your_language(self, run, tmp_path):
        """The script and its files as they stand, but for the number of records and steps."""
        output_dir, _ = run
        shutil.copytree(PROJECT / "examples", tmp_path / "examples")
        shutil.copytree(output_dir, tmp_path / "outputs" / "quickstart")
        fewer = {
            "1600": "40",
            "200": "6",
            "num_train_epochs: 3": "max_steps: 2",
            "eval_records: 64": "eval_records: 4",
        }
        for name in ("finetune_your_language.py", "finetune_your_language.yaml"):
            path = tmp_path / "examples" / name
            text = path.read_text(encoding="utf-8")
            for old, new in fewer.items():
                text = text.replace(old, new)
            path.write_text(text, encoding="utf-8")
        command = [sys.executable, "examples/finetune_your_language.py"]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Right on 6 pictures that it has never seen:" in done.stdout
        assert (tmp_path / "outputs" / "your-language" / "run" / "model" / "model.safetensors").is_file()
        # Nothing is done twice; only the gain is measured again.
        again = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
        assert again.returncode == 0, again.stderr[-3000:]
        assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]

    def test_finetune_your_language_makes_a_model_that_an_interrupted_quickstart_left_unfinished(
        self, tmp_path, monkeypatch
    ):
        (tmp_path / "outputs" / "quickstart" / "model").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        commands = []

        def note(command, **kwargs):
            commands.append(command)
            raise SystemExit

        monkeypatch.setattr(subprocess, "run", note)
        with pytest.raises(SystemExit):
            runpy.run_path(str(PROJECT / "examples" / "finetune_your_language.py"), run_name="__main__")
        assert "quickstart" in commands[0]

    def test_every_example_is_listed(self):
        listed = (PROJECT / "examples" / "README.md").read_text(encoding="utf-8")
        assert all(f"]({path.name})" in listed for path in (PROJECT / "examples").glob("*.py"))
