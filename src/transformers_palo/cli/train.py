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
"""`palo train`: a recipe run, or shown on paper."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer


# Fields of the recipe are passed on to TRL's parser.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}
NEEDED = ("datasets", "peft", "trl")


def train(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="The recipe: a YAML file (examples/recipes).")],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show sizes, steps, mixture, memory; load no weights, no data, no network."),
    ] = False,
) -> None:
    """Train PALO as a recipe says. Any of its fields can be set here, as in --learning_rate 1e-5.

    Interrupted, the same command goes on from the last whole checkpoint. On several GPUs:
    accelerate launch --config_file FILE -m transformers_palo.cli.main train --config RECIPE.yaml

    Example:  palo train --config examples/recipes/palo-7b/stage2.yaml --dataset prepared --dry-run
    """
    if missing := [package for package in NEEDED if find_spec(package) is None]:
        raise ImportError(
            f"palo train needs {', '.join(missing)}, which are not installed: install transformers-palo with its [train] "
            "extra."
        )
    # TRL and PEFT read a name that Transformers 5.23 has replaced; no user can do anything about it.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    # On import it tells everyone about a kernel for CPUs.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from ..training.recipe import read_recipe

    recipe = read_recipe(["--config", str(config), *context.args])
    if dry_run:
        from ..training.plan import format_plan, plan

        typer.echo(format_plan(plan(recipe)))
        return
    from ..training.checkpoints import last_whole_checkpoint
    from ..training.run import train as run

    try:
        with _sigterm_raises():
            folder = run(recipe)
    except KeyboardInterrupt as stopped:
        if os.environ.get("RANK", "0") == "0":
            output = recipe.training.output_dir
            checkpoint = last_whole_checkpoint(output)
            start = "begins anew: there is no checkpoint yet" if checkpoint is None else f"goes on from {checkpoint}"
            print(f"\npalo: stopped. The same command {start}.", file=sys.stderr)
        raise SystemExit(143 if isinstance(stopped, _Terminated) else 130) from None
    typer.echo(f'\nWrote {folder}. Ask it:  palo ask --model {folder} IMAGE "QUESTION"')


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as schedulers send it before they take the machine."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    process = os.getpid()

    def stop(number: int, frame: Any) -> NoReturn:
        if os.getpid() != process:
            # A worker, which has inherited this.
            os._exit(128 + number)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
