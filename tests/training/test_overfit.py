"""Whether the settings can fit a few clips."""

from dataclasses import replace

import pytest

from lsn.errors import ConfigError
from lsn.training.overfit import MAX_STEPS, OverfitResult, overfit


@pytest.fixture
def settings(config):
    """Adam on a network whose norms learn, on six clips of three colours."""
    return replace(
        config,
        model=replace(config.model, name="tsn_resnet10t", memory_stages=None),
        optim=replace(config.optim, optimizer="adamw", learning_rate=0.002),
        training=replace(config.training, grad_accum_steps=2),
    )


def test_good_settings_fit(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = []
    found = overfit(settings, 6, progress=lambda done, total: steps.append((done, total)))
    assert found.fits and (found.num_right, found.num_right_in_training) == (6, 6)
    assert found.num_steps < MAX_STEPS and found.losses[-1] < 0.5 * found.guessing_loss
    assert found.num_steps == 2 * len(found.losses)  # 6 clips in steps of 2 x 2
    assert steps == [(done, MAX_STEPS) for done in range(1, found.num_steps + 1)]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "advice"), [(1e-8, "stays where it is: raise"), (3.0, "rises above what it starts from: lower")]
)
def test_bad_settings_do_not(settings, rate, advice, monkeypatch):
    monkeypatch.setattr("lsn.training.overfit.MAX_STEPS", 20)
    found = overfit(replace(settings, optim=replace(settings.optim, learning_rate=rate)), 6)
    assert not found.fits
    assert found.num_steps == 20
    assert advice in found.advice()


def test_what_is_right_in_training_only_is_blamed_on_the_norms():
    found = OverfitResult(
        num_clips=6,
        num_steps=200,
        losses=(1.1, 0.01),
        guessing_loss=1.1,
        learning_rate=0.1,
        batch_norm="train",
        num_right_in_training=6,
        num_right=2,
    )
    assert not found.fits and "statistics of the batch norms" in found.advice()


@pytest.mark.parametrize("number", [1, 8])
def test_the_number_of_clips(settings, number):
    with pytest.raises(
        ConfigError, match=rf"--overfit is {number}; it must be between 2 and the clips of .*train.csv, 7"
    ):
        overfit(settings, number)
