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
"""`palo quickstart`: a small PALO, trained here and now, that answers in ten languages."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


# What the extra of that name brings.
_NEEDED = ("datasets", "trl", "sklearn", "lingua")


def quickstart(
    output_dir: Annotated[Path, typer.Option(help="Where everything goes; the model into 'model'.")] = Path(
        "outputs/quickstart"
    ),
    seed: Annotated[int, typer.Option(help="Repeats a run exactly on one machine.")] = 0,
) -> None:
    """Train a small PALO offline and ask it about scanned digits in ten languages.

    Example:  palo quickstart --output-dir outputs/quickstart
    """
    if missing := [module for module in _NEEDED if find_spec(module) is None]:
        raise ImportError(
            f"palo quickstart needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            "install transformers-palo with its [quickstart] extra."
        )
    from ..quickstart.run import run_quickstart

    run_quickstart(output_dir, seed=seed)
