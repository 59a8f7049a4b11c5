import os
from dataclasses import replace

import pytest
import torch

from lsn.config import RunConfig
from lsn.data import Clip, Manifest
from lsn.errors import ConfigError, WeightsError
from lsn.training.checkpoint import (
    CHECKPOINT_NAME,
    Best,
    Position,
    Tally,
    load_checkpoint,
    refuse_to_overwrite,
    save_checkpoint,
)

CONFIG = RunConfig()
CLIPS = Manifest("train.csv", ("a", "b"), (Clip("x/1.mp4", "a"), Clip("x/2.mp4", "b", start_seconds=1.0)))
POSITION = Position(
    epoch=3, step_in_epoch=2, step=41, seconds=7.5, best=Best(0.5, 1.25, 2), tally=Tally(loss=2.0, correct=1, clips=4)
)


def save(folder, **changes):
    arguments = {
        "config": CONFIG,
        "num_processes": 2,
        "train_set": CLIPS,
        "position": POSITION,
        "trained_names": ["cnn.weight"],
        "states": {"model": {"weight": torch.arange(3.0)}, "optimizer": {"lr": 0.5}},
    }
    save_checkpoint(folder, **arguments | changes)


def load(folder, **changes):
    return load_checkpoint(folder, **{"config": CONFIG, "num_processes": 2, "train_set": CLIPS} | changes)


def change(section, **values):
    return replace(CONFIG, **{section: replace(getattr(CONFIG, section), **values)})


def test_what_is_saved_comes_back(tmp_path):
    save(tmp_path)

    saved = load(tmp_path)

    assert saved["position"] == POSITION
    assert saved["trained_names"] == ["cnn.weight"]
    torch.testing.assert_close(saved["states"]["model"]["weight"], torch.arange(3.0))


def test_a_run_without_a_validation_yet_comes_back(tmp_path):
    save(tmp_path, position=Position())
    assert load(tmp_path)["position"] == Position()


def test_other_settings_are_refused_and_named(tmp_path):
    save(tmp_path)
    changed = replace(change("optim", learning_rate=0.5), training=replace(CONFIG.training, epochs=3))

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, config=changed, num_processes=1)

    message = str(caught.value)
    assert "optim.learning_rate was 0.01, now 0.5" in message
    assert "training.epochs was 50, now 3" in message
    assert "processes was 2, now 1" in message
    assert "batch_size" not in message


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("data", {"train": "moved/train.csv", "num_workers": 7}),
        ("training", {"device": "cpu", "checkpoint_every": 9, "tensorboard": True}),
        ("evaluation", {"batch_size": 1}),
    ],
)
def test_settings_that_do_not_decide_the_result_may_change(tmp_path, section, values):
    save(tmp_path)
    assert load(tmp_path, config=change(section, **values))["position"] == POSITION


def test_keys_that_a_checkpoint_is_older_than_count_as_their_defaults(tmp_path):
    save(tmp_path)
    saved = torch.load(tmp_path / CHECKPOINT_NAME)
    for section, key in (("input", "fps"), ("training", "carry_state")):
        del saved["config"][section][key]
    torch.save(saved, tmp_path / CHECKPOINT_NAME)

    assert load(tmp_path)["position"] == POSITION
    with pytest.raises(ConfigError, match=r"training.carry_state was 0.0, now 0.5"):
        load(tmp_path, config=change("training", carry_state=0.5))


def test_moved_clips_are_the_same_and_other_clips_are_not(tmp_path):
    save(tmp_path)
    moved = replace(
        CLIPS, source="y", clips=tuple(replace(c, path=c.path.replace("x/", "/other/")) for c in CLIPS.clips)
    )
    load(tmp_path, train_set=moved)

    for other in (
        replace(CLIPS, clips=CLIPS.clips[::-1]),
        replace(CLIPS, clips=CLIPS.clips[:1]),
        replace(CLIPS, labels=("b", "a")),
        replace(CLIPS, clips=(CLIPS.clips[0], replace(CLIPS.clips[1], start_seconds=2.0))),
    ):
        with pytest.raises(ConfigError, match="training clips are not those"):
            load(tmp_path, train_set=other)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(ConfigError, match=r"no checkpoint.pt to resume; start the run without --resume"):
        load(tmp_path)


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path):
    torch.save({"format_version": 1, "states": Attack(str(tmp_path / "owned"))}, tmp_path / CHECKPOINT_NAME)

    with pytest.raises(WeightsError, match=CHECKPOINT_NAME):
        load(tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not a checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    save(tmp_path)
    path = tmp_path / CHECKPOINT_NAME
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(WeightsError, match=r"checkpoint.pt: not a checkpoint of LSN, or damaged") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"format_version": 99}, {"a": 1}, [1, 2]])
def test_a_checkpoint_of_another_version_is_named(tmp_path, content):
    torch.save(content, tmp_path / CHECKPOINT_NAME)
    with pytest.raises(WeightsError, match="reads version 1"):
        load(tmp_path)


def test_a_failed_write_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    save(tmp_path)

    def fail(saved, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path, position=Position(step=99))

    assert load(tmp_path)["position"] == POSITION
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]


def test_a_folder_with_a_run_is_refused(tmp_path):
    refuse_to_overwrite(tmp_path / "new")
    (tmp_path / "notes.txt").touch()
    refuse_to_overwrite(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(ConfigError, match=r"already holds a run \(recipe.yaml\); pass --resume .* --out"):
        refuse_to_overwrite(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        refuse_to_overwrite(tmp_path / "notes.txt")
