"""Traced graphs in the formats of other libraries, each with the names of its inputs and outputs."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lsn.errors import ModelError
from lsn.export.trace import Traceable
from lsn.inference.runtimes.description import StateTensor
from lsn.inference.runtimes.graph import import_library
from lsn.inference.runtimes.names import Precision

ONNX_OPSET = 18


def write_onnx(graph: Traceable, path: Path) -> None:
    """Writes an ONNX file.

    Raises:
        ConfigError: onnx or onnxscript is not installed.
        ModelError: the network has an operator that ONNX lacks.
    """
    onnx = import_library("onnx")
    import_library("onnxscript")
    with _speaking_for("ONNX"):
        program = torch.onnx.export(
            graph.program(),
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=ONNX_OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.functions):
        del part.metadata_props[:]  # where in this machine's files each operator comes from
    with _speaking_for("ONNX"):
        onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def write_openvino(graph: Traceable, path: Path) -> None:
    """Writes OpenVINO's .xml, and .bin beside it.

    Raises:
        ConfigError: openvino, onnx or onnxscript is not installed.
        ModelError: the network has an operator that one of them lacks.
    """
    openvino = import_library("openvino")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "graph.onnx")
        write_onnx(graph, file)
        with _speaking_for("OpenVINO"):
            openvino.save_model(openvino.Core().read_model(str(file)), str(path), compress_to_fp16=False)


def write_stateful_openvino(
    step: Path, path: Path, states: tuple[StateTensor, ...], *, precision: Precision = "fp32"
) -> None:
    """Writes a step as OpenVINO's graph of one stream that keeps the states itself (ReadValue and Assign)."""
    openvino, passes = import_library("openvino"), import_library("openvino.passes")
    with _speaking_for("OpenVINO"):
        model = openvino.Core().read_model(str(step))
        model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
        manager = passes.Manager()
        manager.register_pass(passes.MakeStateful({state.input: state.output for state in states}))
        manager.run_passes(model)
        for node in model.get_ops():
            is_float_state = node.get_type_name() == "ReadValue" and node.output(0).element_type == openvino.Type.f32
            if is_float_state and precision == "int8":  # zeros are the default, but the passes for int8 ask for them
                shape = [side.get_length() for side in node.output(0).partial_shape]
                node.set_arguments([openvino.opset13.constant(np.zeros(shape, np.float32))])
        model.validate_nodes_and_infer_types()
        openvino.save_model(model, str(path), compress_to_fp16=precision == "fp16")


def write_torch(graph: Traceable, path: Path) -> None:
    """Writes a program of torch.export that takes and gives tensors by name."""
    with _speaking_for("torch.export"):
        program = graph.named_program()
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # where in this machine's files it comes from
        torch.export.save(program, str(path))


@contextlib.contextmanager
def _speaking_for(format: str) -> Iterator[None]:
    """Turns what an exporter raises into one error, and keeps it from speaking of its progress and plans.

    Raises:
        ModelError: the format cannot hold the network.
    """
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # they raise what they like
        reason = " ".join(str(error).split())[-300:] or type(error).__name__
        raise ModelError(f"{format} cannot hold this network ({reason}); use another format") from error
    finally:
        logger.setLevel(before)
