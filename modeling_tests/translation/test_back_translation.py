"""Translations back into English, scored against it."""

import json
from pathlib import Path

import pytest

from transformers_palo.llm import Endpoint
from transformers_palo.translation.back_translation import back_translate, back_translation_text
from transformers_palo.translation.run import Job, translate_file

from .conftest import Loopback, read_lines, write_records


PAIRS = {
    "What is the dog doing?": "कुत्ता क्या कर रहा है?",
    "The dog is running across the wide field.": "कुत्ता चौड़े मैदान में दौड़ रहा है।",
    "How many boats are there?": "वहाँ कितनी नावें हैं?",
    "There are three boats near the old bridge.": "पुराने पुल के पास तीन नावें हैं।",
    "What colour is the bus?": "बस किस रंग की है?",
    "The bus is red, as https://a.org says.": "बस लाल है, जैसा https://a.org कहता है।",
}
# What comes back: all of the first record, another sense in the second.
BACK = {
    **{translation: english for english, translation in PAIRS.items()},
    "पुराने पुल के पास तीन नावें हैं।": "A cat sleeps quietly on somebody's sofa.",
    "बस लाल है, जैसा ⟦1⟧ कहता है।": "The bus is red, as ⟦1⟧ says.",
}


@pytest.fixture
def server(serve, tmp_path) -> Loopback:
    masked = {"The bus is red, as ⟦1⟧ says.": "बस लाल है, जैसा ⟦1⟧ कहता है।"}
    (tmp_path / "phrases.json").write_text(json.dumps({"Hindi": PAIRS | masked, "English": BACK}))
    return serve(phrases=tmp_path / "phrases.json")


@pytest.fixture
def run(tmp_path, server) -> Path:
    turns = list(PAIRS)
    records = [
        {"id": f"r{n}", "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}
        for n, (question, answer) in enumerate(zip(turns[::2], turns[1::2], strict=True))
    ]
    records[0]["conversations"][0]["value"] = f"<image>\n{turns[0]}"
    job = Job(write_records(tmp_path / "in.json", records), tmp_path / "run", ["hi"], "m")
    assert translate_file(job, Endpoint(server.base_url)).accepted["hi"] == 3
    return tmp_path / "run"


def test_scores(run, server):
    from sacrebleu.metrics import CHRF

    result = back_translate(run, "hi", "other", Endpoint(server.base_url), 10, 0)
    assert [one.source_id for one in result.lowest] == ["r1", "r0", "r2"]
    low, *rest = (one.chrf for one in result.lowest)
    assert low < 50
    assert rest == [100, 100]
    first = result.records[0]
    assert first.back_translation == first.english  # with its placeholder
    lines = read_lines(run / "back-translation" / "hi.jsonl")
    assert [line["source_id"] for line in lines] == ["r0", "r1", "r2"]
    back, english = ("\n".join(lines[1][name]) for name in ("back_translation", "english"))
    assert lines[1]["chrf"] == pytest.approx(CHRF().sentence_score(back, [english]).score, abs=0.01)
    assert low < result.chrf < 100


def test_no_english_is_shown_to_who_translates_back(run, server):
    """Else the score would say how well it is copied."""
    import sqlite3
    from contextlib import closing

    back_translate(run, "hi", "other", Endpoint(server.base_url), 10, 0)
    with closing(sqlite3.connect(run / "back-translation" / "journal.sqlite")) as connection:
        messages = [message for (message,) in connection.execute("SELECT message FROM exchanges")]
    assert len(messages) == 6
    assert not any(english in message for english in PAIRS for message in messages)
    assert any("कुत्ता क्या कर रहा है?" in message and "दौड़" in message for message in messages)  # context


def test_answers_are_asked_for_once(run, server):
    first = back_translate(run, "hi", "other", Endpoint(server.base_url), 10, 0)
    again = back_translate(run, "hi", "other", Endpoint(server.base_url), 10, 0)
    assert (first.usage.answered, again.usage.answered) == (6, 0)
    assert again.records == first.records


def test_the_command(run, server, here):
    options = ["--language", "hi", "--base-url", server.base_url, "--model", "other"]
    code, out, _ = here("translate", "back-translate", run, *options)
    assert code == 0
    assert out.splitlines()[1].split()[:2] == ["hi", "3"]
    assert out.index("r1: chrF") < out.index("r0: chrF")
    assert 'back: "A cat sleeps quietly' in out
    code, _, err = here("translate", "back-translate", run, "--language", "zh", *options[2:])
    assert (code, "expected one of its languages (hi), found 'zh'" in err) == (1, True)
    code, _, err = here("translate", "back-translate", run, *options[:-1], "unknown")
    assert (code, "check --model" in err, len(err.splitlines())) == (1, True, 1)
    # The folder beside it disturbs no other command.
    assert here("translate", "check", run)[0] == 0


def test_refused_records_are_counted(run, server):
    """The endpoint refuses a text, and the record keeps no score."""
    lines = read_lines(run / "hi.jsonl")
    text = lines[2]["conversations"][1]["value"]
    import sqlite3

    with sqlite3.connect(run / "journal.sqlite") as connection:
        (outcome,) = connection.execute("SELECT outcome FROM results WHERE position = 2").fetchone()
        changed = outcome.replace(text, "REFUSE ME बस")
        connection.execute("UPDATE results SET outcome = ? WHERE position = 2", (changed,))
    lines[2]["conversations"][1]["value"] = "REFUSE ME बस"
    (run / "hi.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result = back_translate(run, "hi", "other", Endpoint(server.base_url), 10, 0)
    assert [one.chrf is None for one in result.records] == [False, False, True]
    assert back_translation_text(result, run).splitlines()[1].split()[-1] == "1"


# In COMET's place: what its models are asked for and give, with a score that can be told beforehand.
COMET = """
class Model:
    def requires_references(self):
        return "da" in self.name
    def predict(self, samples, batch_size, gpus):
        assert all(sample.keys() == ({"src", "mt", "ref"} if "da" in self.name else {"src", "mt"}) for sample in samples)
        return type("Prediction", (), {"scores": [len(sample["src"]) / 100 for sample in samples]})

def download_model(name):
    return name

def load_from_checkpoint(path):
    model = Model()
    model.name = path
    return model
"""


@pytest.mark.parametrize(("model", "source"), [("kiwi", "english"), ("da", "translation")])
def test_comet_is_given_what_it_wants(run, server, tmp_path, model, source):
    import subprocess
    import sys

    from .conftest import PROJECT

    result = back_translate(run, "hi", "other", Endpoint(server.base_url), 10, 0)
    (tmp_path / "comet.py").write_text(COMET)
    command = [sys.executable, PROJECT / "examples" / "score_with_comet.py", run / "back-translation" / "hi.jsonl"]
    done = subprocess.run(
        [*command, "--model", model], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout.startswith("3 of 3 records, mean 0.")
    lines = (run / "back-translation" / "hi.comet.tsv").read_text().splitlines()
    for line, one in zip(lines, result.records, strict=True):
        lengths = [len(turn) / 100 for turn in getattr(one, source)]
        assert line == f"{one.source_id}\t{sum(lengths) / len(lengths):.4f}"
