# Copyright 2026 The transformers-palo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The cards in `model_cards/`: of the released models in native form, and of the multilingual data set.

What they state comes from the paper (arXiv 2402.14818) and its repository, and is marked as such. Nothing was measured for
them. `python -m transformers_palo.hub.released_cards model_cards` writes the files.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData, EvalResult

from ..languages import LANGUAGES, get_language
from ..models.palo.configuration_palo import PaloConfig
from .model_card import (
    GENERAL_LIMITS,
    PAPER,
    LicenseTerm,
    PaloModelCard,
    PaperScores,
    TrainingData,
    WidgetExample,
    architecture_facts,
    render,
)


CODES = tuple(language.code for language in LANGUAGES)
BENCHMARK = "MBZUAI/multilingual-llava-bench-in-the-wild"
DATA_SET = "MBZUAI/palo_multilingual_dataset"

# The paper's Table 1, in the order of LANGUAGES; then its means: high-resource, low-resource, all. (The means are of scores
# before rounding.)
TABLE_1 = {
    "LLaVA-7B": (67.9, 55.7, 62.4, 64.5, 55.3, 59.2, 38.9, 29.4, 13.9, 21.8, 60.8, 26.0, 46.9),
    "PALO-7B": (64.2, 55.7, 58.3, 61.0, 57.4, 57.5, 57.8, 57.6, 51.7, 55.3, 59.0, 55.6, 57.7),
    "LLaVA-13B": (69.5, 62.9, 67.5, 64.6, 62.3, 65.3, 37.2, 27.8, 20.4, 22.1, 65.4, 26.9, 49.9),
    "PALO-13B": (65.5, 62.1, 66.4, 65.9, 62.4, 60.6, 56.9, 66.8, 53.5, 59.6, 63.8, 59.2, 61.9),
    "MobileVLM-1.7B": (46.6, 23.2, 28.1, 29.1, 28.1, 26.4, 12.4, 13.7, 15.6, 15.6, 30.3, 14.3, 23.9),
    "MobilePALO-1.7B": (48.2, 34.0, 42.6, 40.1, 38.2, 32.5, 32.8, 26.8, 19.9, 24.1, 39.3, 25.9, 33.9),
}
_MEANS = ("high", "low", "all")

# Name -> size as PaloConfig knows it, parameters, baseline, language model, what stage 2 trains, hours of the two stages,
# GPU memory of stage 2.
_MODELS = {
    "MobilePALO-1.7B": ("1.7b", 1_686_742_016, "MobileVLM-1.7B", "mtgv/MobileLLaMA-1.4B-Chat", False, (1.5, 12), 40),
    "PALO-7B": ("7b", 7_062_902_784, "LLaVA-7B", "lmsys/vicuna-7b-v1.5", True, (5, 42), 40),
    "PALO-13B": ("13b", 13_350_839_296, "LLaVA-13B", "lmsys/vicuna-13b-v1.5", True, (9, 76), 80),
}

_CODE = "https://github.com/mbzuai-oryx/PALO"
# The first two are of the authors' own demonstration (palo/serve/gradio_web_server.py).
_FRIDGE = "https://raw.githubusercontent.com/mbzuai-oryx/PALO/7201f8d8467734b82fbe9924f108a9002104a34e/palo/serve/examples/fridge.png"
_CATS = "http://images.cocodataset.org/val2017/000000039769.jpg"
_QUESTIONS = {
    "en": (_FRIDGE, "Which items in this fridge are rich in Vitamin C?"),
    "hi": (_FRIDGE, "इस फ्रिज में कौन सी चीजें विटामिन सी से भरपूर हैं?"),
    "ar": (_CATS, "ماذا تفعل الحيوانات في هذه الصورة؟"),
    "zh": (_CATS, "这张图片里的动物在做什么？"),
}
_NO_ANSWERS = (
    "Questions to try. No answers stand beside them: the released weights were not run for this card, and the paper and its "
    f"README show answers in pictures only ([Qualitative Examples]({_CODE}#-qualitative-examples-of-multilingual-capabilities)). "
    "The first two are of the authors' own demonstration."
)

_PAPER_LIMITS = (
    "**Of the paper (section 6):** its semi-automated translation may miss deep contextual and cultural nuances of a "
    "language, which can cost the model cultural depth, accuracy and precision. Ten languages are two thirds of the "
    "world's people, and leave most languages out.",
    "**Of the paper (section 7):** machine translation can bring in biases of the language model that translates, above "
    "all in low-resource languages. Cultural symbols and gestures in pictures can be misread, which leads to inaccurate "
    "answers where culture matters.",
)

_LICENSE_OF_DATA = LicenseTerm(
    "Training data (LLaVA-Instruct and its translations; the paper's section 8 also names OpenAI's terms, since GPT models "
    "wrote a part of it and translated it)",
    "CC-BY-4.0",
    "https://creativecommons.org/licenses/by/4.0/",
)
_LLAMA_2 = "https://ai.meta.com/llama/license/"


def released_card(name: str) -> PaloModelCard:
    """The card of a released model: `"PALO-7B"`, `"PALO-13B"` or `"MobilePALO-1.7B"`."""
    size, num_parameters, baseline, language_model, uses_lora, hours, memory = _MODELS[name]
    is_mobile = size == "1.7b"
    return PaloModelCard(
        name=name,
        summary=_summary(name, is_mobile),
        model_id=f"MBZUAI/{name}",
        base_model=language_model,
        base_model_relation="finetune",
        facts=architecture_facts(PaloConfig.from_size(size), num_parameters)
        | {
            "Memory": f"{2 * num_parameters / 1e9:.1f} GB for the weights at 16 bits, without what the context needs",
            "Made from": _parts(language_model),
            "Other sizes": _links(f"MBZUAI/{other}" for other in _MODELS if other != name),
        },
        good_for=_good_for(is_mobile),
        limits=[*_limits(name, baseline), *_PAPER_LIMITS, *GENERAL_LIMITS[:1]],
        data=_training_data(is_mobile),
        how_trained=_how_trained(hours, memory),
        recipe=_recipe(uses_lora),
        paper_scores=_paper_scores(name, baseline),
        other_eval_results=[_eval_result(code, TABLE_1[name][index]) for index, code in enumerate(CODES)],
        widget=[WidgetExample(get_language(code).name, *asked) for code, asked in _QUESTIONS.items()],
        widget_note=_NO_ANSWERS,
        license="apache-2.0" if is_mobile else "llama2",
        license_link=None if is_mobile else _LLAMA_2,
        license_chain=_license_chain(name, is_mobile),
        tags=["multilingual", "llava"],
    )


def _summary(name: str, is_mobile: bool) -> str:
    purpose = ", small enough for phones," if is_mobile else ""
    return (
        f"{name}{purpose} answers questions about pictures in ten languages. It is the model of the paper [PALO: A Polyglot "
        f"Large Multimodal Model for 5B People]({PAPER}) by Maaz, Rasheed, Shaker, Khan, Cholakkal, Anwer, Baldwin, Felsberg "
        f"and Khan. This card describes the weights that they released as [MBZUAI/{name}](https://huggingface.co/MBZUAI/{name}),"
        " in the form that Transformers 5 loads: the same numbers under other names, as safetensors, with a processor. "
        "What it says about training and quality is the paper's."
    )


def _parts(language_model: str) -> str:
    tower = "openai/clip-vit-large-patch14-336"
    return _links((language_model, tower))


def _links(repo_ids: Iterable[str]) -> str:
    return " and ".join(f"[{repo_id}](https://huggingface.co/{repo_id})" for repo_id in repo_ids)


def _good_for(is_mobile: bool) -> list[str]:
    uses = [
        "Describing photos, and questions and conversations about them, in the ten languages below.",
        "Research on vision-language models in languages with little data, and a start for fine-tuning on your own.",
    ]
    if is_mobile:
        uses.append("Machines with little memory: a picture costs 144 tokens instead of 576.")
    return uses


def _limits(name: str, baseline: str) -> list[str]:
    own, base = TABLE_1[name], TABLE_1[baseline]
    gains = dict(zip(CODES, (a - b for a, b in zip(own, base, strict=True)), strict=False))
    worse = [code for code in CODES if round(gains[code], 1) < 0]
    limits = []
    if worse:
        names = ", ".join(f"{get_language(code).name} ({gains[code]:+.1f})" for code in worse)
        limits.append(f"Where you need only these languages, {baseline} scored better in the paper: {names}.")
    weakest = sorted(zip(own, CODES, strict=False))[:3]
    shown = ", ".join(f"{get_language(code).name} ({score})" for score, code in weakest)
    if name == "PALO-7B":
        limits.append(
            "A user who repeated the measurement got 54.0 in English and 43.0 in Chinese, where the paper has 64.2 and 55.7 "
            "([mbzuai-oryx/PALO#4](https://github.com/mbzuai-oryx/PALO/issues/4)): take the scores as the paper's word."
        )
    limits.append(f"It is weakest in {shown}, by the paper's scores.")
    limits.append("It sees pictures at 336 pixels a side: small print and small things are lost.")
    limits.append("It was trained on at most 2,048 tokens, the picture's included.")
    return limits


def _training_data(is_mobile: bool) -> list[TrainingData]:
    note = "captions in English; stage 1 (paper, section 4.1)"
    if not is_mobile:
        note += (
            "; but PALO's README takes the projectors of LLaVA-1.5 (liuhaotian/llava-v1.5-mlp2x-336px-pretrain-vicuna-*), "
            "which names 558K captions of LAION, CC and SBU"
        )
    return [
        TrainingData("CC-595K", records="595K", note=note),
        TrainingData(
            "PALO multilingual data set",
            hub_id=DATA_SET,
            records="about 2.1M",
            license="cc-by-4.0",
            note="665K in English, about 150K in each of the nine other languages; stage 2 (paper, section 4.1)",
        ),
    ]


def _how_trained(hours: tuple[float, float], memory: int) -> str:
    return (
        "From the paper, section 4.1: two stages of one epoch each on eight A100 GPUs. **Alignment** trains the projector "
        f"alone on captions (about {hours[0]:g} hours, 40 GB GPUs). **Instruction tuning** trains projector and language "
        f"model on conversations in ten languages (about {hours[1]:g} hours, {memory} GB GPUs). The vision tower stays frozen "
        "throughout.\n\nThe conversations were translated from English in a semi-automated way: GPT-3.5-Turbo translated, "
        "scripts mended common faults, native speakers corrected 1K conversations a language, and GPT-3.5-Turbo, fine-tuned "
        "on these, translated the rest (paper, section 3)."
    )


def _recipe(uses_lora: bool) -> dict[str, str]:
    tuning = (
        "LoRA (rank 128, alpha 256 in the released script; the paper says alpha 128), learning rate 2e-4"
        if uses_lora
        else "all weights, learning rate 2e-5 (released script)"
    )
    return {
        "Alignment": "batch size 256, Adam, cosine schedule, learning rate 2e-3",
        "Instruction tuning": "batch size 128, Adam, cosine schedule",
        "Projector, instruction tuning": "all weights, learning rate 2e-5",
        "Language model, instruction tuning": tuning,
    }


def _paper_scores(name: str, baseline: str) -> PaperScores:
    def row(model: str) -> tuple[dict[str, float], dict[str, float]]:
        scores = TABLE_1[model]
        return dict(zip(CODES, scores, strict=False)), dict(zip(_MEANS, scores[len(CODES) :], strict=True))

    (scores, averages), (baseline_scores, baseline_averages) = row(name), row(baseline)
    return PaperScores(scores, baseline, baseline_scores, averages, baseline_averages)


def _eval_result(code: str, score: float) -> EvalResult:
    return EvalResult(
        task_type="image-text-to-text",
        dataset_type=BENCHMARK,
        dataset_name=f"Multilingual LLaVA-Bench (In-the-Wild), {get_language(code).name}",
        dataset_config=code,
        metric_type="score",
        metric_name="Score relative to the reference, judged by GPT-4",
        metric_value=score,
        source_name="PALO paper, Table 1",
        source_url=PAPER,
    )


def _license_chain(name: str, is_mobile: bool) -> list[LicenseTerm]:
    language_model = (
        LicenseTerm(
            "Weights of the language model (MobileLLaMA)", "Apache-2.0", "https://github.com/Meituan-AutoML/MobileVLM"
        )
        if is_mobile
        else LicenseTerm(
            "Weights of the language model (Vicuna v1.5, fine-tuned from Llama 2)",
            "Llama 2 Community License",
            _LLAMA_2,
        )
    )
    return [
        LicenseTerm(
            "Weights as PALO's authors released them"
            + ("" if is_mobile else "; this does not agree with the terms of the language model, which hold as well"),
            "Apache-2.0, as their page on the Hub states",
            f"https://huggingface.co/MBZUAI/{name}",
        ),
        language_model,
        _LICENSE_OF_DATA,
        LicenseTerm("Code (transformers-palo)", "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    ]


def dataset_card() -> DatasetCard:
    """The card of the multilingual data set that the models were tuned on."""
    data = DatasetCardData(
        language=list(CODES),
        license="cc-by-4.0",
        pretty_name="PALO multilingual instruction data",
        task_categories=["image-text-to-text"],
        multilinguality=["multilingual", "translation"],
        language_creators=["machine-generated"],
        annotations_creators=["machine-generated"],
        size_categories=["1M<n<10M"],
        source_datasets=["extended"],
        tags=["palo", "vision-language", "llava"],
    )
    text = render("dataset_card.md.jinja", data_set=DATA_SET, paper=PAPER, languages=LANGUAGES)
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n")


def cards() -> dict[str, str]:
    """All cards, by the name of their file."""
    models = {f"{name}.md": str(released_card(name).to_card()) for name in _MODELS}
    return {**models, "palo_multilingual_dataset.md": str(dataset_card())}


if __name__ == "__main__":
    for file_name, content in cards().items():
        (Path(sys.argv[1]) / file_name).write_text(content, encoding="utf-8")
