"""The shape of the house: who may import whom, how long files and rooms may be, what stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/lsn"
MAP = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent for path in FILES if path.name == "__init__.py")
LONGEST_FILE, LARGEST_ROOM = 400, 3000

# A module may import from its own part and from parts that stand below it; see docs/architecture.md.
ORDER = (
    "errors",
    "parsing",
    "files",
    "remote",
    "scores",
    "tensor_file",
    "hardware",
    "distributed",
    "config",
    "hub",
    "video",
    "models",
    "data",
    "inference/runtimes",
    "evaluation",
    "inference",
    "streaming",
    "export",
    "training",
    "report",
    "publishing",
    "serving",
    "batch",
    "profiling",
    "cli",
    "__main__",
)


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def module_of(path: Path) -> str:
    parts = ["lsn", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def part_of(module: str) -> str:
    """`lsn.video.decoding.reader` -> `video`; runtimes are a part of their own, as evaluations run on them."""
    inner = "/".join(module.split(".")[1:3])
    return inner if inner in ORDER else module.split(".")[1]


def imported_modules(path: Path) -> set[str]:
    """Every module of lsn that a file imports, at the top, inside functions, or for type checking."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: imports are absolute here"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
    return found & set(MODULES) - {"lsn"}


def test_every_part_has_its_place():
    parts = {part_of(module) for module in MODULES if module != "lsn"}
    assert parts == set(ORDER), "give new parts a place in ORDER, and a line in docs/architecture.md"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path):
    if module_of(path) == "lsn":
        return  # its public names are imported when they are used, which a test below holds it to
    part = part_of(module_of(path))
    above = {other for other in map(part_of, imported_modules(path)) if ORDER.index(other) > ORDER.index(part)}
    assert not above, f"{name_of(path)} imports {', '.join(sorted(above))}, which stand above {part}"


def test_no_files_import_each_other_in_a_circle():
    # A room's __init__ gathers its public names; inside of the room nothing imports it.
    graph = {module: imported_modules(path) for module, path in MODULES.items() if module != "lsn"}
    finished, path = set(), []

    def visit(module: str) -> None:
        assert module not in path, f"a circle of imports: {' -> '.join([*path[path.index(module) :], module])}"
        if module not in finished:
            path.append(module)
            for other in sorted(graph[module]):
                visit(other)
            finished.add(path.pop())

    for module in graph:
        visit(module)


def first_sentence(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def test_the_map_in_the_docs_has_every_part_in_order_with_its_own_sentence():
    rows = []
    for part in ORDER:
        rooms = [room for room in ROOMS if room != PACKAGE and part_of(module_of(room / "__init__.py")) == part]
        rows += [f"| `{name_of(room)}/` | {first_sentence(room / '__init__.py')} |" for room in rooms]
        if not rooms:
            rows.append(f"| `{part}.py` | {first_sentence(PACKAGE / f'{part}.py')} |")
    table = "\n".join(["| room | what belongs there |", "|---|---|", *rows])
    assert table in MAP, f"docs/architecture.md needs this table:\n{table}"


STEPS = sorted(set(re.findall(r"`(\w+(?:/\w+)*\.py)` `([\w.]+)`", MAP)))


@pytest.mark.parametrize(("file", "name"), STEPS)
def test_the_ways_through_the_code_in_the_docs_name_what_exists(file, name):
    tree: ast.AST = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    for inner in name.split("."):
        found = [node for node in ast.iter_child_nodes(tree) if getattr(node, "name", None) == inner]
        assert found, f"docs/architecture.md: {file} has no {name}"
        tree = found[0]


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_rooms_say_what_belongs_there_and_stay_small(room):
    assert first_sentence(room / "__init__.py").endswith("."), f"{room}: one sentence at the top of its __init__.py"
    num_lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in room.glob("*.py"))
    assert num_lines < LARGEST_ROOM


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_cli_prints(path):
    if module_of(path).startswith("lsn.cli"):
        return
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def test_light_modules_import_nothing_heavy():
    code = (
        "import sys, lsn, lsn.cli, lsn.config, lsn.config.recipes, lsn.errors, lsn.files, lsn.hardware\n"
        "print(*sorted({'torch', 'torchvision', 'timm', 'av', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_pytorch_begins_at_the_training_transforms_and_the_models():
    code = (
        "import sys\nsys.modules['torch'] = None  # whoever imports it fails\n"
        "import lsn.video, lsn.video.sampling, lsn.video.live.opening, lsn.video.writing.overlay\n"
        "import lsn.streaming, lsn.streaming.recorder, lsn.streaming.runner, lsn.streaming.tracker\n"
        "import numpy as np\n"
        "from lsn.video import array_reader\n"
        "from lsn.video.frame_sampler import FrameSampler\n"
        "from lsn.video.live.capture_thread import CaptureThread\n"
        "with CaptureThread(array_reader(np.zeros((5, 4, 4, 3), np.uint8), 10), FrameSampler(10)) as thread:\n"
        "    print(len(list(thread)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "5\n"), run.stderr


@pytest.mark.slow
def test_the_models_are_there_after_import_lsn_alone():
    code = "import lsn; print(lsn.models.HOConvLSTM.__name__, hasattr(lsn, 'no_such_name'))"
    used = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert used.stdout.split() == ["HOConvLSTM", "False"]
