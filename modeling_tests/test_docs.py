"""The code in README.md, docs/ and model_cards/ runs as it stands there."""

import json
import re
import shutil
from pathlib import Path

import pytest

from .conftest import GOLDEN, SHARED, golden_image


PROJECT = Path(__file__).parents[1]
PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").glob("*.md"), *(PROJECT / "model_cards").glob("*.md")])
NOT_RUN = ("needs a GPU", "needs the network")


def python_blocks(page: Path) -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [block for block in blocks if not any(mark in block for mark in NOT_RUN)]


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """A working directory with a photo, and folders under the names of the released checkpoints."""
    monkeypatch.chdir(tmp_path)
    golden_image("landscape").save("photo.jpg")
    folders = {"PALO-7B": "public_mlp2x", "PALO-13B": "public_mlp3x", "MobilePALO-1.7B": "public_ldpnet"}
    for name, folder in folders.items():
        target = Path("MBZUAI") / name
        shutil.copytree(GOLDEN / folder / "checkpoint", target)
        config = json.loads((target / "config.json").read_text())
        config["mm_vision_tower"] = str(SHARED / "clip_tower")
        (target / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_code_blocks_run_one_after_the_other(page, somewhere):
    namespace: dict = {}
    for number, block in enumerate(python_blocks(page), start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
