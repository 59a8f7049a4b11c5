"""The runtimes by name."""

from __future__ import annotations

from typing import Literal

RuntimeName = Literal["pytorch", "compiled", "onnx", "openvino"]
"""PyTorch as it is, through its compiler, or what `lsn export` wrote under ONNX Runtime or OpenVINO."""
