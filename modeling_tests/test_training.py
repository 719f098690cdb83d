"""The trainer: the original's losses and optimizer groups, what is trained and what is not, metrics by language."""

import json
import math

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoProcessor, BitsAndBytesConfig
from trl import SFTConfig

from transformers_palo import PaloForConditionalGeneration
from transformers_palo.models.palo.key_map_palo import native_name
from transformers_palo.training import PaloSFTConfig, PaloSFTTrainer, language_model_lora
from transformers_palo.training.checkpoints import last_whole_checkpoint
from transformers_palo.training.parameters import count_parameters

from .conftest import GOLDEN, SHARED, read_json, tiny_model
from .training_data import examples, image_example, text_example


def config(tmp_path, **fields) -> PaloSFTConfig:
    defaults = {
        "output_dir": str(tmp_path / "run"),
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "dataloader_num_workers": 0,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
    }
    return PaloSFTConfig(**{**defaults, **fields})


def dataset(*record_ids: str, times: int = 1) -> Dataset:
    return Dataset.from_list(examples(*record_ids) * times)


MIXED = ("zh_multi", "ar_text", "ja_multi", "text_multi")
# What four steps on the batch `mixed` were recorded with.
AS_RECORDED = {
    "projector_learning_rate": 2e-4,
    "weight_decay": 0.01,
    "train_sampling_strategy": "sequential",
}


def golden_trainer(folder: str, tmp_path, peft_config=None, **fields) -> PaloSFTTrainer:
    source = GOLDEN / folder / "checkpoint"
    return PaloSFTTrainer(
        PaloForConditionalGeneration.from_pretrained(source, dtype=torch.float32),
        config(tmp_path, **{**AS_RECORDED, **fields}),
        train_dataset=dataset(*MIXED, times=4),
        processing_class=AutoProcessor.from_pretrained(source),
        peft_config=peft_config,
    )


def losses(trainer: PaloSFTTrainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


# ---- equal to the original


@pytest.mark.parametrize("folder", ["public_mlp2x", "public_ldpnet"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_four_steps_of_adamw_give_the_originals_losses(folder, checkpointing, tmp_path):
    recorded = read_json(GOLDEN / folder / "training.json")["optimisation"]
    trainer = golden_trainer(folder, tmp_path, gradient_checkpointing=checkpointing)
    trainer.train()
    assert losses(trainer) == pytest.approx(recorded["losses_before_each_step"], abs=1e-4)


@pytest.mark.parametrize("folder", ["public_mlp2x", "public_ldpnet"])
def test_optimizer_groups_are_the_originals(folder, tmp_path):
    """{rest, projector} x {decay, no decay}; the weights of Llama's norms decay, as they did there."""
    recorded = read_json(GOLDEN / folder / "training.json")["optimisation"]["param_groups"]
    trainer = golden_trainer(folder, tmp_path)
    assert_groups(trainer, [(g["lr"], g["weight_decay"], {native_name(n) for n in g["params"]}) for g in recorded])


def test_optimizer_groups_under_lora_are_the_originals(tmp_path):
    recorded = read_json(GOLDEN / "public_lora" / "param_groups.json")
    base = "base_model.model."
    expected = [
        (
            group["lr"],
            group["weight_decay"],
            {
                name.replace(f"{base}model.layers", f"{base}model.language_model.layers").replace(
                    f"{base}model.mm_projector.",
                    f"{base}model.multi_modal_projector.modules_to_save.default.",
                )
                for name in group["params"]
            },
        )
        for group in recorded
    ]
    trainer = golden_trainer("public_mlp2x", tmp_path, peft_config=language_model_lora(r=4, lora_alpha=8))
    renamed = {"0.": "linear_1.", "2.": "linear_2."}
    for _, _, names in expected:
        for name in list(names):
            for old, new in renamed.items():
                if f"modules_to_save.default.{old}" in name:
                    names.remove(name)
                    names.add(name.replace(f"default.{old}", f"default.{new}"))
    assert_groups(trainer, expected)


def assert_groups(trainer: PaloSFTTrainer, expected: list[tuple[float, float, set]]) -> None:
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    groups = trainer.create_optimizer().param_groups
    found = [(g["lr"], g["weight_decay"], {names[id(p)] for p in g["params"]}) for g in groups]
    assert found == expected


@pytest.mark.parametrize("folder", ["public_mlp2x", "public_ldpnet"])
def test_four_steps_of_lora_are_those_of_a_plain_loop(folder, tmp_path):
    """The first loss is the original's (a LoRA begins as nothing); the others are those of a loop without a trainer."""
    recorded = read_json(GOLDEN / folder / "training.json")["optimisation"]["losses_before_each_step"]
    lora = language_model_lora(r=4, lora_alpha=8, lora_dropout=0.0)
    trainer = golden_trainer(folder, tmp_path, peft_config=lora)
    state = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    for name, weight in state.items():
        if "lora_A" in name:
            # Kaiming's uniform distribution with a = sqrt(5), PEFT's and so the original's.
            assert 0.8 < weight.abs().max() * weight.shape[1] ** 0.5 <= 1, name
        assert "lora_B" not in name or not weight.any(), name
        assert weight.dtype == torch.float32 or not weight.is_floating_point(), name
    trainer.train()
    assert losses(trainer)[0] == pytest.approx(recorded[0], abs=1e-4)

    plain = get_peft_model(
        PaloForConditionalGeneration.from_pretrained(GOLDEN / folder / "checkpoint", dtype=torch.float32), lora
    )
    plain.load_state_dict(state)
    projector = [p for n, p in plain.named_parameters() if p.requires_grad and "multi_modal_projector" in n]
    adapters = [p for n, p in plain.named_parameters() if p.requires_grad and "lora_" in n]
    optimizer = torch.optim.AdamW(
        [
            {"params": adapters, "lr": 1e-3},
            {"params": [p for p in projector if p.ndim > 1]},
            # Biases, and the weights of the LDP's layer norms.
            {"params": [p for p in projector if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=2e-4,
        weight_decay=0.01,
    )
    batch = trainer.data_collator(examples(*MIXED))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels", "pixel_values")}
    expected = []
    for _ in range(4):
        loss = plain(**inputs).loss
        expected.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses(trainer) == pytest.approx(expected, abs=1e-4)


# ---- what is trained


def trained(trainer: PaloSFTTrainer) -> dict[str, int]:
    return {size.part: size.trainable for size in count_parameters(trainer.model)}


def tiny_trainer(tmp_path, processor, peft_config=None, train=None, evaluate=None, **fields) -> PaloSFTTrainer:
    return PaloSFTTrainer(
        tiny_model(),
        config(tmp_path, **fields),
        train_dataset=train if train is not None else dataset(*MIXED),
        eval_dataset=evaluate,
        processing_class=processor,
        peft_config=peft_config,
    )


def changed_parts(trainer: PaloSFTTrainer) -> set[str]:
    before = {name: parameter.clone() for name, parameter in trainer.palo_model.named_parameters()}
    trainer.train()
    changed = {n for n, p in trainer.palo_model.named_parameters() if not torch.equal(p, before[n])}
    parts = ("vision_tower", "multi_modal_projector", "language_model", "lm_head")
    return {part for name in changed for part in parts if part in name}


def test_the_first_stage_changes_the_projector_alone(tmp_path, processor):
    trainer = tiny_trainer(tmp_path, processor, train_language_model=False)
    assert changed_parts(trainer) == {"multi_modal_projector"}


def test_the_second_stage_never_changes_the_tower(tmp_path, processor):
    trainer = tiny_trainer(tmp_path, processor)
    assert changed_parts(trainer) == {"multi_modal_projector", "language_model", "lm_head"}


@pytest.mark.parametrize("targets", [None, "all-linear", ["q_proj", "v_proj", "fc1"]])
def test_lora_keeps_out_of_the_tower_whatever_names_it_is_given(targets, tmp_path, processor):
    """CLIP has layers called q_proj, too."""
    lora = LoraConfig(r=2, target_modules=targets)
    trainer = tiny_trainer(tmp_path, processor, peft_config=lora)
    adapted = {name for name, _ in trainer.model.named_parameters() if "lora_" in name}
    assert adapted and all("language_model" in name for name in adapted)
    assert trained(trainer)["vision tower"] == 0
    assert trained(trainer)["projector"] == sum(
        p.numel() for p in tiny_model().model.multi_modal_projector.parameters()
    )


def test_lora_beside_other_modules_that_are_trained_in_full(tmp_path, processor):
    lora = language_model_lora(r=2, lora_alpha=4, modules_to_save=["lm_head"])
    trainer = tiny_trainer(tmp_path, processor, peft_config=lora, max_steps=1)
    names = ("lm_head.modules_to_save.default.weight", "multi_modal_projector.modules_to_save.default.linear_1.weight")
    before = {name: p.clone() for name, p in trainer.model.named_parameters() if name.endswith(names)}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    assert len(before) == 2 and not any(torch.equal(weight, after[name]) for name, weight in before.items())


def test_the_tower_cannot_be_trained_in_full_beside_lora(tmp_path, processor):
    lora = language_model_lora(r=2, lora_alpha=4, modules_to_save=["vision_tower"])
    with pytest.raises(ValueError, match="PALO's tower stays as it is"):
        tiny_trainer(tmp_path, processor, peft_config=lora)


def test_lora_without_the_projector(tmp_path, processor):
    trainer = tiny_trainer(
        tmp_path,
        processor,
        peft_config=language_model_lora(r=2, lora_alpha=4, train_projector=False),
        train_projector=False,
    )
    assert trained(trainer)["projector"] == 0
    assert trained(trainer)["language model"] > 0


def test_an_adapter_that_trains_the_tower_is_refused(tmp_path, processor):
    model = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["q_proj"]))
    with pytest.raises(ValueError, match="parameters of the vision tower"):
        PaloSFTTrainer(model, config(tmp_path), dataset(*MIXED), processing_class=processor)


def test_nothing_to_train_fails_at_once(tmp_path, processor):
    with pytest.raises(ValueError, match="every parameter is frozen"):
        tiny_trainer(tmp_path, processor, train_projector=False, train_language_model=False)
    with pytest.raises(ValueError, match="no records"):
        tiny_trainer(tmp_path, processor, train=dataset(*MIXED).select([]))
    with pytest.raises(ValueError, match="no supervised token"):
        tiny_trainer(tmp_path, processor, max_length=20)


def test_other_configurations_are_refused(tmp_path, processor):
    with pytest.raises(TypeError, match="PaloSFTConfig"):
        PaloSFTTrainer(tiny_model(), SFTConfig(str(tmp_path), bf16=False), dataset(*MIXED), processing_class=processor)


def test_a_model_by_name(tmp_path):
    trainer = PaloSFTTrainer(
        str(GOLDEN / "public_mlp2x" / "checkpoint"), config(tmp_path, max_steps=1), dataset(*MIXED)
    )
    trainer.train()
    assert math.isfinite(losses(trainer)[0])


def test_a_stream_of_records_needs_no_length(tmp_path):
    model = PaloForConditionalGeneration.from_pretrained(GOLDEN / "public_mlp2x" / "checkpoint")
    trainer = PaloSFTTrainer(model, config(tmp_path, max_steps=1), dataset(*MIXED).to_iterable_dataset())
    trainer.train()
    assert math.isfinite(losses(trainer)[0])


# ---- batches and metrics


def test_metrics_by_language_add_up(tmp_path, processor):
    """The languages' losses, weighted by their supervised tokens, are the loss."""
    trainer = tiny_trainer(tmp_path, processor, evaluate=dataset("hi_multi", "ur_text", "ru_multi"), max_steps=2)
    trainer.train()
    log = trainer.state.log_history[0]
    tokens = {name[7:]: count for name, count in log.items() if name.startswith("tokens/")}
    assert set(tokens) == {"zh", "ar", "ja", "en"}
    assert sum(tokens.values()) == 99
    total = sum(log[f"loss/{code}"] * count for code, count in tokens.items())
    assert total / 99 == pytest.approx(log["loss"], abs=1e-4)
    right = sum(log[f"token_accuracy/{code}"] * count for code, count in tokens.items())
    assert right / 99 == pytest.approx(log["mean_token_accuracy"], abs=1e-4)

    metrics = trainer.evaluate()
    logged = trainer.state.log_history[-1]
    assert {name for name in logged if name.startswith("eval_loss/")} == {f"eval_loss/{c}" for c in ("hi", "ur", "ru")}
    total = sum(logged[f"eval_loss/{c}"] * logged[f"eval_tokens/{c}"] for c in ("hi", "ur", "ru"))
    assert total / sum(logged[f"eval_tokens/{c}"] for c in ("hi", "ur", "ru")) == pytest.approx(
        metrics["eval_loss"], abs=1e-3
    )


def test_a_language_that_is_none_of_the_ten_has_its_own_metrics(tmp_path, processor):
    train = Dataset.from_list([text_example("Was ist das?", "Ein Boot.", language="de")] * 4)
    trainer = tiny_trainer(tmp_path, processor, train=train, max_steps=1)
    trainer.train()
    assert trainer.state.log_history[0]["tokens/de"] > 0


def test_broken_and_cut_records_are_counted_and_named(tmp_path, processor):
    """They do not end the run, also where workers open the images."""
    broken = image_example(str(tmp_path / "gone.png"), "What?", "A boat.", record_id="gone")
    train = Dataset.from_list([*examples("en_multi", "three_turns", "en_text"), broken])
    lenient = {"max_reject_share": 0.5, "max_length": 112}
    trainer = tiny_trainer(tmp_path, processor, train=train, max_steps=2, dataloader_num_workers=1, **lenient)
    trainer.train()
    log = trainer.state.log_history[1]
    assert {name: count for name, count in log.items() if name.startswith("records/")} == {
        "records/seen": 8,
        "records/image_unreadable": 2,
        "records/truncated": 4,
    }
    named = [json.loads(line) for line in (tmp_path / "run" / "records-not-whole-0.jsonl").read_text().splitlines()]
    assert {(event["id"], event["reason"]) for event in named} == {
        ("gone", "image_unreadable"),
        ("en_multi", "truncated"),
        ("three_turns", "truncated"),
    }


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("images", [[None, "photo"], [None, None], []])
def test_records_as_trl_takes_them_are_trained_on(images, lora, tmp_path, processor):
    """Contents that are texts, and records whose images are none, or nothing at all."""
    photo = [{"bytes": None, "path": str(SHARED / "images" / "square.png")}]
    chat = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A boat."}]
    rows = [{"messages": chat, **({"images": photo if which else None} if images else {})} for which in images or "ab"]
    peft_config = language_model_lora(r=4) if lora else None
    trainer = tiny_trainer(tmp_path, processor, train=Dataset.from_list(rows), max_steps=1, peft_config=peft_config)
    trainer.train()
    assert trainer.state.log_history[0]["tokens/other"] > 0
    assert not (tmp_path / "run" / "records-not-whole-0.jsonl").exists()


def half_broken(tmp_path, times: int = 1) -> Dataset:
    """Records of which every other one has lost its picture."""
    gone = [image_example(str(tmp_path / "gone.png"), "What?", "A boat.", record_id=f"gone-{n}") for n in range(4)]
    whole = examples(*MIXED)
    return Dataset.from_list([record for pair in zip(whole, gone, strict=True) for record in pair] * times)


def test_counts_of_training_and_evaluation_are_kept_apart(tmp_path, processor):
    trainer = tiny_trainer(
        tmp_path,
        processor,
        evaluate=half_broken(tmp_path),
        max_steps=2,
        eval_strategy="steps",
        eval_steps=1,
    )
    trainer.train()
    for entry in trainer.state.log_history:
        counts = {name: count for name, count in entry.items() if "records/" in name}
        if "loss" in entry:
            assert counts == {"records/seen": 4 * entry["step"]}
        elif "eval_loss" in entry:
            # Of this evaluation, not of all so far.
            assert counts == {"eval_records/seen": 8, "eval_records/image_unreadable": 4}


def test_counts_go_on_with_the_run(tmp_path, processor):
    """What a continued run has counted, and named, is what an unbroken one has."""
    fields = {"max_reject_share": 1.0, "save_strategy": "steps", "save_steps": 2, "max_steps": 3}
    fields["train_sampling_strategy"] = "sequential"
    train = half_broken(tmp_path)
    trainer = tiny_trainer(tmp_path, processor, train=train, **fields)
    trainer.train()
    counts = {k: v for k, v in trainer.state.log_history[-1].items() if k.startswith("records/")}
    assert counts == {"records/seen": 12, "records/image_unreadable": 6}
    named = (tmp_path / "run" / "records-not-whole-0.jsonl").read_text()
    again = tiny_trainer(tmp_path, processor, train=train, **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert {k: v for k, v in again.state.log_history[-1].items() if k.startswith("records/")} == counts
    assert (tmp_path / "run" / "records-not-whole-0.jsonl").read_text() == named


def test_a_run_that_loses_too_many_records_fails(tmp_path, processor):
    """At its end, when its last checkpoint is there: with a higher limit it costs no work."""
    trainer = tiny_trainer(
        tmp_path,
        processor,
        train=half_broken(tmp_path),
        max_steps=2,
        max_reject_share=0.49,
        save_strategy="steps",
        save_steps=2,
    )
    lost = r"4 of 8 records had to be left out \(50.0%\), more than max_reject_share 49.0%: image_unreadable 4"
    with pytest.raises(ValueError, match=lost):
        trainer.train()
    assert last_whole_checkpoint(tmp_path / "run") == tmp_path / "run" / "checkpoint-2"


def test_a_run_that_loses_too_many_records_fails_before_its_end(tmp_path, processor):
    """As soon as it is sure, if it has few records."""
    trainer = tiny_trainer(
        tmp_path,
        processor,
        train=half_broken(tmp_path),
        max_steps=20,
        max_reject_share=0.1,
        train_sampling_strategy="sequential",
    )
    with pytest.raises(ValueError, match="had to be left out"):
        trainer.train()
    assert trainer.state.global_step == 5  # of 80 records, 10 are more than 8


def test_metrics_count_every_record_of_the_last_accumulation(tmp_path, processor):
    """Ten records in batches of 4, 4 and 2."""
    names = (
        "zh_multi",
        "ar_text",
        "ja_multi",
        "text_multi",
        "en_multi",
        "hi_multi",
        "ur_text",
        "ru_multi",
        "en_text",
        "bn_text",
    )
    trainer = tiny_trainer(
        tmp_path,
        processor,
        train=dataset(*names),
        max_steps=1,
        gradient_accumulation_steps=3,
        train_sampling_strategy="sequential",
    )
    trainer.train()
    log = trainer.state.log_history[0]
    labels = trainer.data_collator(examples(*names))["labels"]
    tokens = int((labels[:, 1:] != -100).sum())
    assert sum(count for name, count in log.items() if name.startswith("tokens/")) == tokens
    assert log["records/seen"] == 10


def test_the_loss_of_an_evaluation_weighs_tokens_not_batches(tmp_path, processor):
    """A batch of which nothing can be learnt counts as nothing, not as a loss of 0."""
    broken = [image_example(str(tmp_path / "gone.png"), "What?", "A boat.") for _ in range(2)]
    whole = examples("en_multi", "hi_text", "ru_multi", "ur_text")
    trainer = tiny_trainer(tmp_path, processor, per_device_eval_batch_size=2)
    batch = trainer.data_collator(whole)
    with torch.no_grad():
        expected = trainer.compute_loss(trainer.model.eval(), {**batch, "events": []}).item()
    # Of one record, of three and of none.
    records = [*whole[:1], broken[0], *whole[1:], broken[0], *broken]
    metrics = trainer.evaluate(Dataset.from_list(records))
    assert metrics["eval_loss"] == pytest.approx(expected, abs=1e-5)
    tokens = {code: metrics[f"eval_tokens/{code}"] for code in ("en", "hi", "ru", "ur")}
    right = sum(metrics[f"eval_token_accuracy/{code}"] * count for code, count in tokens.items())
    logged = trainer.state.log_history[-1]
    assert logged["eval_mean_token_accuracy"] == pytest.approx(right / sum(tokens.values()), abs=1e-5)
    assert metrics["eval_records/image_unreadable"] == 4


def test_an_evaluation_of_nothing_has_no_loss(tmp_path, processor):
    broken = Dataset.from_list([image_example(str(tmp_path / "gone.png"), "What?", "A boat.")])
    metrics = tiny_trainer(tmp_path, processor).evaluate(broken)
    assert "eval_loss" not in metrics and metrics["eval_records/image_unreadable"] == 1


def test_batches_are_grouped_by_modality(tmp_path, processor):
    names = ("en_multi", "en_text", "zh_multi", "zh_text", "hi_multi", "hi_text", "es_multi", "es_text")
    trainer = tiny_trainer(tmp_path, processor, train=dataset(*names), per_device_train_batch_size=2)
    modalities = ["pixel_values" in batch for batch in trainer.get_train_dataloader()]
    assert sorted(modalities) == [False, False, True, True]
    counts = [len(batch.get("pixel_values", ())) for batch in trainer.get_train_dataloader()]
    assert sorted(counts) == [0, 0, 2, 2]


def test_a_batch_of_text_alone_gives_the_projector_gradients_of_zero(tmp_path, processor):
    """Without them, other processes would wait for this one's share."""
    trainer = tiny_trainer(tmp_path, processor)
    batch = trainer.data_collator(examples("en_text", "ru_text"))
    model = trainer.model.train()
    loss = trainer.compute_loss(model, batch)
    loss.backward()
    gradients = [parameter.grad for parameter in trainer.palo_model.model.multi_modal_projector.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_the_loss_on_text_alone_is_that_without_the_trainer(tmp_path, processor):
    trainer = tiny_trainer(tmp_path, processor)
    batch = trainer.data_collator(examples("en_text", "ru_text"))
    expected = tiny_model()(**{name: batch[name] for name in ("input_ids", "attention_mask", "labels")}).loss
    torch.testing.assert_close(trainer.compute_loss(trainer.model.train(), batch), expected, atol=1e-5, rtol=0)


def test_qlora_trains_beside_a_quantised_language_model(tmp_path, processor):
    """bitsandbytes, for real, on the CPU."""
    tiny_model().save_pretrained(tmp_path / "model")
    model = PaloForConditionalGeneration.from_pretrained(
        tmp_path / "model",
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32),
    )
    trainer = PaloSFTTrainer(
        model,
        config(tmp_path, max_steps=3),
        dataset(*MIXED),
        processing_class=processor,
        peft_config=language_model_lora(r=2, lora_alpha=4),
    )
    trainer.train()
    assert losses(trainer)[-1] < losses(trainer)[0]


@pytest.mark.parametrize("lora", [None, language_model_lora(r=2, lora_alpha=4)])
def test_what_is_trained_is_float32_beside_frozen_bfloat16(lora, tmp_path, processor):
    trainer = PaloSFTTrainer(
        tiny_model().bfloat16(),
        config(tmp_path, bf16=True, max_steps=2, train_language_model=lora is not None),
        dataset(*MIXED),
        processing_class=processor,
        peft_config=lora,
    )
    dtypes = {p.requires_grad: p.dtype for p in trainer.model.parameters()}
    assert dtypes == {True: torch.float32, False: torch.bfloat16}
    trainer.train()
    assert losses(trainer)[1] < losses(trainer)[0]
