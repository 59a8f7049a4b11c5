"""The network through PyTorch's compiler: the same numbers to rounding, with fewer passes over memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch._inductor.config
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from lsn.errors import ModelError
from lsn.models.recognizer import Recognizer
from lsn.models.state import StreamState

MAX_VARIANTS = 64
"""Compiled variants that a process may hold: of models, in training and for inference, by shape. PyTorch allows 8."""

_LARGEST_DIFFERENCE = 1e-3  # relative to the largest value of a map; rounding is far below


def compile_model(model: Recognizer, *, frozen: bool = False) -> None:
    """Makes a model run compiled, as clip and as stream, in training and for inference.

    It compiles when it is called, which takes seconds to minutes: for one clip or stream and for any number above, for
    one frame and for more, for each size of frames, and in each mode. Copies of the model run compiled too. The first
    answer for each shape of clips is compared with the network as it is, but not in training.

    Args:
        model: is changed in place; its weights and state dict stay as they are.
        frozen: take the weights for constants in calls without gradients. It gains most on a CPU, where convolutions
            get their weights in the layout that they like best; but what is done to the weights later has no effect,
            so it is for models whose training is over.

    Raises (at the first call):
        ModelError: this machine has no compiler, or it fails, or what it makes is wrong.
    """
    compiled = torch.compile(Recognizer.advance, fullgraph=True)
    model.advance = _CompiledAdvance(model, compiled, frozen)  # type: ignore[method-assign]


@dataclass
class _CompiledAdvance:
    """`Recognizer.advance` of one model, compiled. A deep copy of the model copies this with it, for the copy."""

    model: Recognizer
    compiled: Callable[[Recognizer, Tensor, StreamState | None], tuple[Tensor, StreamState]]
    frozen: bool
    checked: set[tuple[torch.Size, bool]] = field(default_factory=set)
    """What was run without the compiler too, for inference: shapes, with and without a state."""

    def __call__(self, clip_BTCHW: Tensor, state: StreamState | None) -> tuple[Tensor, StreamState]:
        # One graph for all batch sizes above 1, for inference for all lengths above 1 too. Left to itself the compiler
        # finds that by trial, and takes what differs between two models for something that varies as well.
        carried = () if state is None else state.tensors().values()
        lengths = range(1 if torch.is_grad_enabled() else 2)
        for tensor, dims in ((clip_BTCHW, lengths), *((t, range(1)) for t in carried)):
            for dim in dims:
                if tensor.shape[dim] > 1:
                    torch._dynamo.maybe_mark_dynamic(tensor, dim)
        # Set around each call, not by options of torch.compile: those reach the backend, but not the tracing before,
        # which must know already that weights will be constants.
        with (
            torch._inductor.config.patch(freezing=self.frozen),
            torch._dynamo.config.patch(recompile_limit=MAX_VARIANTS, automatic_dynamic_shapes=False),
        ):
            try:
                result = self.compiled(self.model, clip_BTCHW, state)
            except BackendCompilerFailed as error:
                reason = str(error.inner_exception).strip().splitlines()[0]
                raise ModelError(
                    f"{self.model.name} could not be compiled on this machine ({reason}); PyTorch's compiler needs a "
                    "C++ compiler (on Debian: apt install g++ python3-dev); install it, or run without the compiler"
                ) from error
        kind = (clip_BTCHW.shape, state is None)
        if not (self.model.training or torch.is_grad_enabled() or kind in self.checked):
            self._check(result, Recognizer.advance(self.model, clip_BTCHW, state))
            self.checked.add(kind)
        return result

    def _check(self, result: tuple[Tensor, StreamState], expected: tuple[Tensor, StreamState]) -> None:
        pairs = zip(_tensors(*result), _tensors(*expected), strict=True)
        if not all((got - right).abs().max() <= _LARGEST_DIFFERENCE * right.abs().max() for got, right in pairs):
            raise ModelError(
                f"PyTorch {torch.__version__} compiles {self.model.name} to something else than it is; run it "
                "without the compiler, and report it with this line"
            )


def _tensors(features_BTCHW: Tensor, state: StreamState) -> list[Tensor]:
    tensors = (features_BTCHW, *state.tensors().values())
    return [tensor.float().nan_to_num(0, 0, 0) for tensor in tensors if tensor.numel()]  # a GRU has no cell
