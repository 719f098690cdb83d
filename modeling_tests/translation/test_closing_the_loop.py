"""From reviewed runs to a fine-tuning set, a comparison and a training file."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from transformers_palo.llm import Endpoint
from transformers_palo.translation.build import build
from transformers_palo.translation.compare import compare_runs, comparison_text
from transformers_palo.translation.finetune import export_finetune, mask_like
from transformers_palo.translation.prompts import Prompter, Turn
from transformers_palo.translation.results import open_run, read_accepted
from transformers_palo.translation.reviews import Review, ReviewStore, stats_table
from transformers_palo.translation.run import Job, translate_file
from transformers_palo.translation.store import Shard
from transformers_palo.translation.targets import TARGETS

from .conftest import Servers, in_a_fork, make_records, read_lines, write_records


RECORDS = 30


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with records and a run over them."""
    folder = tmp_path_factory.mktemp("finished")
    with Servers(folder) as servers:
        job = Job(write_records(folder / "records.json", make_records(RECORDS)), folder / "run", ["hi", "zh"], "first")
        translate_file(job, Endpoint(servers.start().base_url))
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


def review_all(run: Path, language: str = "hi", verdict: str = "edit") -> None:
    """Every record is edited: its last turn gets a word more."""
    reviews = [
        Review(language, one.position, "asha", verdict, "", [*one.translation[:-1], f"हाँ, {one.translation[-1]}"])
        for one in read_accepted(open_run(run), language)
    ]
    ReviewStore(run).add(reviews)


class TestFinetuningSet:
    def test_openai(self, run, tmp_path):
        review_all(run)
        out = tmp_path / "tuning.jsonl"
        counts = export_finetune(run, "openai", out)
        train, validation = read_lines(out), read_lines(tmp_path / "tuning.validation.jsonl")
        assert (counts.train, counts.validation, counts.left_out) == (len(train), len(validation), 0)
        assert len(train) + len(validation) == sum(len(record["conversations"]) for record in make_records(RECORDS))
        assert train and validation
        for sample in train:
            assert [message["role"] for message in sample["messages"]] == ["system", "user", "assistant"]
        # The prompts are those of a run, the completions what the reviewer made of them, with masks.
        prompter = Prompter("first", TARGETS["hi"], {})
        first = prompter.turn_request(Turn("human", "What is the color of the clock?"), [])
        assert list(first.messages) in [sample["messages"][:-1] for sample in train + validation]
        assert any("⟦1⟧" in sample["messages"][-1]["content"] for sample in train)
        assert sum(sample["messages"][-1]["content"].startswith("हाँ, ") for sample in train + validation) == RECORDS

    def test_the_glossary_of_the_run_is_in_the_prompts(self, tmp_path, server):
        glossary = tmp_path / "terms.csv"
        glossary.write_text("en,hi\npicture,तस्वीर\n", encoding="utf-8")
        input = write_records(tmp_path / "records.json", make_records(5))
        translate_file(Job(input, tmp_path / "run", ["hi"], "first", glossary=glossary), Endpoint(server.base_url))
        review_all(tmp_path / "run")
        export_finetune(tmp_path / "run", "openai", tmp_path / "tuning.jsonl")
        prompts = [line["messages"][1]["content"] for line in read_lines(tmp_path / "tuning.jsonl")]
        assert any("picture = तस्वीर" in prompt for prompt in prompts)

    def test_trl_loads_with_datasets(self, run, tmp_path):
        review_all(run)
        export_finetune(run, "trl", tmp_path / "tuning.jsonl")
        dataset = load_dataset(
            "json", data_files=str(tmp_path / "tuning.jsonl"), split="train", cache_dir=tmp_path / "cache"
        )
        assert dataset.column_names == ["prompt", "completion"]
        assert dataset[0]["completion"][0]["role"] == "assistant"

    def test_no_record_on_both_sides_in_any_language(self, run, tmp_path):
        review_all(run, "hi")
        review_all(run, "zh", verdict="accept")
        export_finetune(run, "openai", tmp_path / "t.jsonl", seed=3)

        def pictures(name: str) -> set[str]:
            texts = [line["messages"][1]["content"] for line in read_lines(tmp_path / name)]
            return {text.rpartition("in picture ")[2].split()[0] for text in texts if "in picture" in text}

        train, validation = pictures("t.jsonl"), pictures("t.validation.jsonl")
        assert train | validation == {str(number) for number in range(RECORDS)}
        assert not train & validation

    @pytest.mark.parametrize("name", ["tuning.jsonl", "tuning.validation.jsonl"])
    def test_nothing_is_overwritten(self, run, tmp_path, name):
        review_all(run)
        (tmp_path / name).write_text("mine")
        with pytest.raises(FileExistsError, match=f"{name} exists already"):
            export_finetune(run, "trl", tmp_path / "tuning.jsonl")
        assert (tmp_path / name).read_text() == "mine"
        assert len(list(tmp_path.glob("*tuning*"))) == 1

    def test_rejected_and_unreviewed_records_teach_nothing(self, run, tmp_path):
        with pytest.raises(ValueError, match="nothing was reviewed yet"):
            export_finetune(run, "trl", tmp_path / "t.jsonl")
        review_all(run, verdict="reject")
        with pytest.raises(ValueError, match="nothing was reviewed yet"):
            export_finetune(run, "trl", tmp_path / "t.jsonl")
        assert not (tmp_path / "t.jsonl").exists()

    @pytest.mark.parametrize(
        ("text", "spans", "masked"),
        [
            ("`b` und `a`", ("`a`", "`b`"), "⟦2⟧ und ⟦1⟧"),
            ("`a` `a`", ("`a`", "`a`"), "⟦1⟧ ⟦2⟧"),
            ("nichts", (), "nichts"),
            ("`c`", ("`a`",), None),
        ],
    )
    def test_masks_of_the_source(self, text, spans, masked):
        assert mask_like(text, spans) == masked


class TestCompare:
    def test_two_translators(self, run, tmp_path, serve):
        other = serve(content_faults=0.5)
        job = Job(tmp_path / "records.json", tmp_path / "other", ["hi"], "second", max_attempts=1)
        translate_file(job, Endpoint(other.base_url))
        review_all(run)
        comparison = compare_runs(run, tmp_path / "other")["hi"]
        assert comparison.accepted[0] == RECORDS
        assert comparison.rejected == (0, RECORDS - comparison.accepted[1])
        assert sum(pair[1] for pair in comparison.reasons.values()) >= comparison.rejected[1] > 0
        # Both wrote the same where both were accepted; the reviewed text has a word more.
        assert comparison.different == 0
        assert 80 < comparison.chrf[0] == comparison.chrf[1] < 100
        assert comparison.reviewed[0] == comparison.accepted[1] > comparison.reviewed[1]
        assert "chrF" in comparison_text({"hi": comparison})

    def test_examples_stand_side_by_side(self, run, tmp_path, serve):
        question = make_records(1)[0]["conversations"][0]["value"].removeprefix("<image>\n")
        phrases = {"Hindi": {question: "बस किस रंग की है?"}}
        (tmp_path / "phrases.json").write_text(json.dumps(phrases))
        better = serve(phrases=tmp_path / "phrases.json")
        translate_file(Job(tmp_path / "records.json", tmp_path / "other", ["hi"], "second"), Endpoint(better.base_url))
        comparison = compare_runs(run, tmp_path / "other")["hi"]
        assert comparison.different > 0
        assert comparison.chrf is None
        assert comparison.examples[0]["second"] == "<image>\nबस किस रंग की है?"
        assert comparison.examples[0]["first"] != comparison.examples[0]["second"]

    def test_other_inputs_cannot_be_compared(self, run, tmp_path, server):
        write_records(tmp_path / "others.json", make_records(3, seed=1))
        translate_file(Job(tmp_path / "others.json", tmp_path / "other", ["hi"], "first"), Endpoint(server.base_url))
        with pytest.raises(ValueError, match="over the same input"):
            compare_runs(run, tmp_path / "other")

    def test_what_is_compared_is_counted(self, run, tmp_path, server):
        shards = []
        for index in (1, 2):
            folder = tmp_path / f"shard{index}"
            job = Job(tmp_path / "records.json", folder, ["hi"], "first", shard=Shard(index, 2))
            translate_file(job, Endpoint(server.base_url))
            shards.append(folder)
        comparison = compare_runs(run, shards[0])
        assert (comparison["hi"].in_both, comparison["hi"].accepted_by_both) == (RECORDS // 2, RECORDS // 2)
        assert f"0 of {RECORDS // 2} records that both accepted differ" in comparison_text(comparison)
        with pytest.raises(
            ValueError, match=r"records in common, found none in \S+shard1 \(shard 1/2\) and \S+shard2"
        ):
            compare_runs(*shards)


class TestBuild:
    def test_every_record_says_where_it_comes_from(self, run, tmp_path):
        review_all(run)
        ReviewStore(run).add([Review("hi", 0, "bilal", "reject", "no", ["x"])])
        english = write_records(tmp_path / "english.json", make_records(5, seed=9))
        counts = build([run], tmp_path / "data" / "train.jsonl", english, seed=0)
        records = read_lines(tmp_path / "data" / "train.jsonl")
        assert counts.records == {"en": 5, "hi": RECORDS - 1, "zh": RECORDS}
        assert counts.rejected_by_reviewers == {"hi": 1}
        assert len(records) == counts.records.total()
        hindi = [record for record in records if record["language"] == "hi"]
        assert all(record["review"] == {"status": "edited", "reviewer": "asha"} for record in hindi)
        assert all(record["conversations"][-1]["value"].startswith("हाँ, ") for record in hindi)
        chinese = next(record for record in records if record["language"] == "zh")
        assert chinese["translator"] == "first"
        assert chinese["checks"]["passed"] is True and "full_stop" in chinese["checks"]["repairs"]
        assert chinese["review"] == {"status": "none", "reviewer": None}
        assert chinese["source_id"] == chinese["id"]
        first = next(record for record in records if record["language"] == "en")
        assert (first["translator"], first["review"]) == (None, None)

    def test_the_same_seed_gives_the_same_bytes(self, run, tmp_path):
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            build([run], tmp_path / name / "train.jsonl", seed=seed)
        first, same, other = ((tmp_path / name / "train.jsonl").read_bytes() for name in "abc")
        assert first == same != other
        assert sorted(first.splitlines()) == sorted(other.splitlines())

    def test_shards_give_what_one_run_gives(self, run, tmp_path, server):
        shards = []
        for index in (3, 1, 2):
            job = Job(
                tmp_path / "records.json", tmp_path / f"shard{index}", ["hi", "zh"], "first", shard=Shard(index, 3)
            )
            translate_file(job, Endpoint(server.base_url))
            shards.append(job.output_dir)
        build(shards, tmp_path / "sharded" / "train.jsonl")
        build([run], tmp_path / "whole" / "train.jsonl")
        for name in ("train.jsonl", "README.md"):
            assert (tmp_path / "sharded" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        with pytest.raises(ValueError, match=r"expected each of its 3 shards once, found 3/3, 1/3"):
            build(shards[:2], tmp_path / "half" / "train.jsonl")
        with pytest.raises(ValueError, match="expected each of its 1 shards once"):
            build([run, run], tmp_path / "twice" / "train.jsonl")

    def test_a_missing_shard_of_an_input_with_two_names(self, tmp_path, server, run):
        shutil.copy(tmp_path / "records.json", tmp_path / "copy.json")
        shards = []
        for index, name in ((1, "records.json"), (2, "copy.json")):
            job = Job(tmp_path / name, tmp_path / f"shard{index}", ["hi"], "first", shard=Shard(index, 3))
            translate_file(job, Endpoint(server.base_url))
            shards.append(job.output_dir)
        with pytest.raises(ValueError, match=r"hi of copy\.json, records\.json: expected each of its 3 shards once"):
            build(shards, tmp_path / "half" / "train.jsonl")

    def test_an_array_and_a_card_that_datasets_reads(self, run, tmp_path):
        build([run], tmp_path / "data" / "train.json")
        assert len(json.loads((tmp_path / "data" / "train.json").read_text(encoding="utf-8"))) == 2 * RECORDS
        card = DatasetCard.load(tmp_path / "data" / "README.md")
        assert card.data.language == ["hi", "zh"]
        assert card.data.size_categories == "n<1K"
        assert "| hi | 30 | 0 | 0 | 0 | 0 |" in card.text
        build([run], tmp_path / "lines" / "train.jsonl")
        loaded = load_dataset(str(tmp_path / "lines"), split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == 2 * RECORDS

    def test_what_is_refused(self, run, tmp_path):
        with pytest.raises(ValueError, match="a file that ends in"):
            build([run], tmp_path / "train.parquet")
        with pytest.raises(FileNotFoundError, match="expected the folder of a run"):
            build([tmp_path / "nowhere"], tmp_path / "train.jsonl")
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "README.md").write_text("# Mine")
        with pytest.raises(FileExistsError, match=r"README.md exists already: choose another folder for train.jsonl"):
            build([run], tmp_path / "data" / "train.jsonl")
        (tmp_path / "mine.jsonl").write_text("mine")
        with pytest.raises(FileExistsError, match=r"mine.jsonl exists already: choose another name"):
            build([run], tmp_path / "mine.jsonl")
        assert (tmp_path / "mine.jsonl").read_text() == "mine"
        with pytest.raises(FileNotFoundError, match="nowhere"):
            build([run], tmp_path / "train.jsonl", include_english=tmp_path / "nowhere.json")
        assert not list(tmp_path.glob("*train*"))

    def test_what_was_not_answered_is_counted_and_named(self, tmp_path, server, here, monkeypatch):
        from transformers_palo.llm import UnansweredError
        from transformers_palo.translation.conversation import Translator

        translate = Translator.translate

        async def sometimes(self, turns):
            if self.prompter.target.code == "zh" or "picture 3" in turns[1].english:
                raise UnansweredError("no answer")
            return await translate(self, turns)

        job = Job(write_records(tmp_path / "few.json", make_records(5)), tmp_path / "few", ["hi", "zh"], "first")
        with monkeypatch.context() as patch:
            patch.setattr(Translator, "translate", sometimes)
            translate_file(job, Endpoint(server.base_url))
        out = tmp_path / "data" / "train.jsonl"
        code, said, err = here("translate", "build", job.output_dir, "--out", out)
        assert code == 1
        assert "hi: 4 records, 0 of them reviewed; 0 rejected by checks, 0 by reviewers, 1 without an answer" in said
        assert "6 of the translations are not in" in err and "hi: 000000000003; zh: 000000000000, 0" in err
        assert len(read_lines(out)) == 4
        assert "| zh | 0 | 0 | 0 | 0 | 5 |" in (out.parent / "README.md").read_text()
        translate_file(job, Endpoint(server.base_url))
        code, said, err = here("translate", "build", job.output_dir, "--out", tmp_path / "all" / "train.jsonl")
        assert (code, err) == (0, "")
        assert len(read_lines(tmp_path / "all" / "train.jsonl")) == 10

    def test_a_run_that_is_not_finished(self, tmp_path, server, monkeypatch):
        input = write_records(tmp_path / "few.json", make_records(5))
        job = Job(input, tmp_path / "few", ["hi"], "first")
        translate_file(job, Endpoint(server.base_url))
        with monkeypatch.context() as patch:
            patch.setattr("transformers_palo.translation.run._write_files", lambda *_: None)
            translate_file(job, Endpoint(server.base_url))
        with pytest.raises(ValueError, match="hi is not finished: run 'palo translate run' to its end first"):
            build([tmp_path / "few"], tmp_path / "train.jsonl")
        assert not (tmp_path / "train.jsonl").exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
    def test_a_run_in_a_folder_that_is_read_only(self, run, monkeypatch):
        """Somebody else's, or on a disk that is mounted so: it can be read, and everything built from it elsewhere."""
        review_all(run)

        def as_nobody() -> object:
            os.setuid(65534)
            counts = build([Path("run")], Path("elsewhere/train.jsonl"))
            export_finetune(Path("run"), "trl", Path("elsewhere/tuning.jsonl"))
            with pytest.raises(OSError, match=r"run2 cannot be made: Permission denied. Choose another --output-dir"):
                translate_file(Job(Path("few.json"), Path("run2"), ["hi"], "first"), Endpoint("http://127.0.0.1:9"))
            return counts.records.total(), counts.reviewed.total(), stats_table(Path("run")).count("\n")

        # pytest's own folders are closed to everybody else.
        with tempfile.TemporaryDirectory() as folder:
            monkeypatch.chdir(folder)
            shutil.copytree(run, "run", ignore=shutil.ignore_patterns("*-wal", "*-shm"))  # as a run leaves it
            write_records(Path("few.json"), make_records(1))
            for name, mode in ((".", 0o755), ("run", 0o755), ("elsewhere", 0o777)):
                Path(name).mkdir(exist_ok=True)
                Path(name).chmod(mode)
            assert in_a_fork(as_nobody) == f"({2 * RECORDS}, {RECORDS}, 1)"
            assert not list(Path("run").glob("*-wal"))
            monkeypatch.undo()

    def test_files_that_do_not_fit_the_journal(self, run, tmp_path):
        path = run / "hi.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
        with pytest.raises(ValueError, match="does not fit the run's journal"):
            build([run], tmp_path / "train.jsonl")


@pytest.mark.parametrize(
    "arguments",
    [
        ["export-finetune", "RUN", "--format", "openai", "--out", "OUT/tuning.jsonl"],
        ["build", "RUN", "--out", "OUT/train.jsonl"],
        ["compare", "RUN", "RUN"],
        ["review", "export", "RUN", "--language", "hi", "--sample", "3", "--out", "OUT/hi.csv"],
        ["review", "stats", "RUN"],
        ["check", "RUN"],
    ],
    ids=lambda arguments: arguments[0] if arguments[0] != "review" else arguments[1],
)
def test_commands(run, tmp_path, here, arguments):
    review_all(run)
    named = [argument.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for argument in arguments]
    code, out, err = here("translate", *named)
    assert (code, err) == (0, "")
    assert out


@pytest.mark.parametrize(
    "command",
    ["export-finetune", "build", "compare", "review export", "review import", "review stats", "review serve"],
)
def test_help(here, command):
    code, out, _ = here("translate", *command.split(), "--help")
    assert code == 0
    assert f"palo translate {command}" in out
    assert "Example" in out
