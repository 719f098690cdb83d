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
"""What a repository carries so that its model loads without this package (`trust_remote_code=True`)."""

import ast
import json
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files


MODELS = Path(__file__).parents[1] / "models" / "palo"

# The same as in pyproject.toml.
OLDEST_TRANSFORMERS = (5, 18)

# Which class of which file an Auto class is to take. AutoModelForMultimodalLM is what pipelines ask for;
# AutoModelForVision2Seq is what users of Transformers 4 do.
MODEL_AUTO_MAP = {
    "AutoConfig": "configuration_palo.PaloConfig",
    "AutoModel": "modeling_palo.PaloModel",
    "AutoModelForImageTextToText": "modeling_palo.PaloForConditionalGeneration",
    "AutoModelForMultimodalLM": "modeling_palo.PaloForConditionalGeneration",
    "AutoModelForVision2Seq": "modeling_palo.PaloForConditionalGeneration",
}
PROCESSOR_AUTO_MAP = {"AutoProcessor": "processing_palo.PaloProcessor"}
IMAGE_PROCESSOR_AUTO_MAP = {"AutoImageProcessor": "image_processing_palo.PaloImageProcessor"}

# Transformers 4 would stumble over the imports of these files, with a message that helps nobody.
_VERSION_CHECK = """
import transformers as _transformers


if tuple(int(part) for part in _transformers.__version__.split(".")[:2]) < {oldest}:
    raise ImportError(
        "PALO needs Transformers {shown} or newer, found " + _transformers.__version__ + ": upgrade with "
        "`pip install --upgrade 'transformers>={shown}'`. There, AutoModelForVision2Seq is called "
        "AutoModelForImageTextToText."
    )
"""


def code_files() -> dict[str, bytes]:
    """The model's Python files by name: those that the Auto classes name, and what these import.

    Each first checks that the Transformers that runs it is new enough.
    """
    references = [*MODEL_AUTO_MAP.values(), *PROCESSOR_AUTO_MAP.values(), *IMAGE_PROCESSOR_AUTO_MAP.values()]
    paths = {MODELS / f"{reference.split('.')[0]}.py" for reference in references}
    paths |= {Path(needed) for path in paths for needed in get_relative_import_files(path)}
    return {path.name: _with_version_check(path.read_text(encoding="utf-8")).encode() for path in sorted(paths)}


def _with_version_check(source: str) -> str:
    """The check goes between docstring and imports."""
    docstring = ast.parse(source).body[0]
    lines = source.splitlines(keepends=True)
    shown = ".".join(map(str, OLDEST_TRANSFORMERS))
    check = _VERSION_CHECK.format(oldest=OLDEST_TRANSFORMERS, shown=shown)
    return "".join([*lines[: docstring.end_lineno], check, *lines[docstring.end_lineno :]])


def with_auto_maps(config: dict[str, Any], processor_config: dict[str, Any]) -> dict[str, bytes]:
    """`config.json` and `processor_config.json` that lead the Auto classes to [`code_files`].

    Raises:
        ValueError: The processor's configuration lacks its image processor.
    """
    if not isinstance(processor_config.get("image_processor"), dict):
        raise ValueError(
            "processor_config.json: expected an image_processor, found none: save the processor again with "
            "processor.save_pretrained"
        )
    image_processor = {**processor_config["image_processor"], "auto_map": IMAGE_PROCESSOR_AUTO_MAP}
    changed = {
        "config.json": {**config, "auto_map": MODEL_AUTO_MAP},
        "processor_config.json": {
            **processor_config,
            "auto_map": PROCESSOR_AUTO_MAP,
            "image_processor": image_processor,
        },
    }
    return {name: (json.dumps(content, indent=2, sort_keys=True) + "\n").encode() for name, content in changed.items()}
