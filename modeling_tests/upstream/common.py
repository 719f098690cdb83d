"""Transformers' own tests, if they were fetched."""

import importlib
import sys
import unittest
from types import ModuleType

import pytest

from .fetch import FOLDER, PACKAGE


def upstream(module: str) -> ModuleType:
    """A module of Transformers' tests. Skips the importing test module where they were not fetched."""
    if not FOLDER.is_dir():
        pytest.skip(
            f"Transformers' own tests were not fetched (python -m {__package__}.fetch, needs the network)",
            allow_module_level=True,
        )
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    # Fetched, they have to import: a skip here would hide all of their tests.
    return importlib.import_module(f"{PACKAGE}.{module}")


def skip_with_reasons(case: type[unittest.TestCase], reasons: dict[str, str]) -> None:
    """Skip tests of an upstream mixin by name. Every skip has its reason, and a name that is no test is an error."""
    for name, reason in reasons.items():
        matching = [test for test in dir(case) if test == name or test.startswith(f"{name}_")]
        assert matching, f"{case.__name__} has no test {name}"
        for test in matching:
            setattr(case, test, unittest.skip(reason)(getattr(case, test)))
