"""Recipes, overrides, manifests and lists of labels that are wrong in every way, and reading them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import yaml
from damage import ODDITIES, damaged, put_oddity
from structure import ODD_VALUES, Raw, mutated

from lsn.config import RunConfig, load_config, to_yaml
from lsn.config.recipes import find_recipe, list_recipes, show_recipe

NUM_CASES = 100

_KINDS = (
    ["recipe"] * 60 + ["recipe bytes"] * 12 + ["recipe lines"] * 20 + ["overrides"] * 20
    + [*ODDITIES] + ["csv"] * 20 + ["csv bytes"] * 8 + ["jsonl"] * 20 + ["tsn"] * 8
    + ["labels.json"] * 13 + ["labels.txt"] * 12
)  # fmt: skip

# Aliases of aliases: 10 ** 9 texts.
_ALIAS_BOMB = "".join(
    f"{'[' if level == 0 else ', '}&b{level} [{', '.join([f'*b{level - 1}' if level else 'x'] * 10)}]"
    for level in range(9)
)
_ALIAS_BOMB += ", *b8]"

_YAML_VALUES = (
    *ODD_VALUES, Raw("2020-01-01"), Raw("2020-01-01 10:00:00"), Raw("1:30"), Raw("0o17"), Raw("~"), Raw(".nan"),
    Raw(".inf"), Raw("1_000"), Raw("yes"), Raw("!!binary aGk="), Raw("!!set {a, b}"), Raw("&a [*a]"), Raw("*nothing"),
    Raw('!!python/object/apply:os.mkdir ["ran"]'), Raw("!!python/name:os.system"), Raw("{1: 2}"), Raw("!x y"),
    Raw(_ALIAS_BOMB),
)  # fmt: skip
_YAML_LINES = (
    "model: {name: lsn_resnet50}", "training:\n  epochs: 3", "data: *anchor", "? [1, 2]\n: 3", "<<: {model: 1}",
    "%YAML 9.9", "--- second document", "...", "\t- tab", "key without colon", "'unfinished", "model:", "a: " * 500,
    "- item", "model: !!python/object:os.system {}", "\x00", "\u2028", "\x85", "#" * 5000, "[" * 3000, "{" * 3000,
    "x: &a\n  y: *a", "=: 1", "null: 1", "1: 2", "true: false", "2020-01-01: x", "!!binary aGk=: 1", "\ufeffx: 1",
)  # fmt: skip
_OVERRIDES = (
    "training.seed=12345678901234567890123456", "training.epochs=2020-01-01", "=", "a", "a=b", "training=3",
    "training.epochs=", "training.epochs.x=1", ".=1", "..=1", "training..epochs=1", "training.epochs=[",
    "training.epochs={a: 1}", "data.train=\x00", "data.train=\ud800", "model.memory_stages=[1, x]",
    "optim.step_epochs=[1e400]", "training.epochs=" + "9" * 5000, "model.name=" + "[" * 3000, "input.size=&a [*a]",
)  # fmt: skip
_ROW = {
    "path": "red/1.mp4", "label": "red", "start_seconds": 0.5, "end_seconds": 1.5, "num_frames": 12, "group": "anna",
}  # fmt: skip
_LABELS = ("red", "green", "blue")


def make_case(number: int, folder: Path) -> tuple[Path, str]:
    """A file with something wrong; the same for a number each time. Its ending says what it is to be read as."""
    random, kind = Random(f"texts/{number}"), _KINDS[number]
    if kind in ODDITIES:
        path = (
            folder / ("recipe.yaml", "clips.csv", "clips.jsonl", "labels.txt", "labels.json", "clips.txt")[number % 6]
        )
        put_oddity(kind, path)
        return path, f"{path.name} is a {kind}"
    if kind.startswith("recipe"):
        text, what = _recipe(kind, number - _KINDS.index(kind), random)
        path = folder / "recipe.yaml"
    elif kind == "overrides":
        text = what = _OVERRIDES[number - _KINDS.index(kind)]
        path = folder / "overrides.json"
        text = json.dumps([text])
    elif kind.startswith("labels"):
        path = folder / kind
        text, what = _labels(path.suffix, random)
    else:
        path = folder / f"clips.{kind.split()[0].replace('tsn', 'txt')}"
        text, what = _table(kind, random)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path, f"{path.name}: {what[:200]}"


def _recipe(kind: str, index: int, random: Random) -> tuple[str | bytes, str]:
    text = show_recipe(random.choice(list_recipes()))
    if kind == "recipe bytes":
        return damaged(text.encode(), random, other="größe: [1, 2]\n".encode() * 20)
    if kind == "recipe lines":
        lines = text.splitlines()
        for _ in range(random.choice((1, 1, 3))):
            line = _YAML_LINES[(index + random.choice((0, 20))) % len(_YAML_LINES)]
            odd = random.choice((line, line, f"  {line}", random.choice(lines)))
            lines.insert(random.randrange(len(lines) + 1), odd)
        return "\n".join(lines) + "\n", "another line"
    loaded = yaml.safe_load(text)
    values = _YAML_VALUES[index % len(_YAML_VALUES) :][:1]
    return mutated(loaded, random, odd_values=values, odd_keys=("epochs", "model", "learning-rate", "a.b"))


def _table(kind: str, random: Random) -> tuple[str | bytes, str]:
    rows = [_ROW | {"path": f"{label}/{number}.mp4", "label": label} for number, label in enumerate(_LABELS * 3)]
    if kind == "jsonl":
        text, what = mutated(random.choice(rows), random, odd_keys=("start_time", "first_frame", "last_frame", "Path"))
        lines = [*map(json.dumps, rows), text.replace("\n", " ")]
        random.shuffle(lines)
        return random.choice(("\n", "\n", "\r\n", "\n\n")).join(lines), what
    if kind == "tsn":
        lines = [f"{row['path']} 12 {number % 3}" for number, row in enumerate(rows)]
    else:
        lines = [",".join(map(str, rows[0])), *(",".join(map(str, row.values())) for row in rows)]
    if kind == "csv bytes":
        return damaged("\n".join(lines).encode(), random, other=b'"a,b\r\n' * 50)
    separator = "," if kind == "csv" else " "
    what = []
    for _ in range(random.choice((1, 2, 3))):
        number = random.randrange(len(lines))
        cells = lines[number].split(separator)
        odd = random.choice(ODD_VALUES)
        odd = odd.text if isinstance(odd, Raw) else str(odd)
        odd = random.choice(
            (odd, odd, f'"{odd}', f'"{odd}\n"', "=HYPERLINK(1)", "nan", "-0", "1e999", "٣", "²", "../" * 40 + "x")
        )
        cells[random.randrange(len(cells))] = odd
        lines[number] = separator.join(cells)
        what.append(f"line {number + 1} has {odd[:30]!r}")
    return "\n".join(lines), "; ".join(what)


def _labels(suffix: str, random: Random) -> tuple[str | bytes, str]:
    if suffix == ".txt":
        if random.random() < 0.5:
            return damaged("\n".join(_LABELS * 3).encode(), random, other=b"\xff\xfe\x00" * 30)
        odd = random.choice(ODD_VALUES)
        lines = [
            *_LABELS,
            odd.text if isinstance(odd, Raw) else str(odd),
            random.choice(("red", " red", "", "\u2028", "x\x00y")),
        ]
        random.shuffle(lines)
        return "\n".join(lines), f"{lines}"
    plain = random.choice((list(_LABELS), {label: str(number) for number, label in enumerate(_LABELS)}))
    return mutated(plain, random, odd_keys=("red", "yellow"))


def read(path: Path) -> None:
    """Reads a file as what its name says, and does with it what a training would."""
    if path.name == "overrides.json":
        _read_recipe(find_recipe("default"), json.loads(path.read_text()), path.parent)
    elif path.suffix == ".yaml":
        _read_recipe(path, [], path.parent)
    elif path.stem == "labels":
        _read_labels(path)
    else:
        _read_table(path)


def _read_recipe(path: Path, overrides: list[str], folder: Path) -> None:
    config = load_config(path, overrides)
    assert isinstance(config, RunConfig)
    again = folder / "again.yaml"
    for text in (to_yaml(config), *([] if overrides else [show_recipe(path)])):
        again.write_text(text, encoding="utf-8")
        assert load_config(again) == config
    assert not Path("ran").exists()


def _read_labels(path: Path) -> None:
    from lsn.data import read_labels

    labels = read_labels(path)
    assert labels and len(set(labels)) == len(labels) and all(isinstance(label, str) for label in labels)


def _read_table(path: Path) -> None:
    from lsn.config import DataConfig
    from lsn.data import check_manifest, check_splits, describe, probe, read_manifest, thinned
    from lsn.data.clips.decoding import damaged_clips
    from lsn.errors import LSNError

    named = path.with_name("names.txt")
    named.write_text("\n".join(_LABELS))
    labels = str(named) if path.suffix == ".txt" else None
    refused = []
    for read in (
        lambda: check_splits(DataConfig(train=str(path), val=str(path), labels=labels), 0),
        lambda: check_splits(DataConfig(train=str(path), labels=labels, val_fraction=0.5), 0),
        lambda: read_manifest(path, labels=labels),
    ):
        try:
            manifest = read()
        except LSNError as error:
            refused.append(error)
    if refused:
        raise refused[-1]
    assert all(isinstance(clip.path, str) and clip.label in manifest.labels for clip in manifest.clips)
    check_manifest(manifest)
    damaged_clips(manifest)
    describe(manifest, probe(thinned(manifest, 5)))
