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
"""`palo translate`: English instruction data into nine languages, checked, repaired, reviewed."""

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


app = typer.Typer(no_args_is_help=True)
review = typer.Typer(no_args_is_help=True, help="Let native speakers review a run: in a spreadsheet or on a web page.")
batch = typer.Typer(no_args_is_help=True, help="The batches that 'palo translate run --batch' sent.")
app.add_typer(review, name="review")
app.add_typer(batch, name="batch")

# What the extra of that name brings.
_NEEDED = ("openai", "lingua")

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
Code = Annotated[str, typer.Option(help="Code of the target language.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same choice.")]


class ReviewFormat(StrEnum):
    """What reviewers work with."""

    csv = "csv"
    label_studio = "label-studio"
    argilla = "argilla"


class FinetuneFormat(StrEnum):
    """Whose fine-tuning format to write."""

    openai = "openai"
    trl = "trl"


@app.callback()
def translate() -> None:
    """Translate LLaVA-format records by any OpenAI-compatible endpoint, check, review and build training files.

    Example:  palo translate run --input llava_instruct_150k.json --languages hi,ar,ur --output-dir run
    --base-url http://localhost:8000/v1 --model Qwen/Qwen3-32B
    """
    if missing := [module for module in _NEEDED if find_spec(module) is None]:
        raise ImportError(
            f"palo translate needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "install transformers-palo with its [translate] extra."
        )


@app.command()
def run(
    input: Annotated[Path, typer.Option(help="LLaVA-format records: a JSON array, JSON lines or parquet.")],
    languages: Annotated[str, typer.Option(help="Codes of the target languages, divided by commas: hi,ar,ur")],
    output_dir: Annotated[Path, typer.Option(help="The run's folder; the same command continues it.")],
    model: Annotated[str, typer.Option(help="The translator, as the endpoint calls it.")],
    base_url: Annotated[
        str, typer.Option(help="An OpenAI-compatible endpoint; its key, if it wants one, is OPENAI_API_KEY.")
    ] = "https://api.openai.com/v1",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 64,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first records of the input.")] = None,
    shard: Annotated[str, typer.Option(help="Only a part: 1/4 to 4/4 on four machines; 'build' merges them.")] = "1/1",
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="The endpoint's limit, if any.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="The endpoint's limit, if any.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take.")] = 120.0,
    max_attempts: Annotated[int, typer.Option(min=1, help="How often a turn that fails is asked for.")] = 3,
    whole_conversations: Annotated[
        bool, typer.Option("--whole-conversations", help="One structured request a record instead of one a turn.")
    ] = False,
    glossary: Annotated[Path | None, typer.Option(help="CSV of terms with columns en, hi, ar ...")] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Few-shot examples: records of language, english and translation.")
    ] = None,
    price_prompt: Annotated[float | None, typer.Option(min=0, help="Dollars for a million prompt tokens.")] = None,
    price_completion: Annotated[float | None, typer.Option(min=0, help="The same for completion tokens.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say tokens and cost, and send nothing.")] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Through OpenAI's Batch API: half the price, answers within a day.")
    ] = False,
    wait: Annotated[
        bool, typer.Option(help="With --batch: until all is done, or only send what can be sent now.")
    ] = True,
) -> None:
    """Translate records; interrupted at any moment, the same command goes on where it was.

    RUN then holds LANG.jsonl (accepted), LANG.rejects.jsonl (with reasons) and journal.sqlite (every exchange).

    Example:  palo translate run --input llava_instruct_150k.json --languages hi,ar,ur --output-dir run
    --base-url http://localhost:8000/v1 --model Qwen/Qwen3-32B
    """
    from ..llm import Endpoint, Prices
    from ..translation.estimate import estimate as estimate_job
    from ..translation.estimate import estimate_table
    from ..translation.run import Batching, Job, translate_file
    from ..translation.store import Shard

    job = Job(
        input=input,
        output_dir=output_dir,
        languages=[code for code in languages.split(",") if code.strip()],
        model=model,
        max_attempts=max_attempts,
        whole_conversations=whole_conversations,
        limit=limit,
        shard=Shard.parse(shard),
        glossary=glossary,
        examples=examples,
    )
    prices = None
    if price_prompt is not None or price_completion is not None:
        prices = Prices(price_prompt or 0.0, price_completion or 0.0)
        prices = prices.of_batches if batch else prices
    if estimate:
        typer.echo(estimate_table(estimate_job(job), prices))
        return
    endpoint = Endpoint(
        base_url,
        concurrency=concurrency,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        timeout=timeout,
    )
    summary = translate_file(job, endpoint, prices, Batching(wait) if batch else None)
    for language in sorted(summary.accepted | summary.rejected | summary.unanswered):
        typer.echo(f"{language}: {summary.accepted[language]:,} accepted, {summary.rejected[language]:,} rejected")
    typer.echo(summary.usage.describe(prices))
    if waiting := summary.unanswered.total():
        raise RuntimeError(
            f"{waiting:,} of the translations have no answer yet ({_named(summary.unanswered_ids)}; {summary.why_unanswered}): "
            "run the same command again."
        )


@batch.command()
def status(run: Run) -> None:
    """Ask what has become of the batches of a run, and change nothing.

    Example:  palo translate batch status run
    """
    from ..translation.batches import batch_status

    typer.echo(batch_status(run))


@batch.command()
def collect(run: Run) -> None:
    """Write the answers of batches that have ended into the journal; 'palo translate run' goes on with them.

    Example:  palo translate batch collect run
    """
    from ..translation.batches import collect_batches

    typer.echo(collect_batches(run))


@batch.command()
def cancel(
    run: Run,
    give_up: Annotated[
        bool,
        typer.Option(
            "--give-up",
            help="Forget them without asking an endpoint that is gone; their requests are asked again, perhaps paid twice.",
        ),
    ] = False,
) -> None:
    """Stop the batches of a run that are under way; what they have answered can still be collected.

    Example:  palo translate batch cancel run
    """
    from ..translation.batches import cancel_batches, give_up_batches

    typer.echo(give_up_batches(run) if give_up else cancel_batches(run))


@app.command()
def check(run: Run) -> None:
    """Say what the checks found: a table of languages and reasons, also written to RUN as checks.json and checks.md.

    Example:  palo translate check run
    """
    from ..translation.report import check_run, console_report

    typer.echo(console_report(check_run(run)))
    typer.echo(f"\nExamples of each: {run / 'checks.md'}")


@app.command(name="export-finetune")
def export_finetune(
    run: Run,
    format: Annotated[FinetuneFormat, typer.Option(help="Chats for OpenAI, or prompt and completion for TRL.")],
    out: Annotated[Path, typer.Option(help="The training file; NAME.validation.jsonl is written beside it.")],
    seed: Seed = 0,
) -> None:
    """Write what reviewers accepted and corrected as a fine-tuning set for the translator.

    Example:  palo translate export-finetune run --format trl --out tuning.jsonl
    """
    from ..translation.finetune import export_finetune as export

    counts = export(run, format.value, out, seed)
    typer.echo(
        f"{counts.train:,} pairs to train on, {counts.validation:,} to validate; {counts.left_out:,} turns left out"
    )


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN1", help="A run.")],
    second: Annotated[Path, typer.Argument(metavar="RUN2", help="Another over the same input.")],
    seed: Annotated[
        int, typer.Option(help="As given to export-finetune, which it tells the held-out records by.")
    ] = 0,
) -> None:
    """Say what another translator changed: reasons, chrF to the reviewed text, examples side by side.

    Example:  palo translate compare run run-tuned
    """
    from ..translation.compare import compare_runs, comparison_text

    typer.echo(comparison_text(compare_runs(first, second, seed)))


@app.command(name="back-translate")
def back_translate(
    run: Run,
    language: Code,
    model: Annotated[str, typer.Option(help="Who translates back, as the endpoint calls it.")],
    base_url: Annotated[
        str, typer.Option(help="An OpenAI-compatible endpoint; its key, if it wants one, is OPENAI_API_KEY.")
    ] = "https://api.openai.com/v1",
    sample: Annotated[int, typer.Option(min=1, help="How many records.")] = 1000,
    seed: Seed = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 64,
) -> None:
    """Translate a sample back into English and say how much of the English comes back (chrF), the lowest first.

    Example:  palo translate back-translate run --language hi --base-url http://localhost:8000/v1 --model Qwen/Qwen3-32B
    """
    from ..llm import Endpoint
    from ..translation.back_translation import FOLDER, back_translate, back_translation_text

    endpoint = Endpoint(base_url, concurrency=concurrency)
    result = back_translate(run, language, model, endpoint, sample, seed)
    typer.echo(back_translation_text(result, run / FOLDER / f"{language}.jsonl"))
    typer.echo(f"\n{result.usage.describe()}")
    if result.unanswered:
        raise RuntimeError(f"{result.unanswered:,} of the records have no answer yet: run the same command again.")


@app.command()
def build(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or the shards of one.")],
    out: Annotated[Path, typer.Option(help="The training file: .jsonl, or .json for one array.")],
    include_english: Annotated[Path | None, typer.Option(help="English records to mix in.")] = None,
    seed: Seed = 0,
) -> None:
    """Merge runs, apply reviews, shuffle: the training file, with a dataset card beside it.

    Example:  palo translate build run --include-english llava_instruct_665k.json --out data/train.jsonl
    """
    from ..translation.build import build as build_file

    counts = build_file(runs, out, include_english, seed)
    for language in counts.languages:
        typer.echo(
            f"{language}: {counts.records[language]:,} records, {counts.reviewed[language]:,} of them reviewed; "
            f"{counts.rejected_by_checks[language]:,} rejected by checks, "
            f"{counts.rejected_by_reviewers[language]:,} by reviewers, {counts.unanswered[language]:,} without an answer"
        )
    typer.echo(f"Wrote {out}")
    if missing := counts.unanswered.total():
        raise RuntimeError(
            f"{missing:,} of the translations are not in {out}, for they have no answer yet ({_named(counts.unanswered_ids)}): "
            "run the same 'palo translate run' again, remove the file, then build it anew."
        )


def _named(ids: dict[str, str]) -> str:
    return "; ".join(f"{language}: {names}" for language, names in ids.items())


@review.command()
def export(
    run: Run,
    language: Code,
    out: Annotated[Path, typer.Option(help="The file to write; for Argilla a folder.")],
    sample: Annotated[int, typer.Option(min=1, help="How many records.")] = 1000,
    seed: Seed = 0,
    format: Annotated[
        ReviewFormat, typer.Option(help="A spreadsheet, Label Studio's tasks or Argilla's dataset.")
    ] = ReviewFormat.csv,
    image_url: Annotated[
        str, typer.Option(help="What stands before the images' names in Label Studio and Argilla.")
    ] = "",
) -> None:
    """Write a sample for a reviewer's spreadsheet, even over kinds of records, flagged and not.

    Example:  palo translate review export run --language hi --sample 1000 --out hi.csv
    """
    from ..translation.review_files import export_reviews

    count = export_reviews(run, language, sample, seed, out, format.value, image_url)
    typer.echo(f"Wrote {count:,} records to {out}")


@review.command(name="import")
def import_(
    run: Run,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The CSV file filled in, Label Studio's JSON, Argilla's records.")
    ],
    reviewer: Annotated[str | None, typer.Option(help="Who reviewed, where the file does not say.")] = None,
) -> None:
    """Read a filled-in sample: all of it, or nothing if a row is wrong.

    Example:  palo translate review import run hi.csv --reviewer asha
    """
    from ..translation.review_import import import_reviews

    imported = import_reviews(run, path, reviewer)
    typer.echo(f"{imported.reviewed:,} records reviewed, {imported.unreviewed:,} without a verdict")
    if partly := imported.partly:
        typer.echo(
            f"{len(partly):,} partly reviewed by people who together did not cover all turns: what they said is not "
            f"kept; import again when they have given these turns verdicts: {', '.join(partly)}"
        )


@review.command()
def stats(run: Run) -> None:
    """Say what the reviews come to: verdicts, edit distance, reject rate, agreement.

    Example:  palo translate review stats run
    """
    from ..translation.reviews import stats_table

    typer.echo(stats_table(run))


@review.command()
def serve(
    run: Run,
    language: Code,
    image_folder: Annotated[Path | None, typer.Option(help="Where the records' images are.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="How many records to review.")] = 1000,
    seed: Seed = 0,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of the web page.")] = 7860,
) -> None:
    """Open a web page for reviewers: image, English and translation side by side.

    Example:  palo translate review serve run --language ur --image-folder images
    """
    if find_spec("gradio") is None:
        raise ImportError("The review page needs gradio: install transformers-palo with its [translate] extra.")
    from ..translation.review_app import serve as serve_page

    serve_page(run, language, image_folder, sample, seed, host, port)
