"""Graphs of fewer bits: weights in float16, or weights and activations in int8, calibrated on clips.

Shapes: T frames, C = 3 channels, H height, W width.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lsn.errors import ModelError
from lsn.export.operators import Operators
from lsn.inference.runtimes.description import ExportDescription, StateTensor
from lsn.inference.runtimes.graph import CLIP, FRAMES, LOGITS, GraphRuntime, import_library

MAX_SAMPLES = 256
"""Steps that the ranges of activations are taken from."""
FEW_NUMBERS = 16
"""Tensors of fewer are left in float32, as halving them saves nothing."""


def halve(path: Path) -> None:
    """Stores the weights of a graph in float16; what computes with them takes them as float32."""
    if path.suffix == ".xml":
        openvino = import_library("openvino")
        _replace(path, openvino.Core().read_model(str(path)), compress_to_fp16=True)
        return
    onnx = import_library("onnx")
    model = onnx.load(str(path))
    casts = []
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size >= FEW_NUMBERS and np.abs(array).max() < np.finfo(np.float16).max:
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float16), f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    for number, cast in enumerate(casts):
        model.graph.node.insert(number, cast)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def quantize(runtime: GraphRuntime, clips: Sequence[np.ndarray], *, num_stem_convolutions: int) -> None:
    """Turns the step and the clip of an export into int8, in place.

    The first convolutions, all before them and the classifier stay as they are: frames, their differences and logits
    need more than 256 values. So does the recurrence but for its convolutions: errors would add up, and what
    OpenVINO makes of a state in int8 does not leave the graph with its scale.

    Args:
        runtime: runs the graphs in float32.
        clips: uint8 TCHW as the network sees them, of the model's number of frames, like those that it will see; one
            or more.
        num_stem_convolutions: that stay as they are.

    Raises:
        ConfigError: NNCF is not installed.
        ModelError: NNCF cannot quantise the network.
    """
    about = runtime.description
    whole = [{CLIP: clip[None]} for clip in clips]
    _quantize(runtime.folder / about.clip.file, whole, (), num_stem_convolutions)
    if about.step is not None:
        stride = -(-sum(map(len, clips)) // MAX_SAMPLES)
        steps = [inputs for number, inputs in enumerate(_steps(runtime, about, clips)) if number % stride == 0]
        _quantize(runtime.folder / about.step.file, steps, about.states, num_stem_convolutions)


def _steps(
    runtime: GraphRuntime, about: ExportDescription, clips: Sequence[np.ndarray]
) -> Iterator[dict[str, np.ndarray]]:
    """What goes into the step at each frame of the clips."""
    assert about.step is not None
    outputs = [LOGITS, *(state.output for state in about.states)]
    for clip_TCHW in clips:
        states = {state.input: np.zeros((1, *state.shape), state.dtype) for state in about.states}
        for frame_CHW in clip_TCHW:
            inputs = {FRAMES: frame_CHW[None], **states}
            yield inputs
            _, *after = runtime.run(about.step.file, inputs, outputs)
            states = dict(zip(states, after, strict=True))


def _quantize(
    path: Path,
    samples: Sequence[Mapping[str, np.ndarray]],
    states: Sequence[StateTensor],
    num_stem_convolutions: int,
) -> None:
    with _quiet():
        nncf, parameters = import_library("nncf"), import_library("nncf.quantization.advanced_parameters")
        ranges = import_library("nncf.quantization.range_estimator").RangeEstimatorParametersSet
        nncf.set_log_level(logging.ERROR)
        is_openvino = path.suffix == ".xml"
        if is_openvino:
            model = import_library("openvino").Core().read_model(str(path))
            operators = Operators.of_openvino(model)
        else:
            model = import_library("onnx").load(str(path))
            operators = Operators.of_onnx(model)
        try:
            quantized = nncf.quantize(
                model,
                nncf.Dataset(samples),
                subset_size=len(samples),
                preset=nncf.QuantizationPreset.MIXED,
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    # One scale for all channels of an activation, as ONNX Runtime has no other.
                    activations_quantization_params=parameters.QuantizationParameters(per_channel=False),
                    # The largest value of all samples: the mean of each one's largest, NNCF's default, cuts off what
                    # single frames have more of, which costs ten times the error.
                    activations_range_estimator_params=ranges.MINMAX,
                ),
                ignored_scope=nncf.IgnoredScope(names=_sensitive(operators, states, num_stem_convolutions)),
            )
        except Exception as error:  # it raises what it likes
            reason = " ".join(str(error).split())[-300:] or type(error).__name__
            raise ModelError(f"NNCF cannot quantise {path.name} ({reason}); use --precision fp16 or fp32") from error
    if is_openvino:
        _replace(path, quantized, compress_to_fp16=False)
    else:
        path.write_bytes(quantized.SerializeToString())


def _sensitive(operators: Operators, states: Sequence[StateTensor], num_stem_convolutions: int) -> list[str]:
    """What keeps its bits, by name."""
    kept = operators.stem(FRAMES if states else CLIP, num_stem_convolutions) | {operators.last_product(LOGITS)}
    for state in states:
        kept |= operators.without_convolutions(operators.loop(state.input, state.output))
    return sorted(kept)


def _replace(path: Path, model: Any, *, compress_to_fp16: bool) -> None:
    """Writes an .xml and a .bin over those that the model was read from, which it may still map."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder, path.name)
        import_library("openvino").save_model(model, str(fresh), compress_to_fp16=compress_to_fp16)
        for suffix in (".xml", ".bin"):
            fresh.with_suffix(suffix).replace(path.with_suffix(suffix))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps NNCF's progress and tables from the output of commands."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
