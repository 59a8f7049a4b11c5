"""The runtimes, and in how many bits they compute, by name."""

from __future__ import annotations

from typing import Literal

RuntimeName = Literal["pytorch", "compiled", "onnx", "openvino"]
"""PyTorch as it is, through its compiler, or what `lsn export` wrote under ONNX Runtime or OpenVINO."""
PYTORCH = ("pytorch", "compiled")
"""Those that run weights; the others run exports."""
Precision = Literal["fp32", "fp16", "int8"]
"""Of exported weights; int8 also of most activations."""
