"""Fetch the tests that Transformers keeps for all its models, out of the source distribution of the installed version.

    python -m modeling_tests.upstream.fetch

They are not copied into this repository: they belong to the installed version, and go where git does not look.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import transformers


PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / ".cache" / f"transformers-{transformers.__version__}"
PACKAGE = "transformers_tests"

# Modules that the common tests import and the source distribution leaves out. What they would add is not run.
STAND_INS = {
    f"{PACKAGE}/__init__.py": "",
    f"{PACKAGE}/exporters/__init__.py": "",
    f"{PACKAGE}/exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    f"{PACKAGE}/generation/__init__.py": "",
    f"{PACKAGE}/generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    f"{PACKAGE}/utils/__init__.py": "",
    f"{PACKAGE}/utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
    "src/transformers/__init__.py": "",
    # The tests download pictures; a picture of the golden set stands in for each.
    "utils/fetch_hub_objects_for_ci.py": (
        "from pathlib import Path\n\n\n"
        "def url_to_local_path(url):\n"
        "    root = Path(__file__).parents[3]\n"
        "    return str(root / 'modeling_tests/fixtures/golden/public_shared/images/big.png')\n"
    ),
}


def fetch() -> bool:
    """Make `FOLDER`, if it is not there yet. Returns whether it is there."""
    if FOLDER.is_dir():
        return True
    FOLDER.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER.parent) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        command += ["--disable-pip-version-check", "--dest", temporary, f"transformers=={transformers.__version__}"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            reason = (error.stderr or str(error)).strip().splitlines()[-1]
            print(f"Transformers' own tests are left out: its source distribution could not be fetched ({reason}).")
            return False
        (archive,) = Path(temporary).glob("transformers-*.tar.gz")
        whole = Path(temporary) / "whole"
        extract_tests(archive, whole / PACKAGE)
        for name, content in STAND_INS.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        whole.rename(FOLDER)
    return True


def extract_tests(archive: Path, target: Path) -> None:
    """The modules `tests/*.py` of the archive, flat into `target`."""
    target.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            parts = Path(member.name).parts
            if member.isfile() and len(parts) == 3 and parts[1] == "tests" and parts[2].endswith(".py"):
                content = tar.extractfile(member)
                assert content is not None
                (target / parts[2]).write_bytes(content.read())


if __name__ == "__main__":
    print(f"Transformers' own tests: {FOLDER}" if fetch() else "")
