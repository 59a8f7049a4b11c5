"""A network as graphs with explicit states: one step of its streams, and a whole clip.

Shapes: B streams or clips, T frames, C = 3 channels, H height, W width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lsn.inference.runtimes.description import StateTensor
from lsn.inference.runtimes.graph import CLIP, FRAMES, LOGITS
from lsn.models import Recognizer, StreamState
from lsn.models.memory.plain_recurrence import plain_recurrence

MAX_BATCH = 4096
"""The exporter wants a bound; more streams or clips would not fit into memory."""


@dataclass(frozen=True)
class Traceable:
    """A function from tensors to tensors, to be traced into PyTorch's own operators."""

    graph: nn.Module
    inputs: dict[str, Tensor]
    """Examples by name, in order; the first dimension of all is the batch, of any size."""
    outputs: tuple[str, ...]
    """Names in order."""

    def program(self) -> torch.export.ExportedProgram:
        """With its inputs and outputs in order."""
        return self._traced(self.graph, tuple(self.inputs.values()))

    def named_program(self) -> torch.export.ExportedProgram:
        """From a dictionary of tensors to one."""
        return self._traced(_Named(self), (self.inputs,))

    @torch.no_grad()
    def _traced(self, module: nn.Module, arguments: tuple[Any, ...]) -> torch.export.ExportedProgram:
        module(*arguments)  # what is computed once and kept must be there before the trace
        program = torch.export.export(module, arguments, dynamic_shapes=_any_batch(module, arguments))
        return program.run_decompositions({torch.ops.lsn.recurrence.default: plain_recurrence})


class StepGraph(nn.Module):
    """One frame of each stream and their states -> logits and the states after it."""

    def __init__(self, model: Recognizer, names: tuple[str, ...], *, size: int) -> None:
        super().__init__()
        self.model, self.names, self.size = model, names, size

    def forward(self, frames_BCHW: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Like `Recognizer.step`, with the state's tensors one by one."""
        tensors = dict(zip(self.names, state, strict=True))
        before = StreamState.from_tensors(tensors, height=self.size, width=self.size)
        features_BTCHW, after = self.model.advance(frames_BCHW.unsqueeze(1), before)
        return self.model.forward_head(features_BTCHW)[:, 0], *after.tensors().values()


class ClipGraph(nn.Module):
    """Clips -> logits of every frame."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips_BTCHW: Tensor) -> tuple[Tensor]:
        """Like `Recognizer.forward_frames`."""
        features_BTCHW, _ = self.model.advance(clips_BTCHW, None)
        return (self.model.forward_head(features_BTCHW),)


def step_of(model: Recognizer, *, size: int) -> tuple[Traceable, tuple[StateTensor, ...]]:
    """The step of a causal model for frames of this size, and its states.

    Args:
        model: as `prepare_for_inference` makes it, on the CPU.
        size: side of the frames, in pixels.
    """
    state = model.init_state(2, size, size)
    names = tuple(state.tensors())
    states = tuple(_describe(model, number, name, t) for number, (name, t) in enumerate(state.tensors().items()))
    frames_BCHW = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    inputs = {FRAMES: frames_BCHW, **{about.input: state.tensors()[about.name] for about in states}}
    outputs = (LOGITS, *(about.output for about in states))
    return Traceable(StepGraph(model, names, size=size).eval(), inputs, outputs), states


def clip_of(model: Recognizer, *, size: int) -> Traceable:
    """Clips of the model's own number of frames, of this size; their recurrence is unrolled."""
    clips_BTCHW = torch.zeros(2, model.num_frames, 3, size, size, dtype=torch.uint8)
    return Traceable(ClipGraph(model).eval(), {CLIP: clips_BTCHW}, (LOGITS,))


class _Named(nn.Module):
    """A graph that takes and gives tensors by name."""

    def __init__(self, traceable: Traceable) -> None:
        super().__init__()
        self.network, self.inputs, self.outputs = traceable.graph, tuple(traceable.inputs), traceable.outputs

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = self.network(*(tensors[name] for name in self.inputs))
        return dict(zip(self.outputs, outputs, strict=True))


def _any_batch(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The first dimension of every tensor is the same batch, of any size."""
    batch = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    if isinstance(module, _Named):
        return (dict.fromkeys(arguments[0], batch),)
    return (batch, (batch,) * (len(arguments) - 1)) if isinstance(module, StepGraph) else (batch,)


def _describe(model: Recognizer, number: int, name: str, tensor: Tensor) -> StateTensor:
    kind, _, rest = name.partition(".")
    if kind == "num_frames":
        meaning = "frames that the stream has seen"
    elif kind == "shifted":
        meaning = "the normalised frame before" if rest == "frame" else f"what the frame before left for {rest}"
    else:
        stage, part = rest.split(".")
        behind = model.stages[int(stage)].name
        what = "hidden states" if part.startswith("past") else "cell"
        meaning = f"{what} of the memory behind {behind}"
    return StateTensor(
        name=name,
        input=f"state_{number:02d}_in",
        output=f"state_{number:02d}_out",
        shape=tuple(tensor.shape[1:]),
        dtype=str(tensor.dtype).removeprefix("torch."),
        meaning=meaning,
    )
