"""`lsn evaluate`: how good weights are on a data set."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lsn.cli.commands.train import print_metrics
from lsn.cli.commands.weights_options import Average, Crops, chosen_views, run_config
from lsn.cli.ui.anytime import print_anytime
from lsn.cli.ui.console import is_main_process, output
from lsn.cli.ui.progress import counting_progress
from lsn.config import RunConfig
from lsn.errors import ConfigError
from lsn.files import check_outputs

if TYPE_CHECKING:
    from lsn.data import Manifest


def evaluate(
    weights: Path,
    data: str | None = None,
    /,
    *,
    clips: int | None = None,
    crops: Crops | None = None,
    average: Average | None = None,
    anytime: bool = False,
    wanted_top1: float | None = None,
    out: Path | None = None,
    reader: Literal["pyav", "torchcodec"] = "pyav",
    on_unreadable: Literal["raise", "skip"] = "raise",
    root: str | None = None,
    labels: str | None = None,
    workers: int = 2,
    device: str = "auto",
    compile: bool = False,
) -> None:
    """Measure the accuracy of weights on a data set.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's.
    data
        Manifest or folder of class folders; by default what the run validated on.
    clips
        Clips a video; by default as the run validated.
    crops
        Crops a clip, 1 or 3; by default as the run validated.
    average
        What is averaged over the views; by default as the run validated.
    anytime
        Tell too how soon a causal model knows: its accuracy after each frame, and when it may stop looking.
    wanted_top1
        Accuracy from 0 to 1 to keep when stopping early, with --anytime; by default it may cost one point.
    out
        Write evaluation.json, predictions.csv and report.html into this folder, which must not be one of weights.
    reader
        Decoder of video files.
    on_unreadable
        Stop at a clip that cannot be read, or leave it out and count it.
    root
        Folder that the paths of the manifest start from; by default its own.
    labels
        File with the names behind the numbers of a TSN list; by default the weights' own.
    workers
        Processes that read clips; 0 reads in this one.
    device
        cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one.
    compile
        Run the network through PyTorch's compiler: the first batch waits half a minute for it, the others are faster.
    """
    if data is None and (root is not None or labels is not None):
        raise ConfigError("--root and --labels tell how to read a manifest; add the manifest, or leave them out")
    if wanted_top1 is not None and not anytime:
        raise ConfigError("--wanted-top1 is the accuracy to keep when stopping early; add --anytime, or leave it out")
    if out is not None:
        _check_out(out, data, labels)
    from lsn.distributed import join_world
    from lsn.evaluation.anytime import check_anytime
    from lsn.evaluation.evaluate import evaluate as run_evaluation
    from lsn.evaluation.protocol import EvaluationProtocol
    from lsn.inference.prepare import prepare_for_inference
    from lsn.models.weights import load_weights
    from lsn.report import write_report

    config = run_config(weights)
    loaded = load_weights(weights)
    views = chosen_views(config, clips=clips, crops=crops, average=average)
    protocol = EvaluationProtocol.of(loaded.model, loaded.input, views)
    if anytime:  # before the manifest, whose files may take long to look at
        check_anytime(loaded.model, protocol, wanted_top1)
    manifest = _manifest(data, weights, config, loaded.labels, root=root, labels=labels)
    console = output()
    console.print(f"{loaded.model.name} on {len(manifest)} videos of {manifest.source}: {protocol.describe()}")
    with join_world(device) as world, counting_progress("evaluating") as progress:
        result = run_evaluation(
            prepare_for_inference(loaded.model, device=world.device, compile=compile),
            manifest,
            protocol,
            device=world.device,
            reader=reader,
            on_unreadable=on_unreadable,
            num_workers=workers,
            anytime=anytime,
            wanted_top1=wanted_top1,
            progress=progress,
        )
    print_metrics(asdict(result.metrics))
    if result.anytime is not None:
        print_anytime(result.anytime)
    for path, error in result.unreadable:
        console.print(f"left out: {path}: {error}")
    if out is not None and is_main_process():
        result.save(out)
        console.print(f"\nEvery video  {out / 'predictions.csv'}\nReport       {write_report(out, weights=weights)}")


def _check_out(out: Path, data: str | None, labels: str | None) -> None:
    """Refuses a folder in which an evaluation would replace something else.

    What lies beside weights is their validation, which their event threshold and their report are made from.
    """
    if any((out / name).exists() for name in ("config.json", "model.safetensors", "checkpoint.pt")):
        raise ConfigError(
            f"{out}: holds weights and their own validation, which this evaluation would replace; choose another --out"
        )
    check_outputs([out / name for name in ("evaluation.json", "predictions.csv", "report.html")], [data, labels])


def _manifest(
    data: str | None,
    weights: Path,
    config: RunConfig | None,
    names: tuple[str, ...],
    *,
    root: str | None,
    labels: str | None,
) -> Manifest:
    """What is evaluated on, with the labels in the order of the weights."""
    from lsn.data import check_manifest, load_splits, raise_on_errors, read_manifest

    if data is not None:
        manifest = replace(read_manifest(data, root=root, labels=labels or names), labels=names)
        raise_on_errors(check_manifest(manifest))
        return manifest
    if config is None:
        raise ConfigError(f"{weights}: no recipe.yaml says what it was validated on; add a manifest or folder")
    _, val = load_splits(config.data, config.training.seed)
    return replace(val, labels=names)
