"""What is released: the archives are complete, and the wheel works without the sources. `make dist` checks more."""

import email
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import lsn
from lsn.config.recipes import list_recipes

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
MAX_BYTES = 10 << 20


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """A folder with the sdist and the wheel."""
    for name in ("build", "hatchling", "twine"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(archives) -> zipfile.ZipFile:
    return zipfile.ZipFile(archives / f"lsn_video-{lsn.__version__}-py3-none-any.whl")


def test_twine_accepts_them(archives):
    paths = sorted(archives.iterdir())
    assert [path.name.removeprefix(f"lsn_video-{lsn.__version__}") for path in paths] == [
        "-py3-none-any.whl",
        ".tar.gz",
    ]
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(path.stat().st_size < MAX_BYTES for path in paths)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    sources = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/lsn").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(names) == sources
    assert {"lsn/py.typed", "lsn/report/page.html", "lsn/config/recipes/demo.yaml"} <= sources
    metadata = email.message_from_bytes(wheel.read(f"lsn_video-{lsn.__version__}.dist-info/METADATA"))
    assert metadata["Version"] == lsn.__version__
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_sdist_holds_what_a_developer_needs(archives):
    with tarfile.open(archives / f"lsn_video-{lsn.__version__}.tar.gz") as archive:
        top = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    folders = {".ci", "benchmarks", "docs", "examples", "src", "tests"}
    files = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "PKG-INFO", "README.md", "pyproject.toml"}
    assert top - {".gitignore"} == folders | files


def test_the_unpacked_wheel_works(wheel, tmp_path):
    wheel.extractall(tmp_path / "unpacked")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "unpacked"), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import lsn; print(lsn.__file__)").startswith(str(tmp_path))
    assert run("-m", "lsn", "--version").strip() == lsn.__version__
    assert "lsn_resnet50" in run("-m", "lsn", "models")
    recipes = run("-m", "lsn", "recipes")
    assert all(name in recipes for name in list_recipes())
    assert "of new clips" in run(str(ROOT / "examples/memory_in_your_network.py"))
