"""The runs of a cross-validation: what each learns from, and what it is tested on."""

import csv
from dataclasses import replace

import pytest

from lsn.config import DataConfig
from lsn.data import load_splits, load_test_set
from lsn.errors import ConfigError, DataError
from lsn.training.cross_validation import plan_folds


@pytest.fixture
def grouped(colours, tmp_path):
    """All twelve clips of `colours` in two manifests, four to a scene."""
    scene = 0
    for split in ("train", "val"):
        rows = list(csv.DictReader((colours / f"{split}.csv").open()))
        lines = []
        for row in rows:
            lines.append(f"{colours / row['path']},{row['label']},s{scene // 3 % 4}")
            scene += 1
        (tmp_path / f"{split}.csv").write_text("\n".join(["path,label,scene", *lines]) + "\n")
    return DataConfig(
        train=str(tmp_path / "train.csv"), val=str(tmp_path / "val.csv"), group_column="scene", num_workers=0
    )


@pytest.mark.parametrize("keep", ["last", "best"])
def test_every_clip_is_tested_once_by_a_model_that_has_not_seen_its_group(config, grouped, tmp_path, keep):
    config = replace(config, data=grouped, training=replace(config.training, keep=keep))
    runs = plan_folds(config, tmp_path / "out", num_folds=2, seeds=[0, 4])
    assert [(run.seed, run.fold) for run in runs] == [(0, 0), (0, 1), (4, 0), (4, 1)]
    assert [run.config.training.seed for run in runs] == [0, 0, 4, 4]
    tested = []
    for run in runs[:2]:
        train, val = load_splits(run.config.data, run.config.training.seed)
        test = load_test_set(run.config.data, train, val)
        if keep == "last":
            assert test is None and run.config.training.evaluate_every == run.config.training.epochs
            assert run.tested == run.folder
            test, seen = val, train.clips
        else:
            assert test is not None and run.tested == run.folder / "test"
            seen = train.clips + val.clips
        assert not {clip.group for clip in seen} & {clip.group for clip in test.clips}
        assert len(seen) + len(test) == 12
        tested += [clip.path for clip in test.clips]
    assert len(set(tested)) == 12
    assert runs[0].config.data == runs[2].config.data


def test_the_same_plan_again_and_another(config, grouped, tmp_path):
    config = replace(config, data=grouped)
    runs = plan_folds(config, tmp_path / "out", num_folds=2, seeds=[0])
    assert plan_folds(config, tmp_path / "out", num_folds=2, seeds=[0]) == runs
    with pytest.raises(ConfigError, match=r"0_train.csv: holds other clips .* choose another --out"):
        plan_folds(config, tmp_path / "out", num_folds=4, seeds=[0])


def test_what_makes_no_sense_is_refused(config, grouped, tmp_path):
    with pytest.raises(ConfigError, match="in cross-validation every clip is tested"):
        tested = replace(config, data=replace(grouped, test=grouped.val))
        plan_folds(tested, tmp_path / "out", num_folds=2, seeds=[0])
    with pytest.raises(DataError, match="9 folds of 4 groups"):
        plan_folds(replace(config, data=grouped), tmp_path / "out", num_folds=9, seeds=[0])
    assert not (tmp_path / "out").exists()
