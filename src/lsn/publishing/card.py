"""The model card: what people should know of weights before they use them, written from what was measured.

References:
    Mitchell et al., Model cards for model reporting, FAT* 2019.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import yaml
from huggingface_hub import EvalResult, ModelCardData

from lsn.config import RunConfig, to_mapping
from lsn.hub import HUB_PREFIX
from lsn.inference.runtimes.description import ExportDescription
from lsn.inference.runtimes.opening import GRAPH_RUNTIMES
from lsn.models.cost import model_cost
from lsn.models.factory import split_name
from lsn.models.weights import LoadedModel
from lsn.publishing.measurements import Measurement
from lsn.report.html import count, percent
from lsn.report.overview import facts
from lsn.report.run import Run

TASK = "video-classification"
MAX_LISTED_LABELS = 60
_LEFT_OUT = ("Versions", "Weights", "Evaluated on", "Protocol")
"""Facts that the card has elsewhere."""


@dataclass(frozen=True)
class Author:
    """What only the author knows."""

    license: str | None = None
    """Identifier of the licence, as the Hub lists them, such as `apache-2.0`."""
    dataset: str | None = None
    """The data set that the figures were measured on, if it is at the Hub: `user/name`."""
    notes: str = ""
    """Markdown for a section of its own."""


def model_card(
    name: str,
    loaded: LoadedModel,
    run: Run,
    measurements: Sequence[Measurement],
    exports: Mapping[str, ExportDescription],
    author: Author,
) -> str:
    """The card as Markdown, with the data that the Hub reads before it.

    Args:
        name: of the model at the Hub, `user/name`.
        loaded: the weights.
        run: how they were trained, as the public may know it.
        measurements: what was measured.
        exports: graphs that are beside the weights, by the names of their folders.
        author: what only the author knows.
    """
    title = name.rpartition("/")[2]
    sections = [
        f"# {_text(title)}",
        _summary(loaded),
        _usage(name, loaded, exports),
        _measured(measurements, loaded, author),
        _limits(name, loaded, run, measurements),
        _training(run),
        _cost(loaded, exports),
        *([f"## Notes\n\n{author.notes.strip()}"] if author.notes.strip() else []),
        "## Source\n\nLSN implements the Long-term Spatio-temporal Network (DOI 10.1007/978-981-19-5194-7_24). "
        "`lsn push` wrote this card.",
    ]
    data = _data(title, loaded, run.config, measurements, author)
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def _data(
    title: str, loaded: LoadedModel, config: RunConfig | None, measurements: Sequence[Measurement], author: Author
) -> ModelCardData:
    results = [
        EvalResult(
            task_type=TASK,
            task_name="Online action detection" if _finds_events(loaded) else "Action recognition",
            dataset_type=author.dataset or "custom",
            dataset_name=author.dataset or measured.data,
            dataset_split=measured.split,
            metric_type=score.type,
            metric_name=score.name,
            metric_value=round(score.value, 4),
        )
        for measured in measurements
        for score in measured.scores
    ]
    streams = ["streaming"] if loaded.model.is_causal else []
    return ModelCardData(
        library_name="lsn",
        pipeline_tag=TASK,
        license=author.license,
        base_model=_base_model(config),
        datasets=None if author.dataset is None else [author.dataset],
        tags=["action-recognition", *(["online-action-detection"] if _finds_events(loaded) else []), *streams, "video"],
        model_name=title,
        eval_results=results or None,
    )


def _base_model(config: RunConfig | None) -> str | None:
    """What the training started from, if it is at the Hub."""
    if config is None:
        return None
    network = config.model
    start = network.initial_weights or network.backbone_weights
    if start is not None:
        return start.removeprefix(HUB_PREFIX).partition("@")[0] if start.startswith(HUB_PREFIX) else None
    cnn = timm.get_pretrained_cfg(split_name(network.name)[1])
    return cnn.hf_hub_id if network.pretrained and cnn is not None else None


def _finds_events(loaded: LoadedModel) -> bool:
    return loaded.events is not None and loaded.events.of_long_videos


def _actions(loaded: LoadedModel) -> list[str]:
    """The labels that are something that happens."""
    background = None if loaded.events is None else loaded.events.background
    return [label for label in loaded.labels if label != background]


def _summary(loaded: LoadedModel) -> str:
    labels = _actions(loaded)
    does = "finds events of" if _finds_events(loaded) else "recognises"
    where = "in long videos, live streams and files" if _finds_events(loaded) else "in clips"
    if loaded.model.is_causal and not _finds_events(loaded):
        where += " and live streams"
    listed = ", ".join(map(_text, labels))
    if len(labels) > MAX_LISTED_LABELS:
        listed = f"<details><summary>All labels</summary>\n\n{listed}\n\n</details>"
    return f"`{loaded.model.name}` {does} {count(len(labels), 'action')} {where}.\n\n{listed}"


def _usage(name: str, loaded: LoadedModel, exports: Mapping[str, ExportDescription]) -> str:
    ask = f"lsn timeline {name} video.mp4 --out found" if _finds_events(loaded) else f"lsn predict {name} clip.mp4"
    lines = ["pip install 'lsn-video[export]'" if exports else "pip install lsn-video", ask]
    if loaded.model.is_causal:
        lines.append(f"lsn stream {name} 0   # a camera, or a file or an address")
    lines += [f"{ask} --runtime {folder}   # without PyTorch" for folder in exports if folder in GRAPH_RUNTIMES]
    commands = "\n".join(lines)
    code = f'import lsn\n\npredictor = lsn.Predictor("{name}")\nprint(predictor("clip.mp4").top(3))'
    if _finds_events(loaded):
        code = (
            f'import lsn\n\npredictor = lsn.StreamingPredictor("{name}")\n'
            'with lsn.StreamRunner(predictor, {"door": "video.mp4"}) as runner:\n'
            "    for result in runner:\n        print(result.events)"
        )
    others = [folder for folder in exports if folder not in GRAPH_RUNTIMES]
    more = "".join(
        f"\n\n`hf download {name} --include '{folder}/*' --local-dir .` fetches the folder `{folder}`, "
        f"a {exports[folder].precision} graph for {exports[folder].target}."
        for folder in others
    )
    return f"## Use\n\n```bash\n{commands}\n```\n\n```python\n{code}\n```{more}"


def _measured(measurements: Sequence[Measurement], loaded: LoadedModel, author: Author) -> str:
    if not measurements:
        return "## What was measured\n\nNothing: no evaluation lies beside these weights."
    parts = ["## What was measured"]
    for measured in measurements:
        data = author.dataset or measured.data
        on = f"On the {measured.split} data" + (f" ({_text(data)})" if data else "")
        parts += [f"{on}: {_text(measured.amount)}.", _table(("Measure", "Value", "Remark"), measured.tiles)]
        if measured.rules is not None and measured.rules != loaded.events:
            parts.append("The events are by other rules than those that are kept with the weights now.")
    return "\n\n".join(parts)


def _limits(name: str, loaded: LoadedModel, run: Run, measurements: Sequence[Measurement]) -> str:
    config = run.config
    data = f" (`{Path(config.data.train).name}`)" if config is not None and config.data.train else ""
    lines = [
        f"For videos like those that it was trained on{data}. Other cameras, people and places can give far other "
        f"figures; measure yours first: `lsn evaluate {name} YOURS.csv`.",
        "Not for the identification of people, and not for decisions on someone's safety, health or rights unless it "
        "was tested for that on the very cameras.",
    ]
    if not _finds_events(loaded):
        lines.append("It gives one of its labels to every video, whatever happens there; a low probability is a hint.")
    if config is not None:
        lines.append(f"One training with one seed ({config.training.seed}); how far others differ was not measured.")
    if any(measured.split == "validation" for measured in measurements) and (chosen := _chosen(loaded, run)):
        lines.append(f"The validation data chose {' and '.join(chosen)}, so figures on these are optimistic.")
    if loaded.frame_rates is not None:
        low, high = loaded.frame_rates.low, loaded.frame_rates.high
        lines.append(f"It was trained at {low:.3g} to {high:.3g} frames per second; other rates were not seen.")
    if untrained := loaded.model.new_parameter_names():
        lines.append(f"{len(untrained)} of its tensors still have random values; train it before you use it.")
    if measurements and measurements[0].weak:
        weak = "\n".join(f"  - {_text(line)}" for line in measurements[0].weak)
        lines.append(f"What goes wrong most often on the {measurements[0].split} data:\n{weak}")
    return "## Intended use and limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _chosen(loaded: LoadedModel, run: Run) -> list[str]:
    """What a training takes from its validation."""
    is_best = run.config is not None and run.config.training.keep == "best"
    chosen = ["the epoch"] if is_best and "epoch" in loaded.metrics else []
    if loaded.metrics.get("temperature", 1) != 1:
        chosen.append("the temperature")
    return [*chosen, "the rules of events"] if _finds_events(loaded) else chosen


def _training(run: Run) -> str:
    if run.config is None:
        return "## How it was trained\n\nNo recipe lies beside these weights."
    rows = ((name, value) for name, value in facts(run) if name not in _LEFT_OUT)
    version = run.weights.get("lsn_version")
    changes = yaml.safe_dump(changes_of(run.config), sort_keys=False, allow_unicode=True)
    table = _table(("Setting", "Value"), rows)
    return (
        f"## How it was trained\n\n{table}\n\nWith LSN {_text(str(version))}; what differs from its defaults "
        f"(`recipe.yaml` has all of it):\n\n```yaml\n{changes}```"
    )


def changes_of(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The settings of a recipe that are not the default, by section."""
    mine, usual = to_mapping(config), to_mapping(RunConfig())
    sections = {
        section: {key: value for key, value in values.items() if value != usual[section][key]}
        for section, values in mine.items()
    }
    return {section: values for section, values in sections.items() if values}


def _cost(loaded: LoadedModel, exports: Mapping[str, ExportDescription]) -> str:
    model, size = loaded.model, loaded.input.size
    cost = model_cost(model, height=size, width=size)
    rows = [
        ("Parameters", f"{cost.parameters:,}"),
        ("Multiply-adds", f"{cost.macs / model.num_frames / 1e6:,.0f} million a frame of {size} × {size} pixels"),
    ]
    if model.is_causal:
        rows.append(("Memory of a stream", f"{cost.state_bytes / 1e3:,.0f} kB"))
    rows += [(f"Export {folder}", _of_export(export)) for folder, export in exports.items()]
    return f"## Cost\n\n{_table(('What', 'How much'), rows)}"


def _of_export(export: ExportDescription) -> str:
    parts = [str(export.precision)]
    if export.proof:
        worst = max(line.difference for line in export.proof)
        parts.append(f"logits differ from PyTorch's by at most {worst:.0e} of the largest")
    if export.accuracy is not None:
        before, after = percent(export.accuracy.before), percent(export.accuracy.after)
        parts.append(f"{export.accuracy.metric} {after}, with PyTorch {before}")
    return "; ".join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Text as it is, where Markdown would make something of it."""
    return re.sub(r"([\\`*_{}\[\]<>|~#])", r"\\\1", " ".join(text.split()))


def public_config(config: RunConfig) -> RunConfig:
    """A recipe without the folders of the machine that it ran on: files by name, those of the Hub as they are."""
    model, data = config.model, config.data
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            model,
            backbone_weights=_public(model.backbone_weights),
            initial_weights=_public(model.initial_weights),
        ),
        data=dataclasses.replace(
            data,
            train=_public(data.train) or "",
            val=_public(data.val),
            test=_public(data.test),
            root=_public(data.root),
            labels=_public(data.labels),
        ),
    )


def _public(name: str | None) -> str | None:
    return name if not name or name.startswith(HUB_PREFIX) else Path(name).name
