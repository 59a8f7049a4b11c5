"""Whether a training learns: a collapse, dead units or a divergence is noticed while it happens.

Shapes: B clips, T frames, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lsn.data import Manifest
from lsn.models import Recognizer
from lsn.models.forward import eval_mode
from lsn.training.position import Tally

MIN_WINDOW, MAX_WINDOW = 16, 500
"""Steps after which a training is looked at: an epoch, or several of fewer steps, or a part of one that has more."""
MAX_CLIPS_LOOKED_AT = 4
"""Clips that dead units are looked for with."""

KINDS = ("diverged", "collapsed", "at_chance", "dead")
"""What can be wrong."""

_AT_CHANCE = 0.98
"""Share of the loss of guessing from which on nothing is learned."""
_DIVERGED = 1.25
"""The same, from which on the training diverges: a constant answer would be better."""
_SAME = 0.02
"""Share of the entropy of the labels up to which the answers on different clips are the same."""
_DEAD = 0.5
"""Share of the units of a stage from which on they are worth a word."""

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU, nn.LeakyReLU)


class AnswerSpread:
    """How much the answers on different clips differ: the mutual information of clip and answer.

    It is 0 where all clips get the same probabilities, and at most the logarithm of the number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self.sum_K = torch.zeros(num_classes)
        self.sum_entropy = torch.zeros(())
        self.num_clips = 0

    def add(self, logits_BK: Tensor) -> None:
        """Takes in the answers of a forward pass; what is added up stays on their device."""
        probabilities_BK = logits_BK.float().softmax(dim=1)
        self.sum_K = self.sum_K.to(logits_BK.device) + probabilities_BK.sum(dim=0)
        entropy = torch.special.entr(probabilities_BK).sum()
        self.sum_entropy = self.sum_entropy.to(logits_BK.device) + entropy
        self.num_clips += len(logits_BK)

    def information(self) -> float:
        """The information in nats; infinite before the first answer."""
        if not self.num_clips:
            return math.inf
        entropy_of_mean = torch.special.entr(self.sum_K / self.num_clips).sum()
        return max(0.0, (entropy_of_mean - self.sum_entropy / self.num_clips).item())

    def clear(self) -> None:
        """Begins again."""
        self.sum_K, self.sum_entropy, self.num_clips = self.sum_K * 0, self.sum_entropy * 0, 0


@dataclass(frozen=True)
class Finding:
    """What is wrong with a training."""

    kind: str
    """One of `KINDS`."""
    text: str
    """For people, without what to do."""


class TrainingWatch:
    """Looks at a training every epoch or so, see `MIN_WINDOW`, and says what is wrong.

    What was said is not repeated until it has been right once.

    Args:
        num_classes: Classes of the network.
        chance: Loss of the best constant answer, see `loss_of_guessing`.
        steps_per_epoch: Steps of an epoch.
        warmup_steps: First steps, in which a loss that stays where it is means nothing.
        unit: What the answers are on, in the plural.
        start: Steps that are done already.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        chance: float,
        steps_per_epoch: int,
        warmup_steps: int,
        unit: str = "clips",
        start: int = 0,
    ) -> None:
        self.chance, self.unit = chance, unit
        self.spread = AnswerSpread(num_classes)
        self._window = min(steps_per_epoch * math.ceil(MIN_WINDOW / steps_per_epoch), MAX_WINDOW)
        self._warmup_steps = warmup_steps
        self._begin, self._loss, self._num_clips = start, 0.0, 0.0
        self._said: frozenset[str] = frozenset()

    def step(self, step: int, tally: Tally, model: Recognizer, clip_BTCHW: Tensor) -> list[Finding]:
        """What is newly wrong after `step` steps.

        Args:
            step: Steps done, this one included.
            tally: Of this step.
            model: The network, left as it is.
            clip_BTCHW: Clips of the step, in which dead units are looked for; may be empty.
        """
        self._loss, self._num_clips = self._loss + tally.loss, self._num_clips + tally.weight
        if step % self._window:
            return []
        begin, loss, num_clips, information = self._begin, self._loss, self._num_clips, self.spread.information()
        self._begin, self._loss, self._num_clips = step, 0.0, 0.0
        self.spread.clear()
        if step - begin < self._window or not num_clips:  # a run that is resumed from an older checkpoint
            return []
        findings = [
            *self._judge(loss / num_clips, information, begin),
            *_dead_units(model, clip_BTCHW[:MAX_CLIPS_LOOKED_AT]),
        ]
        new = [finding for finding in findings if finding.kind not in self._said]
        self._said = frozenset(finding.kind for finding in findings)
        return new

    def state_dict(self) -> dict[str, Any]:
        """What was seen since the last look, as plain data."""
        spread = self.spread
        return {
            "begin": self._begin,
            "loss": self._loss,
            "num_clips": self._num_clips,
            "said": {kind: kind in self._said for kind in KINDS},
            "sum_K": spread.sum_K.cpu(),
            "sum_entropy": spread.sum_entropy.cpu(),
            "num_answers": spread.num_clips,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Takes over what was seen."""
        self._begin, self._loss, self._num_clips = saved["begin"], saved["loss"], saved["num_clips"]
        self._said = frozenset(kind for kind, is_said in saved["said"].items() if is_said)
        spread = self.spread
        if saved["sum_K"].shape != spread.sum_K.shape:
            raise ValueError(f"the answers are of {tuple(saved['sum_K'].shape)} classes")
        spread.sum_K, spread.sum_entropy, spread.num_clips = saved["sum_K"], saved["sum_entropy"], saved["num_answers"]

    def _judge(self, loss: float, information: float, begin: int) -> Iterator[Finding]:
        losses = f"the training loss is {loss:.3f}, that of guessing {self.chance:.3f}"
        if loss > _DIVERGED * self.chance and begin > 0:  # a classifier may start sure and wrong
            yield Finding("diverged", f"training diverges: {losses}")
        elif loss > _AT_CHANCE * self.chance and begin >= self._warmup_steps:
            if information < _SAME * self.chance:
                yield Finding("collapsed", f"the network answers the same for all {self.unit}: {losses}")
            else:
                yield Finding("at_chance", f"nothing is learned yet: {losses}")


def remedy(kind: str, *, learning_rate: float, batch_norm: str, unit: str = "clips") -> str:
    """What to do about a finding.

    Args:
        kind: Of the finding.
        learning_rate: Peak rate of the run.
        batch_norm: How its norms behave, as `training.batch_norm`.
        unit: What the answers are on, in the plural.
    """
    ways = [f"lower optim.learning_rate (here {learning_rate:.3g})"]
    if kind == "at_chance":
        ways = ["wait for another epoch", f"try another optim.learning_rate (here {learning_rate:.3g})"]
    if batch_norm in ("partial", "frozen"):
        ways.append("set training.batch_norm=train")
    trial = "; --overfit 8 shows whether these settings can fit 8 clips" if unit == "clips" else ""
    return f"{' or '.join(ways)}{trial}"


def loss_of_guessing(train_set: Manifest, label_smoothing: float) -> float:
    """Mean cross-entropy, in nats, of the best answer that does not depend on the clip; ln K for K equal classes."""
    counts = Counter(clip.label for clip in train_set.clips)
    return guessing_loss([counts[label] / len(train_set) for label in train_set.labels], label_smoothing)


def guessing_loss(shares: Sequence[float], label_smoothing: float) -> float:
    """The same for classes of these shares, which sum to 1."""
    smoothed = [(1 - label_smoothing) * share + label_smoothing / len(shares) for share in shares]
    return -sum(share * math.log(share) for share in smoothed if share > 0)


def _dead_units(model: Recognizer, clip_BTCHW: Tensor) -> Iterator[Finding]:
    if not len(clip_BTCHW):
        return
    dead = {name: share for name, share in dead_unit_shares(model, clip_BTCHW).items() if share >= _DEAD}
    if dead:
        listed = ", ".join(f"{100 * share:.0f}% in {name}" for name, share in dead.items())
        yield Finding("dead", f"units of the CNN are dead, they give the same for every pixel of every clip: {listed}")


def dead_unit_shares(model: Recognizer, clip_BTCHW: Tensor) -> dict[str, float]:
    """Share of the units behind the activations of each stage that give one value everywhere, by the stage's name.

    Args:
        model: The network; it is left as it is.
        clip_BTCHW: Clips to look with.
    """
    num_units: Counter[str] = Counter()
    num_dead: Counter[str] = Counter()

    def watch(stage: str, module: nn.Module) -> RemovableHandle:
        def count(_module: nn.Module, _inputs: tuple[Tensor, ...], y_NCHW: Tensor) -> None:
            if y_NCHW.ndim == 4 and y_NCHW.shape[-1] > 1:  # not what squeeze-and-excitation sees of whole maps
                num_units[stage] += y_NCHW.shape[1]
                num_dead[stage] += int((y_NCHW.amin((0, 2, 3)) == y_NCHW.amax((0, 2, 3))).sum())

        return module.register_forward_hook(count)

    handles = [
        watch(stage.name, module)
        for stage in model.stages
        for name in stage.modules
        for module in model.cnn.get_submodule(name).modules()
        if isinstance(module, _ACTIVATIONS)
    ]
    try:
        with eval_mode(model):
            clip_BTCHW = clip_BTCHW.to(next(model.parameters()).device)
            Recognizer.advance(model, clip_BTCHW, None)  # not compiled, which would leave nothing to watch
    finally:
        for handle in handles:
            handle.remove()
    return {stage: num_dead[stage] / number for stage, number in num_units.items()}
