"""How fast and in how much memory a large file of records is read and prepared: ours, json.load, datasets.

python -m benchmarks.data_reading --gigabytes 2
"""

import argparse
import importlib.metadata
import json
import random
import shutil
from pathlib import Path

from transformers_palo import LANGUAGES

from .common import SENTENCES, Report, photo, scratch
from .startup import run


# The sentences of the benchmarks, by language: in the order in which they stand there.
CODES = ("en", "zh", "hi", "es", "fr", "ar", "bn", "ru", "ur", "ja")
IMAGES = 1000

READ = "from transformers_palo.record_files import open_records", "count = sum(1 for _ in open_records({path!r}))"
PREPARE = (
    "from transformers_palo.data.config import load_config; from transformers_palo.data.prepare import prepare_data",
    "count = prepare_data(load_config({config!r}))['kept']",
)
JSON_LOAD = "import json", "count = len(json.load(open({path!r}, encoding='utf-8')))"
LOAD_DATASET = (
    "import datasets",
    "count = len(datasets.load_dataset('json', data_files={path!r}, split='train', cache_dir={cache!r}))",
)


def sentences(generator: random.Random, language: int, count: int) -> str:
    """Words of a language in random order: texts that neither repeat nor compress like one sentence."""
    words = SENTENCES[language].split() if " " in SENTENCES[language] else list(SENTENCES[language])
    joint = " " if " " in SENTENCES[language] else ""
    return " ".join(
        joint.join(generator.choices(words, k=len(words))) + f" {generator.random():.3f}" for _ in range(count)
    )


def record(generator: random.Random, number: int) -> dict:
    """A record in the shape of the released file: several turns, and the English ones beside a translation."""
    language = number % len(CODES)
    lengths = [(1, generator.randint(1, 12)) for _ in range(generator.randint(1, 5))]

    def conversations(language: int) -> list[dict[str, str]]:
        turns = []
        for question, answer in lengths:
            turns.append({"from": "human", "value": sentences(generator, language, question)})
            turns.append({"from": "gpt", "value": sentences(generator, language, answer)})
        turns[0]["value"] = f"<image>\n{turns[0]['value']}" if number % 2 else f"{turns[0]['value']}\n<image>"
        return turns

    made = {
        "id": f"{number:012}",
        "image": f"coco/train2017/{number // len(CODES) % IMAGES:012}.jpg",
        "conversations": conversations(language),
        "language": CODES[language],
    }
    if language:
        made["english_conversations"] = conversations(0)
    return made


def write_records(folder: Path, size: float) -> tuple[Path, int]:
    """One JSON array of at least so many bytes, escaped as json.dump does unless told otherwise, and its images."""
    (folder / "coco" / "train2017").mkdir(parents=True)
    photo(64, 48).save(folder / "image.jpg")
    for number in range(IMAGES):
        shutil.copyfile(folder / "image.jpg", folder / "coco" / "train2017" / f"{number:012}.jpg")
    # A pool of records is written again and again under new ids: making texts is not what is measured.
    generator = random.Random(0)
    pool = [record(generator, number) for number in range(20_000)]
    path, number = folder / "records.json", 0
    with path.open("w") as file:
        file.write("[")
        while file.tell() < size:
            for made in pool:
                made["id"] = f"{number:012}"
                file.write((", " if number else "") + json.dumps(made))
                number += 1
        file.write("]")
    return path, number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    assert set(CODES) == {language.code for language in LANGUAGES}
    report = Report("data", "Data: reading and preparing one large file of records", "cpu")
    with scratch() as temporary:
        folder = Path(temporary).resolve()
        path, records = write_records(folder, arguments.gigabytes * 1e9)
        config = folder / "mixture.yaml"
        source = f"{{path: {path}, image_root: {folder}, language_field: language}}"
        config.write_text(f"output_dir: {folder / 'prepared'}\nsources:\n- {source}\n")
        names = {"path": str(path), "config": str(config), "cache": str(folder / "cache")}
        megabytes = path.stat().st_size / 1e6
        rows = []
        for name, (setup, code) in {
            "reading (ours)": READ,
            "palo data prepare (ours)": PREPARE,
            "json.load": JSON_LOAD,
            'datasets.load_dataset("json")': LOAD_DATASET,
        }.items():
            runs = []
            for _ in range(arguments.repeats):
                checked = f"{code.format(**names)}\nassert count == {records}, count"
                try:
                    runs.append(run(checked, setup))
                except RuntimeError as error:
                    print(name, str(error)[-2000:], flush=True)
                shutil.rmtree(folder / "prepared", ignore_errors=True)
                shutil.rmtree(folder / "cache", ignore_errors=True)
            rows.append([name, *_figures(runs, megabytes)])
            print(rows[-1], flush=True)
    report.text(
        f"One JSON array of {megabytes / 1000:.2f} GB: {records:,} records in ten languages, with one to five questions and "
        "answers, the English conversation beside every translation, and non-ASCII characters escaped, as json.dump writes "
        f"them. {arguments.repeats} runs, each in a process of its own, the file in the system's cache: the median, with "
        "minimum and maximum. Memory is the resident peak; what the interpreter and its imports have is in it, and stands "
        "beside it.",
        f"Besides: {', '.join(f'{name} {importlib.metadata.version(name)}' for name in ('pyarrow', 'datasets'))}.",
        "`palo data prepare` reads, validates, repairs, opens the header of every image (once), finds duplicate ids and "
        "writes parquet shards.",
    )
    report.table(["", "time", "MB/s", "peak memory", "of it imports"], rows)
    report.write()


def _figures(runs: list[dict[str, float]], megabytes: float) -> list[str]:
    if not runs:
        return ["failed", "", "", ""]
    middle = sorted(runs, key=lambda one: one["seconds"])[len(runs) // 2]
    fastest, slowest = (choose(one["seconds"] for one in runs) for choose in (min, max))
    return [
        f"{middle['seconds']:.1f} s ({fastest:.1f}-{slowest:.1f})",
        f"{megabytes / middle['seconds']:.0f}",
        f"{max(one['peak'] for one in runs):.2f} GiB",
        f"{middle['before']:.2f} GiB",
    ]


if __name__ == "__main__":
    main()
