"""Damaged and forged checkpoints, and resuming from them."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from pathlib import Path
from random import Random
from typing import Any

from damage import ODDITIES, damaged, flipped, put_oddity

NUM_CASES = 100
CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"

_KINDS = (
    ["flip"] * 60 + ["flip in the structure"] * 60 + ["damage"] * 20 + ["forged"] * 35 + ["code"] * 8
    + ["metrics"] * 10 + list(ODDITIES)
)  # fmt: skip
_STRUCTURE_BYTES = 1 << 16  # at either end: the pickle and the directory


class Code:
    """Runs when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def write_original(folder: Path) -> str:
    """Videos, a run that was stopped before its last step, and the hash of the weights that it ends with."""
    import numpy as np

    from lsn.training import train
    from lsn.video import write_video

    for split, num_clips in (("train", 6), ("val", 2)):
        (folder / split).mkdir(parents=True)
        rows = ["path,label"]
        for number in range(num_clips):
            frames = np.random.default_rng(number).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
            write_video(folder / split / f"{number}.mp4", frames, fps=10)
            rows.append(f"{split}/{number}.mp4,{'ab'[number % 2]}")
        (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    train(_config(folder), folder / "whole")
    try:
        train(_config(folder), folder / "half", progress=_StopAtLastStep())
    except _Stop:
        return _hash(folder / "whole")
    raise AssertionError("the run was not stopped")


def make_case(number: int, folder: Path, original: Path) -> tuple[Path, str]:
    """The run that was stopped, with something wrong; the same for a number each time."""
    random, kind = Random(f"checkpoints/{number}"), _KINDS[number]
    run = folder / "half"
    shutil.copytree(original / "half", run)
    path, data = run / CHECKPOINT, (original / "half" / CHECKPOINT).read_bytes()
    if kind in ODDITIES:
        path.unlink()
        put_oddity(kind, path)
    elif kind == "flip":
        path.write_bytes(flipped(data, random, 1))
    elif kind == "flip in the structure":
        at_start = random.random() < 0.5
        size = min(len(data) // 2, _STRUCTURE_BYTES)
        ends = (flipped(data[:size], random, 1) + data[size:], data[:-size] + flipped(data[-size:], random, 1))
        path.write_bytes(ends[0] if at_start else ends[1])
    elif kind == "damage":
        changed, kind = damaged(data, random, other=(original / "train/0.mp4").read_bytes())
        path.write_bytes(changed)
    elif kind == "metrics":
        changed, damage = damaged((run / METRICS).read_bytes(), random, other=data)
        (run / METRICS).write_bytes(changed)
        kind = f"{METRICS}, {damage}"
    elif kind == "forged":
        kind = _forge(path, random)
    else:
        kind = _put_code(path, str(folder / "ran"), number)
    return run, kind


def _forge(path: Path, random: Random) -> str:
    """Gives a value of the checkpoint another type, name or size."""
    import torch

    saved = torch.load(path, weights_only=True)
    container, name = saved, ""
    while True:
        key = random.choice(list(container) if isinstance(container, dict) else range(len(container)))
        name = f"{name}.{key}"
        inner = container[key]
        if not isinstance(inner, dict | list) or not inner or random.random() < 0.25:
            break
        container = inner
    if isinstance(container, dict) and random.random() < 0.3:
        del container[key]
        what = "missing"
    else:
        odd = random.choice((
            None, True, -1, 10**30, 1.5, float("nan"), "text", b"bytes", [], [1], {}, {"a": 1}, torch.zeros(3),
            torch.zeros(2, 2, dtype=torch.int64), torch.zeros(0), torch.eye(3).to_sparse(), 10**5,
        ))  # fmt: skip
        container[key] = odd
        what = "a tensor" if isinstance(odd, torch.Tensor) else repr(odd)
    _sign(saved, path)
    return f"forged{name}: {what}"


def _sign(saved: Any, path: Path) -> None:
    """Writes a checkpoint with the checksum that it should have, so that what it says is looked at."""
    import torch

    from lsn.training.checkpoints.checksum import ChecksumWriter

    with path.open("wb") as file:
        writer = ChecksumWriter(file)
        torch.save(saved, writer)
        writer.finish()


def is_forged(number: int) -> bool:
    """Whether a case is a checkpoint that somebody made so, which may lead to other weights than the original."""
    return _KINDS[number] == "forged"


def _put_code(path: Path, ran: str, number: int) -> str:
    """Puts code that makes a folder into the checkpoint."""
    import torch

    saved = torch.load(path, weights_only=True)
    code = Code(ran)
    match number % 4:
        case 0:
            path.write_bytes(pickle.dumps(code, protocol=(number // 4) % 5))
            return "a plain pickle with code"
        case 1:
            torch.save([code] * number, path)
            return "nothing but code"
        case 2:
            torch.save(saved | {"position": {"epoch": code, "step": number}}, path)
            return "a position that is code"
        case _:
            torch.save(
                saved | {"states": saved["states"] | {"model": [code] * number}},
                path,
                _use_new_zipfile_serialization=False,
            )
            return "weights that are code, in the old format"


def resume(run: Path, original: Path) -> str:
    """Resumes a run; returns the hash of its weights."""
    from lsn.training import train

    try:
        train(_config(original), run, resume=True)
    finally:
        assert not (run.parent / "ran").exists(), "code of the checkpoint was run"
    return _hash(run)


def _config(folder: Path) -> Any:
    from lsn.config import DataConfig, InputConfig, ModelConfig, OptimConfig, RunConfig, TrainingConfig

    return RunConfig(
        model=ModelConfig(name="lsn_test_resnet", num_frames=2, pretrained=False, memory_stages=(3,), dropout=0.5),
        data=DataConfig(train=str(folder / "train.csv"), val=str(folder / "val.csv"), num_workers=0),
        input=InputConfig(size=32, short_side=32),
        optim=OptimConfig(
            optimizer="sgd",
            learning_rate=0.01,
            lr_base_size=0,
            weight_decay=5e-4,
            new_layer_lr_mult=1.0,
            warmup_epochs=0.0,
        ),
        training=TrainingConfig(
            epochs=1,
            min_steps_per_epoch=1,
            batch_size=2,
            ema_decay=0.5,
            batch_norm="train",
            seed=3,
            device="cpu",
            checkpoint_every=1,
        ),
    )


def _hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


class _Stop(Exception):
    pass


class _StopAtLastStep:
    def on_start(self, lines: object) -> None:
        pass

    def on_step(self, report: Any) -> None:
        if report.step == report.num_steps:
            raise _Stop

    def on_evaluation(self, done: int, total: int) -> None:
        pass

    def on_evaluated(self, epoch: int, validation: object, is_best: bool) -> None:
        pass
