"""A repository with code, in an environment that others made: Transformers, PyTorch and Pillow by pip, and no more.

`make test-remote-code` runs what is slow here: it needs a package index, and minutes. What needs neither is in
test_publish.py, in an environment that was lent this one's packages.
"""

import ast
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from transformers_palo.hub.load_check import sample_picture as picture
from transformers_palo.hub.publish import prepare, upload
from transformers_palo.hub.remote_code import OLDEST_TRANSFORMERS, code_files

from .test_publish import ASK, PROJECT, greedy, run_python


OLDEST = ".".join(map(str, OLDEST_TRANSFORMERS))
(PINNED,) = re.findall(r"^transformers==(\S+)$", (PROJECT / "constraints.txt").read_text(), flags=re.MULTILINE)
(TORCH,) = re.findall(r"^torch==\S+$", (PROJECT / "constraints.txt").read_text(), flags=re.MULTILINE)
# What the oldest and the newest that fit turn out to be, pip knows.
SUPPORTED = {"oldest": f"{OLDEST}.0", "pinned": PINNED, "newest": f">={OLDEST},<6"}


def test_the_code_imports_itself_and_what_everybody_has():
    files = code_files()
    own = {name.removesuffix(".py") for name in files}
    for name, source in files.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1 and (node.module in own), f"{name} imports {'.' * node.level}{node.module}"
            elif isinstance(node, ast.Import | ast.ImportFrom):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                roots = {module.split(".")[0] for module in modules}
                # PyTorch and Transformers cannot be there without the others; sentencepiece is for a tokenizer.model only.
                known = {
                    "torch",
                    "transformers",
                    "PIL",
                    "numpy",
                    "tokenizers",
                    "huggingface_hub",
                    "safetensors",
                    "sentencepiece",
                }
                assert roots <= known | set(sys.stdlib_module_names), f"{name} imports {roots}"


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python of the second environment, where each test installs the Transformers that it is about."""
    folder = tmp_path_factory.mktemp("second") / "venv"
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def install(python: Path, transformers: str) -> str:
    """Which version of Transformers is there now."""
    wanted = transformers if transformers.startswith(">") else f"=={transformers}"
    command = [python, "-m", "pip", "install", "--quiet", "--upgrade", TORCH, "pillow", f"transformers{wanted}"]
    subprocess.run(command, check=True, timeout=900)
    code = "from importlib.metadata import version; print(version('transformers'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def published(hub, api, folder, tmp_path, environment):
    """The model with its code on the Hub, and what others are shown: pictures, and the card's example."""
    upload(prepare(folder, "user/palo-tiny", with_code=True), api=api)
    upload(prepare(folder, "user/without-code"), api=api)
    picture().save(tmp_path / "photo.png")
    picture().save(tmp_path / "photo.jpg")
    environment.pop("PYTHONPATH", None)
    card = hub.repos["user/palo-tiny"].branches["main"][-1].files["README.md"].content.decode()
    (example,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    return example


@pytest.mark.slow
@pytest.mark.parametrize("transformers", SUPPORTED.values(), ids=SUPPORTED)
def test_it_loads_and_answers(transformers, python, published, folder, tmp_path, environment, processor):
    found = install(python, transformers)
    code = f"""{ASK}
import importlib.util
from transformers import AutoConfig, AutoModel, AutoModelForMultimodalLM

print([name for name in ("transformers_palo", "accelerate", "sentencepiece") if importlib.util.find_spec(name)])
model, processor = ask("user/palo-tiny", trust_remote_code=True)
print(type(model).__module__.split(".")[0], type(processor).__name__)
print(type(AutoModel.from_pretrained("user/palo-tiny", trust_remote_code=True)).__name__)
print(type(AutoModelForMultimodalLM.from_pretrained("user/palo-tiny", trust_remote_code=True)).__name__)
# A key that this Transformers has no class for does no harm.
print(AutoConfig.from_pretrained("user/palo-tiny", trust_remote_code=True).auto_map["AutoModelForVision2Seq"])
{published}
model.save_pretrained("again")
processor.save_pretrained("again")
ask("again", trust_remote_code=True)
"""
    lines = run_python(python, code, tmp_path, environment)
    print(f"Transformers {found}: {lines}")
    expected = str(greedy(folder, processor))
    assert lines[:2] == ["[]", expected]
    assert lines[2:5] == ["transformers_modules PaloProcessor", "PaloModel", "PaloForConditionalGeneration"]
    assert lines[5].endswith("modeling_palo.PaloForConditionalGeneration")
    assert lines[6].strip() and lines[-1] == expected


OLD = """
import transformers
from transformers import AutoModelForImageTextToText, AutoModelForVision2Seq, AutoProcessor, pipeline

def show(call):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, " ".join(str(error).split()))

for options in ({"trust_remote_code": True}, {"trust_remote_code": False}):
    for repo_id in ("user/palo-tiny", "user/without-code"):
        for loader in (AutoModelForVision2Seq, AutoModelForImageTextToText, AutoProcessor):
            show(lambda: loader.from_pretrained(repo_id, **options))
        show(lambda: pipeline("image-text-to-text", model=repo_id, **options))
"""


@pytest.mark.slow
def test_transformers_4_says_what_to_do(python, published, tmp_path, environment):
    found = install(python, "4.57.6")
    lines = run_python(python, OLD, tmp_path, environment)
    assert len(lines) == 16
    advice = (
        f"ImportError PALO needs Transformers {OLDEST} or newer, found {found}: upgrade with `pip install --upgrade"
    )
    assert all(line.startswith(advice) for line in lines[:4])
    for without_trust in lines[8:12]:
        assert "contains custom code" in without_trust and "trust_remote_code=True" in without_trust
    for without_code in [*lines[4:8], *lines[12:]]:
        assert "model type `palo`" in without_code or "Unrecognized processing class" in without_code
