"""Reviewing: spreadsheets out and in, a queue for several people, the web page in a real browser, statistics."""

import csv
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transformers_palo.llm import Endpoint
from transformers_palo.translation.review_files import export_reviews, sample
from transformers_palo.translation.review_import import import_reviews
from transformers_palo.translation.review_queue import ReviewQueue
from transformers_palo.translation.reviews import Review, ReviewStore, decide, review_stats, stats_table
from transformers_palo.translation.run import Job, translate_file

from .conftest import PALO, make_records, write_records


# Two photographs that scikit-learn brings, and what could be said of them; one translation has a wrong gender.
CONVERSATIONS = [
    (
        "china.jpg",
        ("What kind of building is shown in the image?", "تصویر میں کس قسم کی عمارت دکھائی گئی ہے؟"),
        (
            "The image shows a traditional Chinese temple with a yellow roof, standing on a hill.",
            "تصویر میں پیلی چھت والا ایک روایتی چینی مندر دکھایا گیا ہے، جو ایک پہاڑی پر کھڑا ہے۔",
        ),
        ("Is there anything in front of the temple?", "کیا مندر کے سامنے کچھ ہے؟"),
        ("Yes, there is a big wall and a stone bridge.", "جی ہاں، وہاں ایک بڑا دیوار اور پتھر کا ایک پل ہے۔"),
    ),
    (
        "flower.jpg",
        ("What color is the flower?", "پھول کس رنگ کا ہے؟"),
        ("The flower is orange and yellow.", "پھول نارنجی اور پیلے رنگ کا ہے۔"),
    ),
    (
        "flower.jpg",
        ("Is the flower in focus?", "کیا پھول واضح نظر آ رہا ہے؟"),
        (
            "Yes, the flower is in focus, while the background is blurred.",
            "جی ہاں، پھول واضح ہے جبکہ پس منظر دھندلا ہے۔",
        ),
    ),
]


@pytest.fixture
def run(tmp_path, serve) -> Path:
    """A run into Urdu over the conversations above."""
    records, phrases = [], {}
    for number, (image, *turns) in enumerate(CONVERSATIONS):
        roles = ["human", "gpt"] * (len(turns) // 2)
        values = [english for english, _ in turns]
        values[0] = f"<image>\n{values[0]}"
        conversations = [{"from": role, "value": value} for role, value in zip(roles, values, strict=True)]
        records.append({"id": f"photo-{number}", "image": image, "conversations": conversations})
        phrases.update(dict(turns))
    (tmp_path / "phrases.json").write_text(json.dumps({"Urdu": phrases}))
    server = serve(phrases=tmp_path / "phrases.json")
    summary = translate_file(
        Job(write_records(tmp_path / "photos.json", records), tmp_path / "run", ["ur"], "dictionary"),
        Endpoint(server.base_url),
    )
    assert summary.accepted["ur"] == 3
    return tmp_path / "run"


def fill_in(path: Path, **columns: dict[tuple[str, str], str]) -> None:
    """Write into a spreadsheet: column -> (source_id, turn) -> text."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for name, cells in columns.items():
        for row in rows:
            row[name] = cells.get((row["source_id"], row["turn"]), row[name])
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


class TestSpreadsheets:
    def test_there_and_back(self, run, tmp_path):
        out = tmp_path / "ur.csv"
        assert export_reviews(run, "ur", 10, 0, out) == 3
        assert out.read_bytes().startswith(b"\xef\xbb\xbf")
        corrected = "جی ہاں، وہاں ایک بڑی دیوار اور پتھر کا ایک پل ہے۔"
        fill_in(
            out,
            edited={("photo-0", "4"): corrected},
            verdict={("photo-1", "1"): "accept", ("photo-2", "2"): "reject"},
            reason={("photo-2", "2"): "unnatural"},
            minutes={("photo-0", "1"): "1,5"},
        )
        with pytest.raises(ValueError, match="expected who reviewed it"):
            import_reviews(run, out)
        assert import_reviews(run, out, reviewer="asha") == (3, 0, [])
        decisions = ReviewStore(run).decisions("ur")
        assert [decisions[position].verdict for position in range(3)] == ["edit", "accept", "reject"]
        assert decisions[0].translation[3] == corrected
        assert decisions[0].translation[0].startswith("<image>\n")
        assert (decisions[0].seconds, decisions[2].reason, decisions[1].reviewer) == (90, "unnatural", "asha")
        assert decisions[0].reviewed_at.endswith("Z")

    def test_rows_without_a_verdict_are_no_review(self, run, tmp_path):
        export_reviews(run, "ur", 10, 0, tmp_path / "ur.csv")
        assert import_reviews(run, tmp_path / "ur.csv", "asha") == (0, 3, [])

    @pytest.mark.parametrize(
        ("columns", "complaint"),
        [
            (
                {"verdict": {("photo-1", "1"): "fine"}},
                "row 6: expected a verdict of accept, edit, reject or none, found 'fine'",
            ),
            ({"verdict": {("photo-1", "1"): "edit"}}, "'edited' is empty"),
            ({"edited": {("photo-1", "1"): "پھول؟"}, "verdict": {("photo-1", "2"): "accept"}}, "placeholder_lost"),
            ({"translation": {("photo-1", "1"): "another"}}, "corrections belong into the column 'edited'"),
            ({"position": {("photo-1", "1"): "x"}}, "expected a number in 'position'"),
            (
                {"minutes": {("photo-1", "1"): "long"}, "verdict": {("photo-1", "1"): "accept"}},
                "expected a number in 'minutes'",
            ),
        ],
    )
    def test_a_wrong_row_keeps_everything_out(self, run, tmp_path, columns, complaint):
        out = tmp_path / "ur.csv"
        export_reviews(run, "ur", 10, 0, out)
        fill_in(out, verdict={("photo-0", "1"): "accept"})
        fill_in(out, **columns)
        with pytest.raises(ValueError, match=complaint.split(":")[0]) as error:
            import_reviews(run, out, "asha")
        assert complaint in str(error.value)
        assert ReviewStore(run).of_language("ur") == {}

    def test_nothing_is_overwritten(self, run, tmp_path):
        (tmp_path / "ur.csv").write_text("hours of work")
        with pytest.raises(FileExistsError, match="exists already: choose another name, or remove it first"):
            export_reviews(run, "ur", 10, 0, tmp_path / "ur.csv")
        assert (tmp_path / "ur.csv").read_text() == "hours of work"

    @pytest.mark.parametrize(
        ("delimiter", "encoding", "line_end", "start"),
        [
            (";", "utf-8-sig", "\r\n", ""),  # Excel in Europe, "CSV UTF-8"
            ("\t", "utf-16", "\r\n", ""),  # Excel, "Unicode Text"
            ("\t", "utf-16-be", "\n", "\ufeff"),
            (";", "utf-8", "\n", "sep=;\n"),
            (",", "utf-8", "\r", ""),
        ],
    )
    def test_however_a_spreadsheet_saves_it(self, run, tmp_path, delimiter, encoding, line_end, start):
        """Re-sorted, with columns dropped, an empty row at the end, and other line ends within cells."""
        out = tmp_path / "ur.csv"
        export_reviews(run, "ur", 10, 0, out)
        corrected = "جی ہاں، وہاں ایک بڑی دیوار؛ اور پتھر کا ایک پل ہے۔"
        fill_in(
            out, edited={("photo-0", "4"): corrected}, verdict={("photo-1", "1"): "Accept", ("photo-2", "2"): "reject"}
        )
        with out.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        names = ["verdict", "edited", "turn", "translation", "position", "language", "English notes"]
        with out.open("w", encoding=encoding, newline="") as file:
            file.write(start)
            writer = csv.DictWriter(
                file, names, delimiter=delimiter, lineterminator=line_end, extrasaction="ignore", restval=""
            )
            writer.writeheader()
            for row in sorted(rows, key=lambda row: row["english"]):
                text = row["translation"].replace("\n", line_end)
                writer.writerow(row | {"translation": text, "position": f"{row['position']}.0"})
            file.write(delimiter * 6 + line_end)
        assert import_reviews(run, out, "asha") == (3, 0, [])
        decisions = ReviewStore(run).decisions("ur")
        assert [decisions[position].verdict for position in range(3)] == ["edit", "accept", "reject"]
        assert decisions[0].translation[3] == corrected
        assert decisions[0].translation[0].startswith("<image>\n")

    def test_without_the_column_language_the_texts_tell_it(self, run, tmp_path):
        out = tmp_path / "ur.csv"
        export_reviews(run, "ur", 10, 0, out)
        fill_in(
            out,
            language={(f"photo-{n}", str(t)): "" for n in range(3) for t in range(1, 5)},
            verdict={("photo-1", "1"): "accept"},
        )
        assert import_reviews(run, out, "asha") == (1, 2, [])

    @pytest.mark.parametrize(
        ("columns", "complaint"),
        [
            ({"turn": {("photo-1", "2"): "1"}}, "row 7: expected each turn once, found turn 1 of position 1 as in"),
            ({"turn": {("photo-1", "2"): "3"}}, "expected all turns of position 1, turn 2 is missing"),
            ({"position": {("photo-1", "1"): "7", ("photo-1", "2"): "7"}}, "found position 7, which is none"),
            (
                {"source_id": {("photo-1", "1"): "photo-9"}},
                "row 6: expected source_id 'photo-1' at position 1, found 'photo-9'",
            ),
            ({"language": {("photo-1", "1"): "hi"}}, "expected one language in 'language', found 'hi', 'ur'"),
            ({"edited": {("photo-1", "1"): "<image>\nپھول\x07؟"}}, "damaged_text (found U+0007)"),
        ],
    )
    def test_rows_that_do_not_fit_are_named(self, run, tmp_path, columns, complaint):
        out = tmp_path / "ur.csv"
        export_reviews(run, "ur", 10, 0, out)
        fill_in(out, **columns)
        with pytest.raises(ValueError) as error:
            import_reviews(run, out, "asha")
        assert complaint in str(error.value)

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (b"PK\x03\x04 and so on", "found a workbook: save it as 'CSV UTF-8'"),
            ("position;turn;edited\n1;1;é".encode("latin-1"), "found another encoding, which loses letters"),
            ("position,turn".encode("utf-16-le"), "found another encoding"),
            (b"", "none named 'position'"),
            (b"position,turn,verdict\n", "none named 'language' or 'translation'"),
            (b"position,turn,turn,verdict,language\n", "found 'turn' twice"),
            (b'position,turn,verdict,language\n0,1,"accept,ur\n', "expected a table, found what is none"),
            (b"position,turn,verdict,language\n0,1,accept,ur,more\n", "row 2: expected 4 cells, found 5"),
            (b"position,turn,verdict,language\n0,1,accept,hi\n", "'s languages, ur; found 'hi'"),
        ],
    )
    def test_what_is_no_such_table(self, run, tmp_path, content, complaint):
        (tmp_path / "other.csv").write_bytes(content)
        with pytest.raises(ValueError) as error:
            import_reviews(run, tmp_path / "other.csv", "asha")
        assert complaint in str(error.value)

    def test_a_file_that_is_not_there(self, run, tmp_path):
        with pytest.raises(FileNotFoundError, match="expected a filled-in CSV file, found nothing"):
            import_reviews(run, tmp_path / "hi.csv", "asha")

    def test_another_table(self, run, tmp_path):
        (tmp_path / "other.csv").write_text("a,b\n1,2\n")
        with pytest.raises(ValueError, match="none named 'position'"):
            import_reviews(run, tmp_path / "other.csv", "asha")

    def test_a_language_that_the_run_does_not_have(self, run, tmp_path):
        with pytest.raises(ValueError, match=r"one of its languages \(ur\), found 'hi'"):
            export_reviews(run, "hi", 10, 0, tmp_path / "hi.csv")


def test_a_sample_is_even_over_kinds_and_the_same_for_a_seed(tmp_path, server):
    job = Job(write_records(tmp_path / "r.json", make_records(90)), tmp_path / "run", ["hi"], "dictionary")
    translate_file(job, Endpoint(server.base_url))
    chosen = [one.position for one in sample(tmp_path / "run", "hi", 20, seed=1)]
    assert chosen == sorted(chosen) == [one.position for one in sample(tmp_path / "run", "hi", 20, seed=1)]
    assert chosen != [one.position for one in sample(tmp_path / "run", "hi", 20, seed=2)]
    # A third of the records are conversations of several questions, and half of the sample.
    assert Counter(position % 3 == 0 for position in chosen) == {True: 10, False: 10}


class TestStatistics:
    def test_counts(self, run):
        store = ReviewStore(run)
        originals = {0: ["abcd", "abcd"], 1: ["abcd"], 2: ["abcd"]}
        store.add(
            [
                Review("ur", 0, "asha", "edit", "", ["abcd", "abxx"], 10),
                Review("ur", 0, "bilal", "accept", "", ["abcd", "abcd"], 20),
                Review("ur", 1, "asha", "accept", "", ["abcd"]),
                Review("ur", 1, "bilal", "reject", "wrong", ["abcd"]),
                Review("ur", 2, "asha", "reject", "wrong", ["abcd"]),
                Review("ur", 2, "asha", "accept", "second thoughts", ["abcd"]),
            ]
        )
        stats = review_stats(store.of_language("ur"), originals)
        assert stats.reviewed == 3
        assert stats.verdicts == {"accept": 3, "edit": 1, "reject": 1}
        assert stats.edit_distance == pytest.approx(2 / 9)
        assert stats.reject_rate == pytest.approx(1 / 3)
        assert (stats.agreement, stats.several, stats.seconds) == (0.5, 2, 15)
        assert "50.0% of 2" in stats_table(run)

    def test_a_rejection_counts_before_what_follows(self):
        first, second = (
            Review("ur", 0, name, verdict, "", []) for name, verdict in (("a", "reject"), ("b", "accept"))
        )
        assert decide([first, second]) is first
        assert decide([second]) is second

    def test_nothing_reviewed(self, run):
        with pytest.raises(ValueError, match="nothing was reviewed yet"):
            stats_table(run)


class TestQueue:
    def test_nobody_gets_what_another_has_open(self, run):
        queue = ReviewQueue(run, "ur", 10, 0)
        positions = [queue.next(name).position for name in ("asha", "bilal", "chen")]
        assert sorted(positions) == [0, 1, 2]
        assert queue.next("asha").position == positions[0]
        assert queue.next("dina") is not None  # nothing else is left

    def test_what_was_skipped_comes_again_at_the_end(self, run):
        queue = ReviewQueue(run, "ur", 10, 0)
        first = queue.next("asha")
        queue.skip("asha", first.position)
        for _ in range(2):
            one = queue.next("asha")
            assert one.position != first.position
            queue.submit("asha", one.position, one.translation, False, "", 1)
        assert queue.next("asha").position == first.position

    def test_many_reviewers_at_once_lose_nothing(self, run):
        queue = ReviewQueue(run, "ur", 10, 0)

        def review(name: str) -> None:
            while (one := queue.next(name)) is not None:
                queue.submit(name, one.position, one.translation, rejected=False, reason="", seconds=0.1)

        names = [f"reviewer {number}" for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(review, names))
        reviews = ReviewStore(run).of_language("ur")
        assert {
            position: sorted(one.reviewer for one in of_record) for position, of_record in reviews.items()
        } == dict.fromkeys(range(3), names)
        # A restart knows them.
        assert ReviewQueue(run, "ur", 10, 0).next(names[0]) is None

    def test_an_edit_keeps_the_placeholder(self, run):
        queue = ReviewQueue(run, "ur", 10, 0)
        assert (
            queue.submit("asha", 1, ["پھول کون سے رنگ کا ہے؟", "پھول نارنجی اور پیلے رنگ کا ہے۔"], False, "", 1)
            == "edit"
        )
        (review,) = ReviewStore(run).of_language("ur")[1]
        assert review.translation[0] == "<image>\nپھول کون سے رنگ کا ہے؟"

    @pytest.mark.parametrize(
        ("reviewer", "texts", "rejected", "complaint"),
        [
            (" ", None, False, "your name"),
            ("asha", None, True, "why it is rejected"),
            ("asha", ["", "پھول۔"], False, "Turn 1: the edit has empty"),
        ],
    )
    def test_what_cannot_be_kept(self, run, reviewer, texts, rejected, complaint):
        queue = ReviewQueue(run, "ur", 10, 0)
        one = queue.next("asha")
        with pytest.raises(ValueError, match=complaint):
            queue.submit(reviewer, 1, texts or one.translation[:2], rejected, "", 1)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def page_url(run, tmp_path):
    """`palo translate review serve`, as it is called."""
    pytest.importorskip("gradio", reason="the page needs gradio")
    from sklearn.datasets import load_sample_images

    images = Path(load_sample_images().filenames[0]).parent
    port = free_port()
    command = [PALO, "translate", "review", "serve", run, "--language", "ur", "--image-folder", images, "--port", port]
    with (tmp_path / "serve.log").open("w") as log:
        server = subprocess.Popen(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert server.poll() is None, (tmp_path / "serve.log").read_text()
            try:
                urllib.request.urlopen(url, timeout=2).read()
                break
            except OSError:
                time.sleep(0.25)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")
def test_the_page_in_a_browser(run, page_url, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(page_url)
        page.get_by_label("Reviewer").fill("asha")
        page.locator("#palo-start").click()
        # The first record: four turns, right to left, the wrong gender marked, its picture.
        mark = page.locator("#palo-marked-3 mark")
        expect(mark).to_have_text("بڑا دیوار", timeout=20_000)
        assert mark.get_attribute("title") == "gender agreement"
        assert page.locator("#palo-marked-3 [dir=rtl]").count() == 1
        box = page.locator("#palo-edit-3 textarea")
        assert box.evaluate("element => getComputedStyle(element).direction") == "rtl"
        expect(page.locator("#palo-image img")).to_be_visible()
        assert page.locator("#palo-image img").evaluate("image => image.naturalWidth") == 640
        page.screenshot(path=tmp_path / "review.png")
        # Correct it, and accept with the keyboard while the cursor is still in the field.
        corrected = "جی ہاں، وہاں ایک بڑی دیوار اور پتھر کا ایک پل ہے۔"
        box.fill(corrected)
        box.press("Alt+a")
        expect(page.locator("#palo-progress")).to_contain_text("You: 1 of 3", timeout=20_000)
        expect(page.locator("#palo-edit-0 textarea")).to_have_value("پھول کس رنگ کا ہے؟", timeout=20_000)
        # A rejection needs a reason.
        page.keyboard.press("Alt+r")
        expect(page.get_by_text("Write why it is rejected.")).to_be_visible(timeout=20_000)
        page.locator("#palo-reason textarea, #palo-reason input").fill("unnatural")
        page.keyboard.press("Alt+r")
        expect(page.locator("#palo-progress")).to_contain_text("You: 2 of 3", timeout=20_000)
        expect(page.locator("#palo-edit-0 textarea")).to_have_value("کیا پھول واضح نظر آ رہا ہے؟", timeout=20_000)
        # Another reviewer at the same time begins with what nobody has reviewed or opened.
        other = browser.new_page()
        other.goto(page_url)
        other.get_by_label("Reviewer").fill("bilal")
        other.locator("#palo-start").click()
        expect(other.locator("#palo-progress")).to_contain_text("You: 0 of 3 records; by anybody: 2", timeout=20_000)
        page.locator("#palo-accept").click()
        expect(page.locator("#palo-progress")).to_contain_text("All done", timeout=20_000)
        browser.close()
    reviews = ReviewStore(run).of_language("ur")
    assert sorted(review.verdict for of_record in reviews.values() for review in of_record) == [
        "accept",
        "edit",
        "reject",
    ]
    (edit,) = reviews[0]
    assert (edit.reviewer, edit.verdict, edit.translation[3]) == ("asha", "edit", corrected)
    assert edit.translation[:3] == [
        text if n else f"<image>\n{text}" for n, (_, text) in enumerate(CONVERSATIONS[0][1:4])
    ]
    assert edit.seconds > 0


def annotated(
    tasks: list[dict], who: str | int, said: dict[tuple[int, int], dict], seconds: float = 30.0
) -> list[dict]:
    """Label Studio's export: tasks with what one annotator said, `{(position, turn): {"edited", "verdict", "reason"}}`."""
    exported = []
    for number, task in enumerate(tasks, start=1):
        words = said.get((task["data"]["position"], task["data"]["turn"]))
        if words is None:  # the export leaves out what nobody annotated
            continue
        (prefilled,) = task["predictions"][0]["result"]
        texts = {"edited": prefilled["value"]["text"][0], "reason": "", **words}
        result = [
            {"from_name": name, "to_name": "english", "type": "textarea", "value": {"text": [texts[name]]}}
            for name in ("edited", "reason")
            if texts[name]
        ]
        choice = {"choices": [texts["verdict"]]}
        result.append({"from_name": "verdict", "to_name": "english", "type": "choices", "value": choice})
        annotation = {"completed_by": who, "was_cancelled": False, "lead_time": seconds, "result": result}
        exported.append({"id": number, "data": task["data"], "annotations": [annotation]})
    return exported


EVERY_TURN = {(0, number): {"verdict": "accept"} for number in (1, 2, 3, 4)}
CORRECTED = "جی ہاں، وہاں ایک بڑی دیوار اور پتھر کا ایک پل ہے۔"


class TestLabelStudio:
    @pytest.fixture
    def tasks(self, run, tmp_path) -> list[dict]:
        assert export_reviews(run, "ur", 10, 0, tmp_path / "ur.json", "label-studio", "https://a.org/") == 3
        return json.loads((tmp_path / "ur.json").read_text(encoding="utf-8"))

    def test_what_a_reviewer_sees(self, tasks, tmp_path):
        import xml.etree.ElementTree as ElementTree

        config = ElementTree.parse(tmp_path / "ur.config.xml").getroot()
        shown = {tag.get("value")[1:] for tag in config.iter() if (tag.get("value") or "").startswith("$")}
        assert {"image", "english", "context", "flags"} <= shown
        controls = {tag.get("name"): tag for tag in config.iter() if tag.get("toName")}
        assert controls.keys() == {"edited", "verdict", "reason"}
        assert [choice.get("value") for choice in controls["verdict"]] == ["accept", "edit", "reject"]
        assert config.find("View").get("className") == "right-to-left"
        assert len(tasks) == 8
        assert all(shown <= task["data"].keys() for task in tasks)
        fourth = tasks[3]
        assert fourth["data"]["flags"] == "gender_agreement"
        assert fourth["data"]["image"] == "https://a.org/china.jpg"
        assert fourth["data"]["context"].count("=> ") == 3
        (prefilled,) = fourth["predictions"][0]["result"]
        assert prefilled["value"]["text"] == [fourth["data"]["translation"]]
        assert (prefilled["from_name"], prefilled["to_name"]) == ("edited", "english")

    def test_what_reviewers_said(self, run, tasks, tmp_path):
        asha = EVERY_TURN | {(0, 4): {"edited": CORRECTED, "verdict": "edit"}, (1, 1): {"verdict": "accept"}}
        bilal = {(0, 2): {"verdict": "reject", "reason": "unnatural"}}
        export = annotated(tasks, {"id": 1, "email": "asha@a.org"}, asha) + annotated(tasks, 2, bilal)
        export[0]["annotations"].append({"was_cancelled": True, "result": [], "completed_by": 3})
        path = write_records(tmp_path / "export.json", export)
        # Asha has said nothing of the second turn of photo-1 yet.
        assert import_reviews(run, path) == (1, 0, ["photo-1 (turn 2)"])
        first, second = ReviewStore(run).of_language("ur")[0]
        assert (first.reviewer, first.verdict, second.reviewer, second.verdict) == (
            "2",
            "reject",
            "asha@a.org",
            "edit",
        )
        assert second.translation[3] == CORRECTED
        assert second.seconds == pytest.approx(4 * 30)
        assert first.reason == "unnatural"
        assert ReviewStore(run).decisions("ur").keys() == {0}

    def test_nothing_is_overwritten(self, run, tmp_path):
        (tmp_path / "ur.config.xml").write_text("mine")
        with pytest.raises(FileExistsError, match=r"ur.config.xml exists already"):
            export_reviews(run, "ur", 10, 0, tmp_path / "ur.json", "label-studio")
        assert [path.name for path in tmp_path.glob("*ur*")] == ["ur.config.xml"]

    def test_an_export_with_a_byte_order_mark(self, run, tasks, tmp_path):
        path = write_records(tmp_path / "export.json", annotated(tasks, 1, EVERY_TURN))
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert import_reviews(run, path) == (1, 0, [])

    def test_blank_ends_that_a_text_area_takes_away_are_no_edit(self, run, tasks, tmp_path):
        said = {key: {"verdict": "edit"} for key in EVERY_TURN}
        export = annotated(tasks, 1, said)
        result = export[0]["annotations"][0]["result"]
        result[0]["value"]["text"] = [f"{tasks[0]['data']['translation']} \n"]
        assert import_reviews(run, write_records(tmp_path / "export.json", export)) == (1, 0, [])
        assert ReviewStore(run).decisions("ur")[0].verdict == "accept"

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (
                lambda task: task["data"].update(translation="other"),
                "task 1: expected a translation of .* found another",
            ),
            (lambda task: task["data"].pop("turn"), "task 1: expected language, position, turn"),
            (lambda task: task.pop("annotations"), "task 1: expected a list 'annotations'"),
            (lambda task: task["data"].update(position=99), "found another"),
            (lambda task: task["annotations"][0]["result"][0]["value"].update(text=["کیا؟"]), "placeholder_lost"),
            (lambda task: task["annotations"][0].update(completed_by=None), "task 1: expected who reviewed it"),
            (lambda task: task["annotations"][0].update(result=None), "task 1: expected a list 'result'"),
            (
                lambda task: task["annotations"][0]["result"][0].update(value=None),
                "task 1: expected a value with 'text' for 'edited', found None",
            ),
            (
                lambda task: task["annotations"][0]["result"][0]["value"].update(text=[1]),
                "task 1: expected text as the answer to 'edited', found 1",
            ),
            (
                lambda task: task["annotations"][0]["result"][1]["value"].update(choices=[["accept"]]),
                r"task 1: expected text as the answer to 'verdict', found \['accept'\]",
            ),
            (lambda task: task["data"].update(position=float("inf")), "task 1: expected language, position, turn"),
        ],
    )
    def test_a_wrong_task_keeps_everything_out(self, run, tasks, tmp_path, change, complaint):
        export = annotated(tasks, 1, EVERY_TURN)
        change(export[0])
        with pytest.raises(ValueError, match=complaint):
            import_reviews(run, write_records(tmp_path / "export.json", export))
        assert not ReviewStore(run).decisions("ur")

    def test_people_who_share_the_turns_of_a_record_are_put_together(self, run, tasks, tmp_path):
        ravi = {(0, 2): {"verdict": "accept"}, (0, 4): {"edited": CORRECTED, "verdict": "edit"}}
        asha = {(0, 1): {"verdict": "accept"}, (0, 3): {"verdict": "accept"}, (2, 1): {"verdict": "accept"}}
        export = annotated(tasks, "ravi", ravi) + annotated(tasks, "asha", asha)
        assert import_reviews(run, write_records(tmp_path / "export.json", export)) == (1, 0, ["photo-2 (turn 2)"])
        ((position, (review,)),) = ReviewStore(run).of_language("ur").items()
        assert (position, review.reviewer, review.verdict) == (0, "asha, ravi", "edit")
        assert [
            text == task["data"]["translation"] for text, task in zip(review.translation, tasks, strict=False)
        ] == [
            True,
            True,
            True,
            False,
        ]
        assert review.translation[3] == CORRECTED
        assert review.seconds == pytest.approx(4 * 30)

    @pytest.mark.parametrize(
        ("asha", "verdict", "last"),
        [
            ({"verdict": "accept"}, "accept", False),
            ({"edited": CORRECTED, "verdict": "edit"}, "edit", True),
            ({"verdict": "reject"}, "reject", False),
        ],
    )
    def test_of_a_turn_the_latest_word_counts_unless_one_rejected_it(self, run, tasks, tmp_path, asha, verdict, last):
        """Asha and Ravi both have turn 4; hers stands first in the file and is the later one unless she rejects."""
        hers = annotated(tasks, "asha", {(0, 1): {"verdict": "accept"}, (0, 4): asha})
        other = f"{CORRECTED} ہاں۔"
        rest = {(0, 2): {"verdict": "accept"}, (0, 3): {"verdict": "accept"}}
        his = annotated(tasks, "ravi", rest | {(0, 4): {"edited": other, "verdict": "edit"}})
        days = {"asha": 1 if verdict == "reject" else 3, "ravi": 2}
        for task in hers + his:
            (annotation,) = task["annotations"]
            annotation["updated_at"] = f"2026-01-0{days[annotation['completed_by']]}T10:00:00.000000Z"
        assert import_reviews(run, write_records(tmp_path / "export.json", hers + his)) == (1, 0, [])
        (review,) = ReviewStore(run).of_language("ur")[0]
        assert (review.reviewer, review.verdict) == ("asha, ravi", verdict)
        assert (review.translation[3] == CORRECTED, other in review.translation) == (last, False)

    def test_the_latest_of_two_who_saw_all_counts(self, run, tasks, tmp_path):
        export = annotated(tasks, "asha", EVERY_TURN | {(0, 4): {"edited": CORRECTED, "verdict": "edit"}})
        export += annotated(tasks, "bilal", EVERY_TURN)
        for number, task in enumerate(export):
            task["annotations"][0]["updated_at"] = f"2026-01-0{2 if number < 4 else 1}T10:00:00.000000Z"
        assert import_reviews(run, write_records(tmp_path / "export.json", export)) == (1, 0, [])
        assert ReviewStore(run).decisions("ur")[0].reviewer == "asha"

    def test_what_cannot_be_kept_yet_is_named(self, run, tasks, tmp_path, here):
        export = annotated(tasks, "asha", {(0, 2): {"verdict": "accept"}, (1, 1): {"verdict": "accept"}})
        path = write_records(tmp_path / "export.json", export)
        code, out, _ = here("translate", "review", "import", run, path)
        assert (code, "0 records reviewed, 0 without a verdict" in out) == (0, True)
        assert "2 partly reviewed" in out
        assert "verdicts: photo-0 (turns 1, 3, 4), photo-1 (turn 2)" in out

    def test_a_text_that_is_no_list(self, run, tasks, tmp_path):
        export = annotated(tasks, 1, EVERY_TURN | {(0, 4): {"edited": CORRECTED, "verdict": "edit"}})
        export[3]["annotations"][0]["result"][0]["value"]["text"] = CORRECTED
        assert import_reviews(run, write_records(tmp_path / "export.json", export)) == (1, 0, [])
        assert ReviewStore(run).decisions("ur")[0].translation[3] == CORRECTED

    def test_an_untouched_export(self, run, tasks, tmp_path):
        export = [{"data": task["data"], "annotations": []} for task in tasks]
        with pytest.raises(ValueError, match="nothing was annotated yet"):
            import_reviews(run, write_records(tmp_path / "export.json", export))

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [("[{}]", "found neither"), ("[{", "found a damaged file"), ("[]", "found an empty export")],
    )
    def test_other_json(self, run, tmp_path, text, complaint):
        (tmp_path / "export.json").write_text(text)
        with pytest.raises(ValueError, match=complaint):
            import_reviews(run, tmp_path / "export.json")


class TestArgilla:
    def test_there_and_back(self, run, tmp_path):
        out = tmp_path / "ur"
        assert export_reviews(run, "ur", 10, 0, out, "argilla", "https://a.org/") == 3
        settings = json.loads((out / ".argilla" / "settings.json").read_text(encoding="utf-8"))
        records = json.loads((out / "records.json").read_text(encoding="utf-8"))
        assert len(records) == 8
        fields = {field["name"]: field["required"] for field in settings["fields"]}
        properties = {one["name"] for one in settings["metadata"]}
        for record in records:
            assert {name for name, required in fields.items() if required} <= record["fields"].keys() <= fields.keys()
            assert record["metadata"].keys() == properties
        assert records[3]["fields"]["flags"] == "gender_agreement"
        assert len({record["id"] for record in records}) == 8
        for record in records[:4]:
            edited = CORRECTED if record["metadata"]["turn"] == 4 else record["suggestions"]["edited"]["value"]
            verdict = "edit" if edited == CORRECTED else "accept"
            record["responses"] = {
                "edited": [{"value": edited, "user_id": "u1"}, {"value": None, "user_id": "u2"}],
                "verdict": [{"value": verdict, "user_id": "u1"}, {"value": "reject", "user_id": "u2"}],
            }
        write_records(out / "records.json", records)
        assert import_reviews(run, out) == (1, 0, [])
        reviews = {review.reviewer: review for review in ReviewStore(run).of_language("ur")[0]}
        assert (reviews["u1"].verdict, reviews["u2"].verdict) == ("edit", "reject")
        assert reviews["u1"].translation[3] == CORRECTED

    @pytest.mark.parametrize(
        ("response", "complaint"),
        [
            ({"value": ["accept"], "user_id": "u1"}, r"expected text as the answer to 'verdict', found \['accept'\]"),
            ({"value": "accept", "user_id": None}, "expected who reviewed it"),
        ],
    )
    def test_a_wrong_response_is_named(self, run, tmp_path, response, complaint):
        export_reviews(run, "ur", 10, 0, tmp_path / "ur", "argilla")
        records = json.loads((tmp_path / "ur" / "records.json").read_text(encoding="utf-8"))
        records[0]["responses"] = {"verdict": [response]}
        with pytest.raises(ValueError, match=f"record 1: {complaint}"):
            import_reviews(run, write_records(tmp_path / "records.json", records))

    def test_images_without_an_address_are_left_out(self, run, tmp_path):
        export_reviews(run, "ur", 10, 0, tmp_path / "ur", "argilla")
        records = json.loads((tmp_path / "ur" / "records.json").read_text(encoding="utf-8"))
        assert not any("image" in record["fields"] for record in records)

    def test_records_of_something_else(self, run, tmp_path):
        path = write_records(tmp_path / "records.json", [{"fields": {}, "metadata": {}, "responses": {}}])
        with pytest.raises(ValueError, match="record 1: expected metadata, suggestions and responses"):
            import_reviews(run, path)


@pytest.mark.parametrize("format", ["label-studio", "argilla"])
def test_the_command_for_tools(run, tmp_path, here, format):
    options = ["--language", "ur", "--format", format, "--out", tmp_path / "out.json", "--image-url", "https://a.org/"]
    code, out, _ = here("translate", "review", "export", run, *options)
    assert (code, "Wrote 3 records" in out) == (0, True)
    code, _, err = here("translate", "review", "export", run, *options)
    assert (code, "out.json exists already" in err) == (1, True)
    code, _, err = here("translate", "review", "import", run, tmp_path / "out.json")
    # Nobody has said anything: Label Studio's tasks are no export of annotations.
    complaint = "expected a list 'annotations'" if format == "label-studio" else "nothing was annotated yet"
    assert (code, complaint in err) == (1, True)
