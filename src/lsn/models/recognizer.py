"""The network: a 2D CNN with a memory after its stages, a classifier on every frame, and the mean over frames.

One class is TSN, TSM, GRU, ConvLSTM, LSN and LSN+SS; `lsn.create_model` names them.

Source: LSN (DOI 10.1007/978-981-19-5194-7_24), figure 1; TSN (Wang et al., ECCV 2016) for the consensus.

Shapes: B clips, T frames, N = B * T, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, groupby
from typing import Any

import torch
from torch import Tensor, nn

from lsn.errors import ModelError
from lsn.models.backbone import Stage, cut_blocks, run_modules
from lsn.models.layout import normalize_frames, with_differences
from lsn.models.memory.blocks import ConvLSTM, MemoryState
from lsn.models.memory.gru import PooledGRU
from lsn.models.recompute import norms_in_training, recompute
from lsn.models.shift import SHIFTED_FRACTION, Direction, ShiftCall, install_shift
from lsn.models.state import FRAME, StreamState

PART_FRAMES = 64
"""Frames of each clip that inference holds at once."""


class Recognizer(nn.Module):
    """T frames -> [CNN stage -> memory] x n -> pool -> dropout -> classifier on every frame -> mean over frames.

    Frames are uint8 RGB, which the network normalises where it computes, or floats that are normalised already.

    Args:
        cnn: a CNN of timm.
        stages: its stages, and
        tail: its modules between the last stage and the head, both as `lsn.models.backbone.cut_stages` finds them.
        memory: blocks by number of the stage that they follow.
        shift: temporal shift in every residual block of the CNN, or None.
        name: what the model is called.
        num_frames: frames of the clips that it is made for; it runs on any number.
        frame_differences: the CNN sees six channels: the frame, and what changed since the one before.
        readout_frames: last frames of a clip that its answer is the mean of; None for all.
        multi_label: a yes or no for each class, whose logits go through a sigmoid, instead of one answer.
        arguments: keyword arguments of `create_model` that build this model again, as plain data.
    """

    cnn: Any  # timm's CNNs share methods, not a type
    memory: Any  # a ModuleDict of blocks
    _mean_C: Tensor
    _std_C: Tensor

    def __init__(
        self,
        cnn: nn.Module,
        *,
        stages: tuple[Stage, ...],
        tail: tuple[str, ...],
        memory: Mapping[int, ConvLSTM | PooledGRU],
        shift: Direction | None,
        name: str,
        num_frames: int,
        frame_differences: bool,
        readout_frames: int | None,
        multi_label: bool,
        arguments: dict[str, Any],
    ) -> None:
        super().__init__()
        self.stages, self.tail = stages, tail
        self.name, self.num_frames, self.readout_frames, self.arguments = name, num_frames, readout_frames, arguments
        self.frame_differences, self.multi_label = frame_differences, multi_label
        self.cnn = cnn
        self.memory = nn.ModuleDict({str(number): block for number, block in memory.items()})
        self._shift = install_shift(cnn, shift) if shift else None
        self.register_buffer("_mean_C", 255 * torch.tensor(self.mean), persistent=False)
        self.register_buffer("_std_C", 255 * torch.tensor(self.std), persistent=False)
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
    def in_channels(self) -> int:
        """Channels that the CNN sees of each frame."""
        return 6 if self.frame_differences else 3

    @property
    def num_stem_convolutions(self) -> int:
        """Convolutions that see the frame itself, before the first block."""
        stem = self.cnn.get_submodule(self.stages[0].modules[0])
        return sum(isinstance(module, nn.Conv2d) for module in stem.modules())

    @property
    def shift(self) -> Direction | None:
        """Direction of the temporal shift, None without one."""
        return self._shift.direction if self._shift else None

    @property
    def shifted_channels(self) -> dict[str, int]:
        """Input channels of each convolution that a shift stands before, by the CNN's name; empty without a shift."""
        names = self._shift.names if self._shift else ()
        return {name: self.cnn.get_submodule(name).in_channels for name in names}

    @property
    def is_causal(self) -> bool:
        """Whether no frame's logits depend on later frames."""
        return self.shift in (None, "causal")

    def forward(self, clip_BTCHW: Tensor) -> Tensor:
        """Class scores of whole clips, BK."""
        return self.answer(self.forward_frames(clip_BTCHW))

    def answer(self, logits_BTK: Tensor) -> Tensor:
        """The scores of a clip from those of its frames, BK: the mean of all, or of the last `readout_frames`."""
        first = 0 if self.readout_frames is None else -self.readout_frames
        return logits_BTK[:, first:].mean(dim=1)

    def forward_frames(self, clip_BTCHW: Tensor) -> Tensor:
        """Class scores of every frame, BTK; in a causal model each knows the frames up to its own."""
        return self.forward_head(self.forward_features(clip_BTCHW))

    def forward_features(self, clip_BTCHW: Tensor) -> Tensor:
        """The last feature map of every frame, BTCHW.

        For inference a causal model goes through long clips in parts, so that what is held does not grow with them.

        Raises:
            ModelError: the clip is not B x T x 3 x H x W with at least one frame, of bytes or floats.
        """
        _check_clip(clip_BTCHW)
        whole = torch.is_grad_enabled() or self.training or not self.is_causal
        state, features = None, []
        for part_BTCHW in [clip_BTCHW] if whole else clip_BTCHW.split(PART_FRAMES, dim=1):
            features_BTCHW, state = self.advance(part_BTCHW, state)
            features.append(features_BTCHW)
        return torch.cat(features, dim=1) if len(features) > 1 else features[0]

    def init_state(self, batch_size: int, height: int, width: int) -> StreamState:
        """The state of `batch_size` streams of frames of this size before their first frame: zeros.

        Raises:
            ModelError: a number is under 1, or the model cannot stream.
        """
        if batch_size < 1:
            raise ModelError(f"a state for {batch_size} streams; it must be at least 1")
        device = next(self.parameters()).device
        return self.outline_state(height, width).map(
            lambda t: torch.zeros(batch_size, *t.shape[1:], dtype=t.dtype, device=device)
        )

    def outline_state(self, height: int, width: int) -> StreamState:
        """The names, types and shapes of a state, on torch's meta device; its number of streams says nothing.

        Raises:
            ModelError: a number is under 1, or the model cannot stream.
        """
        if min(height, width) < 1:
            raise ModelError(f"a state for frames of {width}x{height} pixels; both must be at least 1")
        self._require_causal()
        plain = partial(Recognizer.advance, self)  # a compiler has nothing to win on a run without numbers
        try:
            return StreamState.outline_for(self, plain, height=height, width=width)
        except RuntimeError as error:
            raise ModelError(f"{self.name} cannot see frames of {width}x{height} pixels: {error}") from error

    def check_state(self, state: StreamState, *, batch_size: int, height: int, width: int) -> None:
        """Makes sure that a state is of this model, and of so many streams of frames of this size.

        Raises:
            ModelError: it is not.
        """
        if (state.batch_size, state.height, state.width) != (batch_size, height, width):
            raise ModelError(
                f"the state is of {state.batch_size} streams of {state.width}x{state.height} pixels, but the frames "
                f"are of {batch_size} of {width}x{height}; make one with init_state({batch_size}, {height}, {width})"
            )
        channels: dict[str, tuple[int, ...]] = {
            key: (block.past_channels, block.cell_channels) for key, block in self.memory.items()
        }
        channels |= {name: (number // SHIFTED_FRACTION,) for name, number in self.shifted_channels.items()}
        if self.frame_differences:
            channels[FRAME] = (3,)
        if state.channels != channels:
            raise ModelError(f"the state is of another model than {self.name}; make one with its init_state")

    def step(self, frames: Tensor, state: StreamState | None = None) -> tuple[Tensor, StreamState]:
        """Advances streams by one frame, or by a chunk of frames; the same numbers as `forward_frames`.

        Nothing is kept in the model and `state` is not changed, so a state can be kept, copied and continued in
        several ways. It is the same computation as for whole clips, in eval mode to the rounding of float32.

        Args:
            frames: one frame of each stream (BCHW), or as many of each (BTCHW).
            state: where the streams stand; None before the first frame.

        Returns:
            The class scores after each frame (BK, or BTK for a chunk), and the state after the last.

        Raises:
            ModelError: the model cannot stream, or the state is of another model, number of streams or size.
        """
        self._require_causal()
        one_frame = frames.ndim == 4
        clip_BTCHW = frames.unsqueeze(1) if one_frame else frames
        _check_clip(clip_BTCHW)
        if state is not None:
            B, _, _, H, W = clip_BTCHW.shape
            self.check_state(state, batch_size=B, height=H, width=W)
        features_BTCHW, state = self.advance(clip_BTCHW, state)
        logits_BTK = self.forward_head(features_BTCHW)
        return (logits_BTK[:, 0] if one_frame else logits_BTK), state

    def advance(self, clip_BTCHW: Tensor, state: StreamState | None) -> tuple[Tensor, StreamState]:
        """Runs all stages over a clip that goes on from a state; returns the last feature map and the new state.

        Clips and steps both run through it and check what they are given before, so it is what a compiler is given.
        """
        B, T, _, H, W = clip_BTCHW.shape
        past: Mapping[str, Tensor] = {} if state is None else state.shifted
        memory: dict[str, MemoryState] = {}
        shifted: dict[str, Tensor] = {}
        x_BTCHW = clip_BTCHW
        if clip_BTCHW.dtype == torch.uint8:
            x_BTCHW = normalize_frames(clip_BTCHW, self._mean_C, self._std_C)
        if self.frame_differences:
            shifted[FRAME] = x_BTCHW[:, -1]
            x_BTCHW = with_differences(x_BTCHW, None if state is None else (past[FRAME], state.num_frames_B))
        for number, stage in enumerate(self.stages):
            # What the last stage keeps is needed at once, when all else is still to be computed again.
            again = self._grad_checkpointing and torch.is_grad_enabled() and stage is not self.stages[-1]
            x_BTCHW, left = self.run_stage(stage.modules, x_BTCHW, past, again=again)
            shifted.update(left)
            if (key := str(number)) in self.memory:
                block, before = self.memory[key], None if state is None else state.memory[key]
                run = partial(recompute, block, modules=[block], cut=True) if again else block
                x_BTCHW, memory[key] = run(x_BTCHW, before)
        x_BTCHW, left = self.run_stage(self.tail, x_BTCHW, past)
        seen_B = torch.full((B,), T, dtype=torch.int64, device=clip_BTCHW.device)
        num_frames_B = seen_B if state is None else state.num_frames_B + seen_B
        return x_BTCHW, StreamState(memory, {**shifted, **left}, num_frames_B, height=H, width=W)

    def _require_causal(self) -> None:
        if not self.is_causal:
            raise ModelError(
                f"{self.name} cannot stream: its bidirectional shift looks one frame ahead; train the causal one, "
                f"`lsn train stream model.name={self.name}`, or any recipe with model.shift=causal"
            )

    def forward_head(self, features_BTCHW: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool, dropout and classifier on every frame, BTK; `pre_logits` stops before the classifier."""
        x_NC = self.cnn.forward_head(features_BTCHW.flatten(0, 1), pre_logits=pre_logits)
        return x_NC.unflatten(0, features_BTCHW.shape[:2])

    def run_stage(
        self,
        modules: Sequence[str],
        x_BTCHW: Tensor,
        past: Mapping[str, Tensor] | None = None,
        *,
        again: bool = False,
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Runs modules of the CNN on every frame.

        Args:
            modules: their names.
            x_BTCHW: what goes into the first.
            past: what the frame before the clip left for the shifts; see `ShiftCall`.
            again: compute activations again in the backward pass instead of keeping them.

        Returns:
            What comes out of the last, and what the last frame leaves for the shifts.
        """
        if not again:
            return self._run(modules, x_BTCHW, past or {})
        left: dict[str, Tensor] = {}
        for names in self._runs_to_recompute(modules):
            parts = [self.cnn.get_submodule(name) for name in names]
            x_BTCHW, left_by_run = recompute(partial(self._run, names), x_BTCHW, past or {}, parts, cut=self.is_causal)
            left |= left_by_run
        return x_BTCHW, left

    def _runs_to_recompute(self, modules: Sequence[str]) -> Iterator[list[str]]:
        """Names of modules that are computed again together: by block, or all that can be cut in time.

        The latter hold the activations of a few frames only, and keep nothing between the blocks.
        """

        def may_cut(block: list[str]) -> bool:
            return self.is_causal and not norms_in_training(self.cnn.get_submodule(name) for name in block)

        for together, group in groupby(cut_blocks(self.cnn, modules), key=may_cut):
            blocks = list(group)
            yield from [list(chain.from_iterable(blocks))] if together else blocks

    def _run(
        self, modules: Sequence[str], x_BTCHW: Tensor, past: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        call = ShiftCall(x_BTCHW.shape[1], past)
        if self._shift is not None:  # set here, so that a recomputation in the backward pass finds it too
            self._shift.call = call
        y_NCHW = run_modules(self.cnn, tuple(modules), x_BTCHW.flatten(0, 1))
        return y_NCHW.unflatten(0, (-1, call.num_frames)), call.left

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
        """Computes activations again in the backward pass instead of keeping them, up to the last stage."""
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


def _check_clip(clip_BTCHW: Tensor) -> None:
    if clip_BTCHW.ndim != 5 or clip_BTCHW.shape[2] != 3 or 0 in clip_BTCHW.shape[1:]:
        raise ModelError(f"expected clips of shape B x T x 3 x H x W, got {tuple(clip_BTCHW.shape)}")
    if clip_BTCHW.dtype != torch.uint8 and not clip_BTCHW.is_floating_point():
        raise ModelError(f"expected frames of uint8 RGB, or of normalised floats, got {clip_BTCHW.dtype}")


def _under_cnn(pattern: str) -> str:
    """timm's pattern for the names of the CNN, matched below `cnn.`."""
    return rf"^cnn\.(?:{pattern.replace('^', '')})"


def _number(stage: Stage) -> int:
    """The number in the stage's name, by which timm orders its blocks; one without (`final_conv`) comes last."""
    return int((re.findall(r"\d+", stage.name) or [99999])[-1])
