"""How many clips an epoch of a small set has."""

from dataclasses import replace

import pytest
import torch

from lsn.distributed import World
from lsn.training.clips.task import ClipTask


@pytest.mark.parametrize(
    ("min_steps", "batch_size", "grad_accum_steps", "num_passes"),
    [
        (1, 2, 1, 1),  # one pass over the 7 clips is enough
        (3, 2, 1, 1),
        (4, 2, 1, 5),  # 32 clips, as in steps of 8
        (4, 2, 2, 5),
        (4, 8, 1, 5),
        (4, 2, 4, 5),
        (4, 16, 1, 10),
    ],
)
def test_an_epoch_of_a_small_set_has_as_many_clips_in_small_batches(
    config, min_steps, batch_size, grad_accum_steps, num_passes
):
    training = replace(
        config.training, min_steps_per_epoch=min_steps, batch_size=batch_size, grad_accum_steps=grad_accum_steps
    )
    task = ClipTask(replace(config, training=training), World(0, 1, torch.device("cpu")))
    assert len(task.clips) == 7 * num_passes
    assert task.steps_per_epoch >= min_steps
