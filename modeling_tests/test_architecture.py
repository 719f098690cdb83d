"""The layout that a stranger relies on: imports point one way, and importing the package stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import transformers_palo


ROOT = Path(transformers_palo.__file__).parent
PROJECT = ROOT.parents[1]

# part -> the parts that it may import, itself aside
ALLOWED: dict[str, set[str]] = {
    "languages": set(),
    "language_id": {"languages"},
    "record_files": set(),
    "models": {"languages", "language_id"},
    "inference": {"languages", "language_id", "models"},
    "data": {"languages", "language_id", "record_files", "models"},
    "hub": {"languages", "models"},
    "training": {"languages", "language_id", "models", "data", "hub"},
    "llm": {"languages", "language_id"},
    "translation": {"languages", "language_id", "record_files", "llm"},
    "evaluation": {"languages", "language_id", "models", "inference", "llm"},
    "serving": {"languages", "language_id", "models", "inference"},
}
EVERYTHING = {*ALLOWED, "quickstart"}
ALLOWED["quickstart"] = set(ALLOWED)
ALLOWED["cli"] = EVERYTHING


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_parts(path: Path) -> set[str]:
    """Parts of this package that a file imports, at its top or inside functions."""
    package = ["transformers_palo", *path.relative_to(ROOT).parts[:-1]]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            names += [module] + [f"{module}.{alias.name}" for alias in node.names]
    parts = {name.split(".")[1] for name in names if name.startswith("transformers_palo.")}
    return {part for part in parts if part in EVERYTHING | {"cli"}}


FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py" or path.parent != ROOT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = part_of(path)
    assert part in ALLOWED, f"{part} has no place in the order: say which parts it may import"
    assert imported_parts(path) - {part} <= ALLOWED[part]


def test_models_could_move_upstream_as_they_stand():
    """`models/palo` imports Transformers and its own neighbours, nothing else of this package."""
    for path in (ROOT / "models" / "palo").glob("*.py"):
        assert imported_parts(path) <= {"models"}, path.name
        assert not re.search(r"^\s*from \.\.", path.read_text(), flags=re.MULTILINE), path.name


def test_importing_the_package_loads_no_extra():
    heavy = ["trl", "peft", "datasets", "gradio", "openai", "vllm", "sklearn", "lingua", "matplotlib", "typer"]
    # What Llava itself loads is not ours to say: Transformers 5.18 imports scikit-learn for assisted generation.
    code = (
        "import sys, transformers.models.llava.modeling_llava; before = set(sys.modules); import transformers_palo; "
        f"print([name for name in {heavy} if name in sys.modules and name not in before])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_command_starts_without_the_models():
    code = "import sys, transformers_palo.cli.main; print('trl' in sys.modules, 'gradio' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False False\n"
    )


def test_every_public_name_exists():
    for name in transformers_palo.__all__:
        assert getattr(transformers_palo, name)
