"""The network: a 2D CNN with a memory after its stages, a classifier on every frame, and the mean over frames.

One class is TSN, TSM, ConvLSTM, LSN and LSN+SS; `lsn.create_model` names them.

Source: LSN (DOI 10.1007/978-981-19-5194-7_24), figure 1; TSN (Wang et al., ECCV 2016) for the consensus.

Shapes: B clips, T frames, N = B * T, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lsn.errors import ModelError
from lsn.models.backbone import Stage, run_modules
from lsn.models.memory import ConvLSTM
from lsn.models.shift import Direction, install_shift


class Recognizer(nn.Module):
    """T frames -> [CNN stage -> memory] x n -> pool -> dropout -> classifier on every frame -> mean over frames.

    Args:
        cnn: a CNN of timm.
        stages: its stages, and
        tail: its modules between the last stage and the head, both as `lsn.models.backbone.cut_stages` finds them.
        memory: blocks by number of the stage that they follow.
        shift: temporal shift in every residual block of the CNN, or None.
        name: what the model is called.
        num_frames: frames of the clips that it is made for; it runs on any number.
        arguments: keyword arguments of `create_model` that build this model again, as plain data.
    """

    cnn: Any  # timm's CNNs share methods, not a type

    def __init__(
        self,
        cnn: nn.Module,
        *,
        stages: tuple[Stage, ...],
        tail: tuple[str, ...],
        memory: dict[int, ConvLSTM],
        shift: Direction | None,
        name: str,
        num_frames: int,
        arguments: dict[str, Any],
    ) -> None:
        super().__init__()
        self.stages, self.tail = stages, tail
        self.name, self.num_frames, self.arguments = name, num_frames, arguments
        self.cnn = cnn
        self.memory = nn.ModuleDict({str(number): block for number, block in memory.items()})
        self._shift = install_shift(cnn, shift) if shift else None
        self._grad_checkpointing = False
        self._trained: frozenset[str] = frozenset()

    @property
    def num_classes(self) -> int:
        """Classes K of the classifier."""
        return self.cnn.num_classes

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of red, green and blue that the CNN expects, for values in 0..1."""
        return tuple(self.cnn.pretrained_cfg["mean"])

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of red, green and blue that the CNN expects, for values in 0..1."""
        return tuple(self.cnn.pretrained_cfg["std"])

    @property
    def shift(self) -> Direction | None:
        """Direction of the temporal shift, None without one."""
        return self._shift.direction if self._shift else None

    @property
    def is_causal(self) -> bool:
        """Whether no frame's logits depend on later frames."""
        return self.shift in (None, "causal")

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Class scores of whole clips: the mean of the frames' logits, BK."""
        return self.forward_frames(clip_BTCHW).mean(dim=1)

    def forward_frames(self, clip_BTCHW: Tensor) -> Tensor:
        """Class scores of every frame, BTK; in a causal model each knows the frames up to its own."""
        return self.forward_head(self.forward_features(clip_BTCHW))

    def forward_features(self, clip_BTCHW: Tensor) -> Tensor:
        """The last feature map of every frame, BTCHW.

        Raises:
            ModelError: the clip is not B x T x 3 x H x W with at least one frame.
        """
        if clip_BTCHW.ndim != 5 or clip_BTCHW.shape[2] != 3 or 0 in clip_BTCHW.shape[1:]:
            raise ModelError(f"expected clips of shape B x T x 3 x H x W, got {tuple(clip_BTCHW.shape)}")
        x_BTCHW = clip_BTCHW
        for number, stage in enumerate(self.stages):
            x_BTCHW = self.run_stage(stage.modules, x_BTCHW)
            if str(number) in self.memory:
                x_BTCHW, _ = self.memory[str(number)](x_BTCHW)
        return self.run_stage(self.tail, x_BTCHW)

    def forward_head(self, features_BTCHW: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool, dropout and classifier on every frame, BTK; `pre_logits` stops before the classifier."""
        x_NC = self.cnn.forward_head(features_BTCHW.flatten(0, 1), pre_logits=pre_logits)
        return x_NC.unflatten(0, features_BTCHW.shape[:2])

    def run_stage(self, modules: Sequence[str], x_BTCHW: Tensor) -> Tensor:
        """Runs modules of the CNN on every frame."""
        num_frames = x_BTCHW.shape[1]

        def run(x_NCHW: Tensor) -> Tensor:
            if self._shift is not None:  # set here, so that a recomputation in the backward pass finds it too
                self._shift.num_frames = num_frames
            return run_modules(self.cnn, tuple(modules), x_NCHW)

        x_NCHW = x_BTCHW.flatten(0, 1)
        if self._grad_checkpointing and torch.is_grad_enabled():
            x_NCHW = checkpoint(run, x_NCHW, use_reentrant=False)
        else:
            x_NCHW = run(x_NCHW)
        return x_NCHW.unflatten(0, (-1, num_frames))

    def get_classifier(self) -> nn.Module:
        """The classifier that runs on every frame."""
        return self.cnn.get_classifier()

    def reset_classifier(self, num_classes: int) -> None:
        """Replaces the classifier by a fresh one for `num_classes` classes (timm's contract)."""
        before = set(self._classifier_names())
        self.cnn.reset_classifier(num_classes)
        self.arguments = {**self.arguments, "num_classes": num_classes}
        self._trained -= before | set(self._classifier_names())

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the CNN's activations in the backward pass, stage by stage, instead of keeping them."""
        self._grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Groups of parameters by depth, for layer-wise learning rates (timm's contract).

        A memory block comes right behind its stage.
        """
        groups = self.cnn.group_matcher(coarse=coarse)
        blocks = groups["blocks"]
        rules = [(blocks, None)] if isinstance(blocks, str) else list(blocks)
        behind = [(rf"^memory\.{n}\.", (_number(self.stages[int(n)]), 99998)) for n in self.memory]
        prefixed = [(_under_cnn(pattern), suffix) for pattern, suffix in rules]
        return {"stem": _under_cnn(groups["stem"]), "blocks": prefixed + behind}

    def mark_trained(self, names: Iterable[str]) -> None:
        """Notes which parameters hold trained weights."""
        self._trained = frozenset(names)

    def new_parameter_names(self) -> set[str]:
        """Names of the parameters that did not start from trained weights."""
        return {name for name, _ in self.named_parameters()} - self._trained

    def _classifier_names(self) -> list[str]:
        classifier = self.get_classifier()
        names = {id(parameter) for parameter in classifier.parameters()}
        return [name for name, parameter in self.named_parameters() if id(parameter) in names]


def _under_cnn(pattern: str) -> str:
    """timm's pattern for the names of the CNN, matched below `cnn.`."""
    return rf"^cnn\.(?:{pattern.replace('^', '')})"


def _number(stage: Stage) -> int:
    """The number in the stage's name, by which timm orders its blocks; one without (`final_conv`) comes last."""
    return int((re.findall(r"\d+", stage.name) or [99999])[-1])
