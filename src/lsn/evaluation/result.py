"""What an evaluation found, and the files that keep it: `evaluation.json`, `predictions.csv`, `scores.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lsn.config import from_mapping, to_mapping
from lsn.config.json_files import EVALUATION_NAME
from lsn.data import Clip
from lsn.errors import ConfigError, DataError, WeightsError, shown
from lsn.evaluation.anytime import Anytime
from lsn.evaluation.metrics import Metrics, compute_metrics, confusion_matrix, rank_classes, risk_coverage_area
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.temperature import helpful_temperature
from lsn.files import csv_rows, read_text, write_csv, write_text
from lsn.parsing import parse_json, to_json
from lsn.tensor_file import open_tensors, write_tensors

ROWS_NAME, SCORES_NAME = "predictions.csv", "scores.safetensors"
# Written with the protocol, but no part of it: the line for people, and what older versions wrote too.
_NO_FIELDS = ("description", "mean", "std")

# What says which part of a file was seen, by the names that manifests use; an empty cell is None.
_WINDOW_COLUMNS: dict[str, Callable[[str], Any]] = {
    "start_seconds": float,
    "end_seconds": float,
    "first_frame": int,
    "last_frame": int,
    "frame_pattern": str,
    "num_frames": int,
}
_COLUMNS = ("path", "label", "predicted", "confidence", "label_probability", "correct", "top5", *_WINDOW_COLUMNS)
_SCORES = "scores"
_GROUP = "group"
"""A column that evaluations of older versions lack."""


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """What was predicted for one video."""

    clip: Clip
    """The video, or the part of one; `lsn.data.open_clip` opens it."""
    predicted: str
    """The likeliest label."""
    confidence: float
    """Its probability."""
    label_probability: float
    """The probability of the true label."""
    top5: tuple[str, ...]
    """The five likeliest labels (all, if there are fewer), the likeliest first."""

    @property
    def path(self) -> str:
        """File or folder of the video."""
        return self.clip.path

    @property
    def label(self) -> str:
        """The true label."""
        return self.clip.label

    @property
    def correct(self) -> bool:
        """Whether the likeliest label is the true one."""
        return self.predicted == self.clip.label


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What `evaluate` found."""

    source: str
    """File or folder that the videos were listed in; empty if unknown."""
    protocol: EvaluationProtocol
    """What was seen of each video."""
    labels: tuple[str, ...]
    """Names of the K classes in label order."""
    metrics: Metrics
    """The figures."""
    confusion: Tensor
    """Counts of videos, int64 (K, K): row the true class, column the predicted one."""
    rows: tuple[PredictionRow, ...]
    """One for each video that could be read, in the order of the manifest."""
    unreadable: tuple[tuple[str, str], ...]
    """Path and error of each video that could not."""
    scores_NK: Tensor | None = None
    """float32, of the rows: mean logits over the views, or log-probabilities (`EvaluationProtocol.scores`); None if
    an older version wrote the evaluation."""
    anytime: Anytime | None = None
    """How soon the model knew, where that was asked for."""

    @property
    def risk_coverage_area(self) -> float:
        """Area under the risk-coverage curve, see `lsn.evaluation.metrics`; smaller is better."""
        confidences_N = torch.tensor([row.confidence for row in self.rows])
        return risk_coverage_area(confidences_N, torch.tensor([row.correct for row in self.rows]))

    def helpful_temperature(self) -> float:
        """The temperature that makes these probabilities right, see `lsn.evaluation.temperature`.

        It is 1 without scores, and where they are means of the probabilities of several views: no temperature of a
        network amounts to one of those.
        """
        if self.scores_NK is None or (self.protocol.average == "probabilities" and self.protocol.num_views > 1):
            return 1.0
        labels_N = torch.tensor([self.labels.index(row.label) for row in self.rows])
        return helpful_temperature(self.scores_NK, labels_N, [row.clip.group or row.path for row in self.rows])

    def at_temperature(self, temperature: float) -> EvaluationResult:
        """The result with all scores divided by a temperature; how soon the model knew is left out."""
        if self.scores_NK is None or temperature == 1:
            return self
        return result_of_scores(
            [row.clip for row in self.rows],
            self.scores_NK / temperature,
            source=self.source,
            protocol=self.protocol,
            labels=self.labels,
            unreadable=self.unreadable,
        )

    def save(self, folder: str | Path) -> None:
        """Writes `evaluation.json`, `predictions.csv` and `scores.safetensors`; each appears whole or not at all."""
        folder = Path(folder)
        if self.scores_NK is not None:
            write_tensors(folder / SCORES_NAME, {_SCORES: self.scores_NK.float()})
        write_csv(folder / ROWS_NAME, [(*_COLUMNS, _GROUP), *map(_to_cells, self.rows)])
        summary = {
            "source": self.source,
            "protocol": {**to_mapping(self.protocol), "description": self.protocol.describe()},
            "labels": list(self.labels),
            "metrics": asdict(self.metrics),
            "confusion": self.confusion.tolist(),
            "unreadable": [{"path": path, "error": error} for path, error in self.unreadable],
        }
        if self.anytime is not None:
            summary["anytime"] = asdict(self.anytime)
        write_text(folder / EVALUATION_NAME, json.dumps(summary) + "\n")


def result_of_scores(
    clips: Sequence[Clip],
    scores_NK: Tensor,
    *,
    source: str,
    protocol: EvaluationProtocol,
    labels: tuple[str, ...],
    unreadable: tuple[tuple[str, str], ...] = (),
    anytime: Anytime | None = None,
) -> EvaluationResult:
    """The result that the scores of videos amount to.

    Args:
        clips: N videos with their labels.
        scores_NK: as of `EvaluationProtocol.scores`.
        source: as of the result, like the rest.
        protocol: likewise.
        labels: likewise.
        unreadable: likewise.
        anytime: likewise.
    """
    log_probabilities_NK, ranked_NK = scores_NK.log_softmax(dim=1), rank_classes(scores_NK)
    index_of_label = {label: index for index, label in enumerate(labels)}
    labels_N = torch.tensor([index_of_label[clip.label] for clip in clips])
    return EvaluationResult(
        source=source,
        protocol=protocol,
        labels=labels,
        metrics=compute_metrics(log_probabilities_NK, labels_N, class_names=labels),
        confusion=confusion_matrix(ranked_NK[:, 0], labels_N, num_classes=len(labels)),
        rows=_rows(clips, labels_N, ranked_NK, log_probabilities_NK.exp(), labels),
        unreadable=unreadable,
        scores_NK=scores_NK,
        anytime=anytime,
    )


def _rows(
    clips: Sequence[Clip], labels_N: Tensor, ranked_NK: Tensor, probabilities_NK: Tensor, names: Sequence[str]
) -> tuple[PredictionRow, ...]:
    rows = []
    for number, clip in enumerate(clips):
        ranked, probabilities_K = ranked_NK[number, :5].tolist(), probabilities_NK[number]
        rows.append(
            PredictionRow(
                clip=clip,
                predicted=names[ranked[0]],
                confidence=float(probabilities_K[ranked[0]]),
                label_probability=float(probabilities_K[labels_N[number]]),
                top5=tuple(names[index] for index in ranked),
            )
        )
    return tuple(rows)


def load_evaluation(folder: str | Path) -> EvaluationResult:
    """Reads what `EvaluationResult.save` wrote; probabilities come back with six digits.

    Raises:
        DataError: a file is missing or damaged.
    """
    folder = Path(folder)
    path = folder / EVALUATION_NAME
    try:
        summary = parse_json(_read(path))
        protocol = {name: value for name, value in summary["protocol"].items() if name not in _NO_FIELDS}
        labels = _names(summary["labels"])
        anytime = summary.get("anytime")
        rows = _read_rows(path := folder / ROWS_NAME)  # errors name the path
        scores_NK = _read_scores(path := folder / SCORES_NAME, (len(rows), len(labels)))
        path = folder / EVALUATION_NAME
        result = EvaluationResult(
            source=summary.get("source", ""),
            protocol=from_mapping(EvaluationProtocol, protocol, where=f"{path}: protocol"),
            labels=labels,
            metrics=from_mapping(Metrics, summary["metrics"], where=f"{path}: metrics"),
            confusion=torch.tensor(summary["confusion"], dtype=torch.int64).view(len(labels), len(labels)),
            unreadable=tuple((entry["path"], entry["error"]) for entry in summary["unreadable"]),
            anytime=None if anytime is None else from_mapping(Anytime, anytime, where=f"{path}: anytime"),
            rows=rows,
            scores_NK=scores_NK,
        )
    except (
        ArithmeticError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
        ConfigError,
        WeightsError,
    ) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"{path}: not a whole evaluation ({reason}); evaluate again") from error
    return result


def _read_rows(path: Path) -> tuple[PredictionRow, ...]:
    columns, *rows = (row for _, row in csv_rows(_read(path)))
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise ValueError(f"no {missing[0]!r}")
    return tuple(_from_cells(dict(zip(columns, row, strict=True))) for row in rows)


def _read_scores(path: Path, shape: tuple[int, int]) -> Tensor | None:
    """The scores of an evaluation; None if an older version wrote it."""
    if not path.exists():
        return None
    with open_tensors(path, "scores of an evaluation") as file:
        scores_NK = file.read()[_SCORES]
    if scores_NK.shape != shape or not scores_NK.is_floating_point():
        raise ValueError(f"its tensor is {tuple(scores_NK.shape)} of {scores_NK.dtype}, not {shape}")
    return scores_NK


def _read(path: Path) -> str:
    if not path.exists():
        raise DataError(f"{path}: no such file; `lsn evaluate` writes {EVALUATION_NAME} and {ROWS_NAME}")
    return read_text(path, "file of an evaluation", error=DataError, errors="surrogateescape")


def _names(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"expected a list of names, got {shown(found)}")
    return tuple(found)


def _to_cells(row: PredictionRow) -> list[object]:
    cells = {
        "path": row.path,
        "label": row.label,
        "predicted": row.predicted,
        "confidence": f"{row.confidence:.6g}",
        "label_probability": f"{row.label_probability:.6g}",
        "correct": int(row.correct),
        "top5": to_json(row.top5),
        **{name: getattr(row.clip, name) for name in _WINDOW_COLUMNS},
        _GROUP: row.clip.group,
    }
    return [cells[name] for name in (*_COLUMNS, _GROUP)]


def _from_cells(cells: Mapping[str, str]) -> PredictionRow:
    window: dict[str, Any] = {name: read(cells[name]) for name, read in _WINDOW_COLUMNS.items() if cells[name]}
    return PredictionRow(
        clip=Clip(path=cells["path"], label=cells["label"], group=cells.get(_GROUP, ""), **window),
        predicted=cells["predicted"],
        confidence=float(cells["confidence"]),
        label_probability=float(cells["label_probability"]),
        top5=_names(parse_json(cells["top5"])),
    )
