"""The benchmark of small sets, on smaller ones."""

import json

import numpy as np
import pytest

from lsn.video import write_video


@pytest.mark.slow
def test_cells_are_trained_once_and_counted(import_script, tmp_path, monkeypatch, capsys):
    fit = import_script("fit")
    rng = np.random.default_rng(0)
    for folder, name, labels in (("ego", "train.csv", ("up", "down")), ("fights", "index.csv", ("fight", "calm"))):
        (tmp_path / folder).mkdir()
        rows = ["path,label"]
        for number in range(8):
            label = labels[number % 2]
            frames = np.full((6, 72, 96, 3), 60 + 120 * (number % 2)) + rng.integers(-20, 20, (6, 72, 96, 3))
            write_video(tmp_path / folder / f"{number}.mp4", frames.astype(np.uint8), fps=6)
            rows.append(f"{number}.mp4,{label}")
        (tmp_path / folder / name).write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(fit, "CNNS", {"test_resnet": ("train",)})
    monkeypatch.setattr(fit, "GESTURES", ("up", "down"))
    out = tmp_path / "fit.jsonl"
    command = [*(str(tmp_path / name) for name in ("ego", "fights", "none.safetensors")), str(out), "--family", "tsn"]
    command += [
        "--seeds",
        "1",
        "--overrides",
        "training.epochs=1",
        "training.min_steps_per_epoch=2",
        "optim.warmup_epochs=0",
    ]
    assert fit.main(command) == 0
    cells = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(cells) == 4  # two sets, two batch sizes
    assert all(cell["epochs"] == 1 and 0 <= cell["top1"] <= 1 for cell in cells)
    table = capsys.readouterr().out
    assert table.count("tsn_test_resnet") == 2

    before = out.read_text()
    assert fit.main(command) == 0
    assert out.read_text() == before
    assert capsys.readouterr().out == table
