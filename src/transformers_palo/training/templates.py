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
"""How a record becomes a text for training."""

from functools import cache
from pathlib import Path
from typing import Any


def chat_template(name: str, processor: Any) -> str:
    """The Jinja text of `"chat"` (the processor's own) or `"caption"` (the paper's stage 1)."""
    return caption_template() if name == "caption" else processor.chat_template


@cache
def caption_template() -> str:
    """Image, caption and a line break alone: the original's "plain" conversation."""
    return (Path(__file__).parent / "caption_template.jinja").read_text(encoding="utf-8").rstrip("\n")
