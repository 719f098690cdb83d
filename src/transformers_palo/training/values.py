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
"""What the fields of a recipe must be: one table, read before anything is computed with them."""

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from ..languages import LANGUAGES


# A check returns what is wrong with a value, or `None`.
Check = Callable[[Any], str | None]

_CODES = tuple(language.code for language in LANGUAGES)


def check_values(arguments: Any) -> None:
    """Refuse a value that a field cannot have: by [`MUST_BE`], and by the choices that the field's metadata name.

    argparse checks the choices of what is typed, not of what stands in a file. `None` is a field that is not set.

    Args:
        arguments: An instance of one of the recipe's classes.

    Raises:
        ValueError: A value is none that its field can have; the message names field and value.
    """
    for field in fields(arguments):
        value = getattr(arguments, field.name)
        if value is None:
            continue
        choices = field.metadata.get("choices")
        check = MUST_BE.get(field.name) or (_one_of(choices) if choices else None)
        if check is not None and (wrong := check(value)):
            raise ValueError(f"{field.name}: {wrong}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(least: float, most: float = math.inf, above: bool = False, whole: bool = False) -> Check:
    wanted = f"{least} to {most}" if most < math.inf else f"more than {least}" if above else f"{least} or more"

    def check(value: Any) -> str | None:
        fits = _is_number(value) and least <= value <= most and not (above and value == least)
        if fits and not (whole and value != int(value)):
            return None
        return f"expected {'a whole number, ' if whole else ''}{wanted}, found {value!r}"

    return check


def _one_of(choices: Any) -> Check:
    def check(value: Any) -> str | None:
        # A default may be the member of an enumeration.
        return None if str(getattr(value, "value", value)) in choices else _expected(choices, value)

    return check


def _by_language(amount: str, kinds: Any) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict) or not all(isinstance(code, str) for code in value):
            return f"expected numbers by language code, found {value!r}"
        for code, number in value.items():
            if code not in _CODES:
                return _expected(_CODES, code)
            if not (_is_number(number) and isinstance(number, kinds) and number >= 0):
                return f"expected {amount} for {code}, found {number!r}"
        return None if any(value.values()) else f"expected {amount} for one language at least, found {value!r}"

    return check


def _expected(choices: Any, value: Any) -> str:
    return f"expected one of {', '.join(choices)}, found {value!r}"


MUST_BE: dict[str, Check] = {
    "learning_rate": _number(0),
    "projector_learning_rate": _number(0),
    "weight_decay": _number(0),
    "max_grad_norm": _number(0),
    "num_train_epochs": _number(0),
    "max_steps": _number(-1, whole=True),
    "max_length": _number(1, whole=True),
    "per_device_train_batch_size": _number(1, whole=True),
    "per_device_eval_batch_size": _number(1, whole=True),
    "gradient_accumulation_steps": _number(1, whole=True),
    "lora_r": _number(1, whole=True),
    "lora_dropout": _number(0, 1),
    "max_reject_share": _number(0, 1),
    "eval_records": _number(0, whole=True),
    "mixture_temperature": _number(0, above=True),
    "mixture_weights": _by_language("a weight from 0", int | float),
    "declared_records": _by_language("a number of records", int),
    "declared_tokens_per_record": _number(1),
    "declared_num_gpus": _number(1, whole=True),
}
