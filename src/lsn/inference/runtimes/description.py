"""What `lsn export` says of the graphs beside it, in `export.json`: all that is needed to feed and to read them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lsn.config import EvaluationConfig, EventRules, FrameRates, InputConfig, to_mapping
from lsn.config.json_files import JsonFormat, checked
from lsn.errors import WeightsError, shown
from lsn.files import write_text
from lsn.inference.runtimes.names import Precision
from lsn.tensor_file import TensorKind

DESCRIPTION_NAME = "export.json"
EXPORT_FORMAT = JsonFormat(
    "lsn-export", 1, "the description of an export", "export again from the weights", "export again from the weights"
)
Target = Literal["onnx", "openvino", "torch"]
"""Whose graphs: ONNX, OpenVINO's own format, or programs of torch.export."""
SUFFIXES: dict[Target, str] = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
STATE_TYPES = ("float32", "int64")
MAX_DIMENSION = 1 << 16
"""Channels, height or width of a state."""


@dataclass(frozen=True)
class StateTensor:
    """One tensor of the state of a stream, zeros before the first frame."""

    name: str
    """As snapshots call it."""
    input: str
    """Of the step."""
    output: str
    """Of the step; what the next one gets as `input`."""
    shape: tuple[int, ...]
    """Without the first dimension, which is the streams of the batch."""
    dtype: str
    meaning: str
    """For people."""

    def __post_init__(self) -> None:
        fits = len(self.shape) <= 3 and all(0 <= side <= MAX_DIMENSION for side in self.shape)
        if self.dtype not in STATE_TYPES or not fits:
            raise WeightsError(f"a state of {shown(self.dtype)} {shown(list(self.shape))}; no network has one")


@dataclass(frozen=True)
class Graph:
    """A file of a graph; those of OpenVINO have one beside them with the same name and the ending .bin."""

    file: str
    sha256: str
    """Of the file, and of that beside it."""

    def __post_init__(self) -> None:
        if Path(self.file).name != self.file or Path(self.file).suffix not in SUFFIXES.values():
            raise WeightsError(f"{shown(self.file)} is not the name of a graph in the folder of the description")


@dataclass(frozen=True)
class ProofLine:
    """One comparison with the network in PyTorch, made when the graphs were written."""

    check: str
    difference: float
    """The largest of the logits, relative to the largest logit."""
    limit: float

    @property
    def passed(self) -> bool:
        """Whether it is small enough; what is no number is not."""
        return self.difference <= self.limit


@dataclass(frozen=True)
class Accuracy:
    """How good the network was in PyTorch, and how good its graphs are."""

    metric: str
    """Such as `top-1`, 0..1."""
    data: str
    """What it was measured on."""
    before: float
    after: float


@dataclass(frozen=True)
class ExportDescription:
    """The content of `export.json`."""

    target: Target
    name: str
    """Of the model, such as `lsn_resnet50`."""
    fingerprint: str
    """Hash of the weights; snapshots resume under the same weights alone."""
    weights_sha256: str
    """Of the file `model.safetensors` that they are in."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of the logits."""
    input: InputConfig
    """How frames are chosen, resized and cropped. The graphs take uint8 RGB and normalise it themselves."""
    num_frames: int
    """Frames of the clips that the model was trained on; the clip graph takes so many."""
    readout_frames: int | None
    """Last frames of a clip that its answer is the mean of; null for all."""
    multi_label: bool
    """Whether each label has a yes or no of its own: a sigmoid instead of a softmax."""
    frame_rates: FrameRates | None
    """Rates of the training clips, in frames per second."""
    events: EventRules | None
    """When the answers on a stream are an event, as it was fitted."""
    validation_threshold: float | None
    """Where no rules were fitted: the probability that most right answers of the validation reach; null if unknown."""
    evaluation: EvaluationConfig
    """Views of a video, as the run validated."""
    clip: Graph
    """`clip` uint8 (batch, num_frames, 3, size, size) -> `logits` float32 (batch, num_frames, classes)."""
    step: Graph | None
    """`frames` uint8 (batch, 3, size, size) and the states -> `logits` float32 (batch, classes) and the states."""
    stateful_step: Graph | None
    """The same for one stream, with the state inside (OpenVINO)."""
    states: tuple[StateTensor, ...]
    precision: Precision = "fp32"
    """States and logits are float32 in all."""
    accuracy: Accuracy | None = None
    """Null if nobody measured it."""
    proof: tuple[ProofLine, ...] = ()
    made_with: tuple[str, ...] = ()
    """Libraries with their versions."""

    def __post_init__(self) -> None:
        names = [name for state in self.states for name in (state.name, state.input, state.output)]
        if len(set(names)) < len(names):
            raise WeightsError("two states have one name")
        if self.step is not None and self.state_kinds.get("num_frames") != TensorKind("int64", (1,)):
            raise WeightsError("its states do not count the frames (num_frames)")

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.labels)

    @property
    def is_causal(self) -> bool:
        """Whether no frame knows those after it, so that the model can stream."""
        return self.step is not None

    @property
    def state_kinds(self) -> dict[str, TensorKind]:
        """Type and shape of each tensor of the state of one stream, with a first dimension of 1."""
        return {state.name: TensorKind(state.dtype, (1, *state.shape)) for state in self.states}


def write_description(folder: Path, description: ExportDescription) -> None:
    """Writes `export.json`, which appears whole or not at all."""
    content = EXPORT_FORMAT.header() | to_mapping(description)
    write_text(folder / DESCRIPTION_NAME, json.dumps(content, indent=2) + "\n")


def read_description(folder: str | Path) -> ExportDescription:
    """Reads what `lsn export` says of its graphs.

    Raises:
        WeightsError: there is no export, or its description is damaged or of another version.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION_NAME
    if not path.is_file():
        raise WeightsError(f"{folder}: holds no export; write one with: lsn export WEIGHTS --to onnx --out {folder}")
    return checked(ExportDescription, EXPORT_FORMAT.read(path), path)


def check_graphs(folder: Path, description: ExportDescription) -> None:
    """Makes sure that the graphs of an export are those that were written.

    Raises:
        WeightsError: one is missing or another one.
    """
    for graph in (description.clip, description.step, description.stateful_step):
        if graph is not None and graph != describe_graph(folder / graph.file):
            raise WeightsError(
                f"{folder / graph.file}: not the graph that the export wrote (its hash differs); export again"
            )


def describe_graph(path: Path) -> Graph:
    """Name and hash of a graph.

    Raises:
        WeightsError: there is no such file.
    """
    parts = (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,)
    return Graph(path.name, hash_of_files(*parts))


def hash_of_files(*paths: Path) -> str:
    """SHA-256 of files one after the other.

    Raises:
        WeightsError: one is missing.
    """
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise WeightsError(f"{path}: is missing; copy the whole folder, or export again")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
