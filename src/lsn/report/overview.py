"""The head of a report: the figures that count, and what was run."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import datetime

import torch

import lsn
from lsn.config import RunConfig
from lsn.evaluation.result import EvaluationResult
from lsn.report.html import Content, Markup, count, join, percent, tag, whole_percent
from lsn.report.run import Run


def summary(model_name: str, evaluation: EvaluationResult | None, *, num_videos: int | None = None) -> Markup:
    """The line that stays in sight: name of the network, its figures and how many videos, by default those of it."""
    if evaluation is None:
        figures: Content = "not evaluated yet"
    else:
        metrics = evaluation.metrics
        figures = [
            tag("span", "top-1 ", tag("b", percent(metrics.top1))),
            tag("span", "top-5 ", tag("b", percent(metrics.top5)), class_="minor"),
            tag("span", "videos ", tag("b", f"{metrics.num_videos if num_videos is None else num_videos:,}")),
        ]
    return join([tag("h1", model_name), tag("div", figures, class_="figures")])


def clip_tiles(
    evaluation: EvaluationResult,
    *,
    num_videos: int | None = None,
    top1_remark: str | None = None,
    videos_remark: str | None = None,
) -> list[tuple[str, str, str]]:
    """Name, value and remark of each figure that counts.

    Args:
        evaluation: The figures.
        num_videos: How many videos there are, if some were evaluated more than once.
        top1_remark: What stands below the accuracy; by default its interval.
        videos_remark: What stands below the number of videos; by default how many were unreadable.
    """
    metrics, num_classes, num_unreadable = evaluation.metrics, len(evaluation.labels), len(evaluation.unreadable)
    low, high = wilson_interval(metrics.top1, metrics.num_videos)
    interval = f"95% interval {whole_percent(low)} to {whole_percent(high)}"
    num_seen = num_classes - len(metrics.classes_without_samples)
    over = count(num_classes, "class", "classes")
    if num_seen < num_classes:
        over = f"the {num_seen} of {num_classes} classes that have videos"
    return [
        (
            "Top-1 accuracy",
            percent(metrics.top1),
            top1_remark or interval,
        ),
        ("Top-5 accuracy", percent(metrics.top5), "the true class is among the five best"),
        (
            "Mean class accuracy",
            percent(metrics.mean_class_accuracy),
            f"over {over}; guessing gives {percent(1 / num_classes)}",
        ),
        ("Calibration error", percent(metrics.calibration_error), "between confidence and accuracy"),
        (
            "Videos",
            f"{metrics.num_videos if num_videos is None else num_videos:,}",
            videos_remark or (f"{num_unreadable:,} unreadable and left out" if num_unreadable else "all were readable"),
        ),
    ]


def tile_row(tiles: Sequence[tuple[str, str, str]]) -> Markup:
    """Figures side by side: name, value and remark of each."""
    return tag("div", (_tile(*tile, first=index == 0) for index, tile in enumerate(tiles)), class_="tiles")


def _tile(name: str, value: str, remark: str, *, first: bool) -> Markup:
    parts = (tag("div", name, class_="name"), tag("div", value, class_="value"), tag("small", remark))
    return tag("div", parts, class_="tile first" if first else "tile")


def wilson_interval(share: float, number: int) -> tuple[float, float]:
    """The 95% interval of a share that was measured on so many videos.

    Source:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if number == 0:
        return 0.0, 1.0
    z = 1.96
    middle = share + z * z / (2 * number)
    reach = z * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    scale = 1 + z * z / number
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def what_was_run(run: Run) -> Markup:
    """Model, data, recipe, protocol, versions and dates as a list of facts."""
    entries = (tag("div", tag("dt", name), tag("dd", value)) for name, value in facts(run))
    return tag("div", tag("dl", entries, class_="facts"), class_="card")


def facts(run: Run) -> list[tuple[str, str]]:
    """Name and value of what is known of how weights were trained and evaluated."""
    found = [*_config_facts(run.config), *_evaluation_facts(run), *_time_facts(run), _version_fact(run)]
    return [(name, value) for name, value in found if value]


def _config_facts(config: RunConfig | None) -> list[tuple[str, str]]:
    if config is None:
        return []
    model, data, input, optim, training = config.model, config.data, config.input, config.optim, config.training
    overrides = ", ".join(f"{name} {value}" for name, value in model.overrides().items())
    start = (
        model.initial_weights
        or model.backbone_weights
        or ("ImageNet weights of timm" if model.pretrained else "random weights")
    )
    samplings = {
        "segments": "one frame a segment",
        "dense": f"{count(input.frame_stride, 'frame')} apart",
        "timed": f"{input.fps:g} a second",
    }
    batch = f"batches of {training.batch_size}" + (
        f" × {training.grad_accum_steps} steps" if training.grad_accum_steps > 1 else ""
    )
    seen = f"{model.num_frames} frames, {samplings[input.sampling]}"
    if data.kind == "timelines":
        chunk = f" in chunks of {training.tbptt_frames}" if training.tbptt_frames else ""
        seen = f"stretches of {config.timelines.stretch_frames} frames{chunk}, {input.fps:g} a second"
    return [
        ("Model", f"{model.name} ({overrides})"),
        ("Started from", start),
        ("Input", f"{seen}, {input.size} × {input.size} pixels"),
        ("Training data", data.train),
        ("Validation data", data.val or f"{whole_percent(data.val_fraction)} of the training data"),
        ("Optimiser", f"{optim.optimizer}, learning rate {optim.learning_rate:g}, {optim.schedule} schedule"),
        ("Training", f"{count(training.epochs, 'epoch')}, {batch}, {training.precision}, seed {training.seed}"),
    ]


def _evaluation_facts(run: Run) -> list[tuple[str, str]]:
    """Which weights were evaluated if they are not the run's own, on what, and how."""
    if run.events is not None:
        source = run.events.truth.source
        videos = count(len(run.events.truth) + len(run.events.unreadable), "video")
        return [
            ("Weights", "" if run.weights_folder == run.folder else str(run.weights_folder)),
            ("Evaluated on", f"{videos} of {source}" if source else ""),
        ]
    if run.evaluation is None:
        return []
    num_videos = run.evaluation.metrics.num_videos + len(run.evaluation.unreadable)
    source = run.evaluation.source
    return [
        ("Weights", "" if run.weights_folder == run.folder else str(run.weights_folder)),
        ("Evaluated on", f"{count(num_videos, 'video')} of {source}" if source else ""),
        ("Protocol", run.evaluation.protocol.describe()),
    ]


def _time_facts(run: Run) -> list[tuple[str, str]]:
    """When training went on last, how long it took in all, and which epoch was the best."""
    path = run.weights_folder / "metrics.jsonl"
    if not path.is_file():
        return []
    date = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    seconds = max((record["seconds"] for record in (*run.train, *run.val) if "seconds" in record), default=None)
    metrics = run.weights.get("metrics", {})
    epoch, temperature = metrics.get("epoch"), metrics.get("temperature", 1)
    return [
        ("Trained", f"{date:%d %B %Y, %H:%M %Z}"),
        ("Duration", "" if seconds is None else _duration(seconds)),
        ("Weights of", "" if epoch is None else f"epoch {epoch}, {_why_kept(run.config)}"),
        ("Temperature", "" if temperature == 1 else f"{temperature:.3g}, fitted on the validation data"),
    ]


def _why_kept(config: RunConfig | None) -> str:
    is_last = config is not None and config.training.keep == "last"
    score = "F1@25" if config is not None and config.data.kind == "timelines" else "top-1"
    return "the last" if is_last else f"the best by {score} on the validation data"


def _version_fact(run: Run) -> tuple[str, str]:
    trained = run.weights.get("lsn_version")
    here = f"report by LSN {lsn.__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}"
    return "Versions", f"weights by LSN {trained}; {here}" if trained else here


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{hours:.1f} hours"
