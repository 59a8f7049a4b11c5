"""The shape of the house: who may import whom, how long files may be, what stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src/lsn"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400

# A module may import from its own part and from parts of lower levels; parts of one level do not know each other.
LEVELS = {
    "errors": -1,
    "__init__": 0,
    "files": 0,
    "machine": 0,
    "parsing": 0,
    "config": 1,
    "recipes": 1,
    "video": 2,
    "models": 2,
    "data": 3,
    "inference": 4,
    "training": 5,
    "report": 6,
    "bench": 6,
    "cli": 7,
    "__main__": 8,
}


def part_of(module: str) -> str:
    """`lsn.video.reader` -> `video`; `lsn` itself -> `__init__`."""
    return [*module.split("."), "__init__"][1]


def module_of(path: Path) -> str:
    parts = ["lsn", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> set[str]:
    """Every module of lsn that a file imports, at the top, inside functions, or for type checking."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: imports are absolute here"
            found |= {f"lsn.{alias.name}" for alias in node.names} if node.module == "lsn" else {str(node.module)}
    return {module for module in found if module == "lsn" or module.startswith("lsn.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = part_of(module_of(path))
    if part == "__init__":
        return  # its public names are imported when they are used, which a test below holds it to
    assert part in LEVELS, f"new part {part!r}: give it a level"
    for module in imported_modules(path):
        other = part_of(module)
        if other not in LEVELS:
            other = "__init__"  # a name of lsn itself, such as lsn.__version__
        allowed = other == part or LEVELS[other] < LEVELS[part]
        assert allowed, f"{path.relative_to(PACKAGE)} imports {module}: {part} stands below or beside {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_cli_prints(path):
    if part_of(module_of(path)) == "cli":
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def test_light_modules_import_nothing_heavy():
    code = (
        "import sys, lsn, lsn.cli, lsn.config, lsn.errors, lsn.files, lsn.recipes\n"
        "print(*sorted({'torch', 'torchvision', 'timm', 'av', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_the_models_are_there_after_import_lsn_alone():
    code = "import lsn; print(lsn.models.HOConvLSTM.__name__, hasattr(lsn, 'no_such_name'))"
    used = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert used.stdout.split() == ["HOConvLSTM", "False"]
