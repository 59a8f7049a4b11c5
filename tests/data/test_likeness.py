"""Validation sets that say less than they seem to."""

import numpy as np
import pytest

from lsn.cli import main
from lsn.data import group_problems, read_manifest
from lsn.data.clips.likeness import STATISTICS, look_of
from lsn.video import write_video


def write_scene(folder, name, *, grey, texture, num_clips=2):
    """Clips of one brightness and one strength of noise; returns their rows."""
    rng = np.random.default_rng(abs(hash((grey, texture))) % 1000)
    rows = []
    for number in range(num_clips):
        frames = np.clip(grey + texture * rng.standard_normal((4, 48, 64, 3)), 0, 255).astype(np.uint8)
        write_video(folder / f"{name}_{number}.mp4", frames, fps=4)
        rows.append(f"{name}_{number}.mp4,{'ab'[number % 2]},{name}")
    return rows


def manifests(folder, train, val):
    """Manifests of scenes, given as (grey, texture)."""
    read = []
    for split, scenes in (("train", train), ("val", val)):
        rows = [row for n, (g, t) in enumerate(scenes) for row in write_scene(folder, f"{split}{n}", grey=g, texture=t)]
        (folder / f"{split}.csv").write_text("\n".join(["path,label,scene", *rows]) + "\n")
        read.append(read_manifest(folder / f"{split}.csv", group_column="scene"))
    return read


VARIED = [(40, 3), (40, 40), (120, 3), (120, 40), (210, 3), (210, 40)]


def test_statistics(tmp_path):
    (row,) = write_scene(tmp_path, "x", grey=128, texture=0, num_clips=1)
    (tmp_path / "m.csv").write_text(f"path,label\n{row.rsplit(',', 1)[0]}\n")
    look = dict(zip(STATISTICS, look_of(read_manifest(tmp_path / "m.csv").clips[0]), strict=True))
    assert look["brightness"] == pytest.approx(0.5, abs=0.02)
    assert max(value for name, value in look.items() if name != "brightness") < 0.02


def test_a_set_like_the_other_is_left_in_peace(tmp_path):
    assert group_problems(*manifests(tmp_path, VARIED, VARIED)) == []


def test_few_groups(tmp_path):
    (problem,) = group_problems(*manifests(tmp_path, VARIED[:2], VARIED[:2]))
    assert problem.severity == "warning"
    assert "2 groups are few to validate on" in problem.message


def test_plain_walls_only(tmp_path, capsys):
    plain = [(grey, 3) for grey in (40, 80, 120, 160, 210)]
    (problem,) = group_problems(*manifests(tmp_path, VARIED, plain))
    assert "nothing here looks like 3 of the 6 groups of train, which have 6 of its 12 clips" in problem.message
    assert "train1" in problem.message and "edges" in problem.message
    split = [str(tmp_path / "train.csv"), str(tmp_path / "val.csv")]
    assert main(["data", "check", *split, "--group-column", "scene"]) == 0
    assert "nothing here looks like" in capsys.readouterr().out


def test_without_groups_nothing_is_said(tmp_path):
    manifests(tmp_path, VARIED, VARIED[:1])
    assert group_problems(*(read_manifest(tmp_path / f"{split}.csv") for split in ("train", "val"))) == []
