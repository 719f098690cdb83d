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
"""`palo data`: records in LLaVA's format made into a data set to train on."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


app = typer.Typer(
    help="Make records in LLaVA's format into a data set, and see what is in one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NEEDED = ("datasets",)


@app.command()
def prepare(
    config: Annotated[Path, typer.Option(help="YAML file: sources, languages, weights, limits, checks.")],
    output_dir: Annotated[Path | None, typer.Option(help="The folder to write, instead of the file's.")] = None,
) -> None:
    """Validate, repair and convert the records of one or more sources into sharded parquet, with card and report.

    Memory stays the same whatever the size of the sources. Interrupted, the same command goes on.

    Example:  palo data prepare --config mixture.yaml
    """
    _check_packages()
    from ..data.config import load_config
    from ..data.prepare import prepare_data
    from ..data.report import format_report

    settings = load_config(config, **({"output_dir": str(output_dir)} if output_dir else {}))
    typer.echo(format_report(prepare_data(settings)))
    typer.echo(f"\nWrote {settings.output_dir}")


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A folder that `palo data prepare` wrote, or a file of records.")],
    tokenizer: Annotated[str | None, typer.Option(help="Folder or Hub id of the model whose tokens to count.")] = None,
    language: Annotated[str, typer.Option(help="Code of the language of a file's records.")] = "detect",
    language_field: Annotated[str | None, typer.Option(help="Field of a file's records with their language.")] = None,
) -> None:
    """Show records, languages, turns, tokens, rejects and repairs.

    Example:  palo data inspect prepared --tokenizer MBZUAI/PALO-7B
    """
    _check_packages()
    from ..data.inspection import inspect_data
    from ..data.report import format_report

    report = inspect_data(path, tokenizer=tokenizer, language=language, language_field=language_field)
    typer.echo(format_report(report))


def _check_packages() -> None:
    if missing := [package for package in NEEDED if find_spec(package) is None]:
        raise ImportError(
            f"palo data needs {', '.join(missing)}, which are not installed: install transformers-palo with its [train] "
            "extra."
        )
