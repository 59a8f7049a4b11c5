import copy
import errno
import os
import subprocess
import sys
import threading
from dataclasses import replace
from random import Random

import pytest
import torch

from lsn.config import RunConfig, load_config, to_yaml
from lsn.data import Clip, Manifest
from lsn.errors import ConfigError, TrainingError, WeightsError
from lsn.training.checkpoints.file import CHECKPOINT_NAME, load_checkpoint, require_same_clips, save_checkpoint
from lsn.training.checkpoints.writer import BackgroundWriter, snapshot
from lsn.training.clips.task import clips_fingerprint
from lsn.training.position import Best, Position, Tally

CONFIG = RunConfig()
CLIPS = Manifest("train.csv", ("a", "b"), (Clip("x/1.mp4", "a"), Clip("x/2.mp4", "b", start_seconds=1.0)))
POSITION = Position(
    epoch=3, step_in_epoch=2, step=41, seconds=7.5, best=Best(0.5, -1.25, 2), tally=Tally(loss=2.0, correct=1, weight=4)
)


def save(folder, **changes):
    arguments = {
        "config": CONFIG,
        "num_processes": 2,
        "fingerprint": "abc",
        "position": POSITION,
        "trained_names": ["cnn.weight"],
        "states": {"model": {"weight": torch.arange(3.0)}, "optimizer": {"lr": 0.5}},
    }
    save_checkpoint(folder, **arguments | changes)


def load(folder, **changes):
    return load_checkpoint(folder, **{"config": CONFIG} | changes)


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
        load(tmp_path, config=changed)

    message = str(caught.value)
    assert "optim.learning_rate was 0.001, now 0.5" in message
    assert "training.epochs was 30, now 3" in message
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


def test_a_run_of_other_defaults_is_resumed_by_its_own_settings(tmp_path):
    """Those of 0.1.0: its checkpoints hold every key, by the name that it had, and so does the recipe in the folder."""
    before = replace(
        change("model", pretrained=False),
        optim=replace(CONFIG.optim, new_layer_lr_mult=1.0, warmup_epochs=0.0),
        training=replace(CONFIG.training, epochs=50, batch_norm="train"),
    )
    save(tmp_path, config=before)
    saved = torch.load(tmp_path / CHECKPOINT_NAME)
    optim = saved["config"]["optim"]
    optim["new_layer_factor"] = optim.pop("new_layer_lr_mult")
    torch.save(saved | {"format_version": 1}, tmp_path / CHECKPOINT_NAME)
    (tmp_path / "recipe.yaml").write_text(to_yaml(before).replace("new_layer_lr_mult", "new_layer_factor"))

    assert load(tmp_path, config=load_config(tmp_path / "recipe.yaml"))["position"] == POSITION
    with pytest.raises(ConfigError) as caught:  # a recipe that left these keys to the defaults
        load(tmp_path)
    message = str(caught.value)
    assert "optim.new_layer_lr_mult was 1.0, now 5.0; optim.warmup_epochs was 0.0, now 1.0" in message
    assert "training.epochs was 50, now 30; training.batch_norm was 'train', now 'partial'" in message
    assert "pretrained" not in message
    assert "recipe.yaml in the run's folder" in message


def test_keys_that_a_checkpoint_is_older_than_count_as_their_defaults(tmp_path):
    save(tmp_path)
    saved = torch.load(tmp_path / CHECKPOINT_NAME)
    for section, key in (("input", "fps"), ("training", "state_carry_prob")):
        del saved["config"][section][key]
    torch.save(saved | {"format_version": 1}, tmp_path / CHECKPOINT_NAME)

    assert load(tmp_path)["position"] == POSITION
    with pytest.raises(ConfigError, match=r"training.state_carry_prob was 0.0, now 0.5"):
        load(tmp_path, config=change("training", state_carry_prob=0.5))


def test_moved_clips_are_the_same_and_other_clips_are_not(tmp_path):
    save(tmp_path, fingerprint=clips_fingerprint(CLIPS))
    moved = replace(
        CLIPS, source="y", clips=tuple(replace(c, path=c.path.replace("x/", "/other/")) for c in CLIPS.clips)
    )
    require_same_clips(tmp_path, load(tmp_path), clips_fingerprint(moved))

    for other in (
        replace(CLIPS, clips=CLIPS.clips[::-1]),
        replace(CLIPS, clips=CLIPS.clips[:1]),
        replace(CLIPS, labels=("b", "a")),
        replace(CLIPS, clips=(CLIPS.clips[0], replace(CLIPS.clips[1], start_seconds=2.0))),
    ):
        with pytest.raises(ConfigError, match="the training set is not that which the run started with"):
            require_same_clips(tmp_path, load(tmp_path), clips_fingerprint(other))


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
    with pytest.raises(WeightsError, match="reads versions 1 and 2"):
        load(tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_any_flipped_bit_is_noticed(tmp_path, seed):
    save(tmp_path)
    path = tmp_path / CHECKPOINT_NAME
    content = path.read_bytes()
    rng = Random(seed)
    last_bits = range(8 * len(content) - 400, 8 * len(content), 7)  # of the checksum, and of the label before it
    for bit in [*rng.sample(range(8 * len(content)), 150), *last_bits]:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)

        with pytest.raises(WeightsError, match=r"checkpoint\.pt: (not a checkpoint of LSN, or damaged|format version)"):
            load(tmp_path)


def test_a_checkpoint_without_a_checksum_is_read_if_it_is_of_the_version_that_had_none(tmp_path):
    save(tmp_path)
    path = tmp_path / CHECKPOINT_NAME
    saved = torch.load(path, weights_only=True)

    torch.save(saved, path)
    with pytest.raises(WeightsError, match="its checksum is missing"):
        load(tmp_path)
    torch.save(saved | {"format_version": 1}, path)
    assert load(tmp_path)["position"] == POSITION


@pytest.mark.parametrize(
    "forged",
    [
        {"config": None},
        {"config": {"training": 3}},
        {"num_processes": "two"},
        {"clips": 7},
        {"position": [1, 2]},
        {"position": {"step": "many"}},
        {"position": {"step": -1}},
        {"position": {"pace": 1}},
        {"position": {"best": {"top1": 0.5}}},
        {"trained_names": [1]},
        {"trained_names": None},
        {"states": "none"},
        {"states": {"model": 5}},
    ],
    ids=str,
)
@pytest.mark.parametrize("is_there", [True, False])
def test_content_of_another_kind_is_named(tmp_path, forged, is_there):
    save(tmp_path)
    path = tmp_path / CHECKPOINT_NAME
    saved = torch.load(path, weights_only=True) | {"format_version": 1} | forged
    if not is_there:
        del saved[next(iter(forged))]
    torch.save(saved, path)

    with pytest.raises(WeightsError, match=r"checkpoint\.pt: not a checkpoint of LSN, or damaged: .* from a copy"):
        load(tmp_path)


SAVES_WITH_LITTLE_ROOM = """
import resource, signal, sys
from pathlib import Path
import torch
from test_training_checkpoint import POSITION, save
from lsn.errors import TrainingError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing beyond the limit is an error, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    save(Path(sys.argv[1]), states={"model": {"weight": torch.zeros(100_000)}})
except TrainingError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [1000, *(pytest.param(room, marks=pytest.mark.slow) for room in (0, 400_000))])
def test_without_room_for_a_checkpoint_the_one_before_stays(tmp_path, room):
    save(tmp_path)

    command = [sys.executable, "-c", SAVES_WITH_LITTLE_ROOM, tmp_path, str(room)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )

    assert done.stdout == (
        f"{tmp_path / CHECKPOINT_NAME}: the checkpoint could not be written: File too large; make room, or mend the "
        "file system, and resume: the checkpoint before this one is whole\n"
    ), done.stderr
    assert load(tmp_path)["position"] == POSITION
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]


def test_positions_of_older_runs_which_knew_clips_alone_are_read(tmp_path):
    save(tmp_path)
    saved = torch.load(tmp_path / CHECKPOINT_NAME, weights_only=True)
    saved["position"] |= {
        "best": {"top1": 0.5, "loss": 1.25, "epoch": 2},
        "tally": {"loss": 2.0, "correct": 1.0, "clips": 4.0, "unreadable": 0.0, "seconds": 0.0},
    }
    torch.save(saved | {"format_version": 1}, tmp_path / CHECKPOINT_NAME)
    found = load(tmp_path)["position"]
    assert found.best == Best(score=0.5, tie_break=-1.25, epoch=2)
    assert found.tally == Tally(loss=2.0, correct=1.0, weight=4.0, items=4.0)


def test_the_last_checkpoints_are_kept_and_a_damaged_one_gives_way_to_the_one_before(tmp_path, caplog):
    for step in range(1, 6):
        save(tmp_path, position=replace(POSITION, step=step), num_kept=3)
    names = [CHECKPOINT_NAME, "checkpoint.1.pt", "checkpoint.2.pt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name, step in zip(names, (5, 4, 3), strict=True):
        assert load(tmp_path)["position"].step == step
        assert (f"Resumed from {name}, after step {step}" in caplog.text) == (name != CHECKPOINT_NAME)
        assert load(tmp_path)["position"].step == step  # which has the name of the last one now
        caplog.clear()
        with (tmp_path / CHECKPOINT_NAME).open("r+b") as file:
            file.truncate(100)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt: not a checkpoint of LSN, or damaged"):
        load(tmp_path)


def test_without_room_the_checkpoints_before_are_where_they_were(tmp_path, monkeypatch):
    for step in (1, 2):
        save(tmp_path, position=replace(POSITION, step=step), num_kept=2)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"could not be written: No space left on device; make room"):
        save(tmp_path, position=replace(POSITION, step=3), num_kept=2)
    assert load(tmp_path)["position"].step == 2
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"")
    assert load(tmp_path)["position"].step == 1


def test_what_is_written_in_the_background_is_what_was_there_when_it_was_asked_for(tmp_path):
    model = torch.nn.BatchNorm2d(3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.rand(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    parts = {"model": model, "optimizer": optimizer}
    before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
    states, go_on = snapshot({name: part.state_dict() for name, part in parts.items()}), threading.Event()
    writer = BackgroundWriter()
    writer.start(lambda: (go_on.wait(), save(tmp_path, states=states)))
    optimizer.step()
    model(torch.rand(2, 3, 4, 4))
    go_on.set()
    writer.finish()
    kept = load(tmp_path)["states"]
    torch.testing.assert_close(kept["model"], before["model"], rtol=0, atol=0)
    torch.testing.assert_close(kept["optimizer"]["state"], before["optimizer"]["state"], rtol=0, atol=0)
    assert not torch.equal(kept["model"]["weight"], model.weight)
    writer.close()


def test_a_failure_in_the_background_is_raised_at_the_next_turn_or_logged_at_the_end(caplog):
    def fail() -> None:
        raise TrainingError("no room")

    writer = BackgroundWriter()
    writer.start(fail)
    with pytest.raises(TrainingError, match="no room"):
        writer.start(lambda: None)
    writer.start(fail)
    with pytest.raises(TrainingError, match="no room"):
        writer.finish()
    writer.finish()
    writer.start(fail)
    writer.close()
    assert "no room" in caplog.text
