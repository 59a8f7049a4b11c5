"""A model's answers on every video of a manifest, each video exactly once, in one process or many.

Shapes: B videos of a batch, N videos, V views, T frames, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lsn.data import ClipDataset, Manifest, make_loader
from lsn.distributed import current_world
from lsn.errors import ConfigError, DataError, LSNError, ModelError
from lsn.evaluation.anytime import check_anytime, measure_anytime
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import EvaluationResult, result_of_scores
from lsn.evaluation.running import CumulativePredictions, cumulative_scores
from lsn.hardware import resolve_device
from lsn.inference.runtimes.contract import Network, Runtime, forward_in_batches
from lsn.inference.runtimes.pytorch import PyTorchRuntime
from lsn.models import Recognizer
from lsn.scores import clip_scores, log_softmax


def evaluate(
    model: Recognizer | Runtime,
    manifest: Manifest,
    protocol: EvaluationProtocol,
    *,
    device: torch.device | str = "auto",
    reader: Literal["pyav", "torchcodec"] = "pyav",
    on_unreadable: Literal["raise", "skip"] = "raise",
    num_workers: int = 0,
    anytime: bool = False,
    wanted_top1: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Predicts every video of a manifest and measures how often, and how surely, the model is right.

    Where a process group of `torch.distributed` exists, all its processes must call this. They share the videos
    (process r takes every `world_size`-th from r on), none is seen twice, and each returns the whole result. The
    result does not depend on batch size, workers or processes, but for the rounding of float32.

    Args:
        model: a network, which is moved to the device and comes back in the mode, training or not, that it was in; or
            what runs one.
        manifest: its labels must be the model's classes, in the same order.
        protocol: what is seen of each video.
        device: of a network: "cpu", "cuda", "cuda:1", "mps" or "auto".
        reader: decoder of video files.
        on_unreadable: stop at a video that cannot be read, or leave it out and list it in the result.
        num_workers: processes that read videos; 0 reads in this one.
        anytime: measure too how soon the model knows, from its answers after each frame; the rest stays the same.
        wanted_top1: accuracy that stopping early should keep, 0..1, with `anytime`; by default it may cost one point.
        progress: called with the videos done and all videos after each batch; with several processes it supposes
            that the others are as far.

    Raises:
        VideoError: a video cannot be read, and such videos are not skipped.
        DataError: there is no video, or none that can be read.
        ModelError: the model has other classes, its scores are not finite, or it has no answers on the way.
        ConfigError: there is no such device, or `anytime` was asked for with several clips, or an accuracy outside
            0..1 or without `anytime`.
    """
    network = model if isinstance(model, Recognizer) else model.network
    _check(network, manifest, protocol, anytime=anytime, wanted_top1=wanted_top1)
    world = current_world()

    def report(done: int) -> None:
        if progress is not None:
            progress(min(done * world.size, len(manifest)), len(manifest))

    make_times = protocol.seconds if anytime else None
    dataset = ClipDataset(manifest, protocol, make_times=make_times, reader=reader, on_unreadable=on_unreadable)
    indices = range(world.rank, len(manifest), world.size)
    share: _Share | LSNError
    try:
        runtime, device = _on(model, protocol, device)
        share = _predict(runtime, dataset, protocol, indices, device, num_workers, report)
    except LSNError as error:  # passed to the other processes, which would wait for this one's share for ever
        share = error
    return _result(manifest, protocol, _join(world.gather([share])), wanted_top1)


def _on(
    model: Recognizer | Runtime, protocol: EvaluationProtocol, device: torch.device | str
) -> tuple[Runtime, torch.device]:
    """What runs the model, and the device that its frames go to."""
    if not isinstance(model, Recognizer):
        return model, model.device if isinstance(model, PyTorchRuntime) else torch.device("cpu")
    device = resolve_device(device)
    return PyTorchRuntime(model.to(device), height=protocol.size, width=protocol.size), device


def _check(
    model: Network, manifest: Manifest, protocol: EvaluationProtocol, *, anytime: bool, wanted_top1: float | None
) -> None:
    """Refuses what cannot be evaluated, before anything is read."""
    if anytime:
        check_anytime(model, protocol, wanted_top1)
    elif wanted_top1 is not None:
        raise ConfigError(f"a wanted top-1 of {wanted_top1:g} is for stopping early; add anytime=True, or leave it out")
    if len(manifest.labels) != model.num_classes:
        raise ModelError(
            f"{manifest.source}: {len(manifest.labels)} labels for a model of {model.num_classes} classes; "
            "read the manifest with the labels of the model"
        )
    if not len(manifest):
        raise DataError(f"{manifest.source}: no videos to evaluate on; give a manifest with at least one")


@dataclass(frozen=True)
class _Share:
    """The answers of one process, or of all."""

    indices: list[int]
    """Of the videos in the manifest."""
    scores_NK: Tensor
    """As of `EvaluationProtocol.scores`."""
    running: CumulativePredictions | None
    """The answers on the way, if they were asked for."""
    unreadable: dict[int, str]
    """Errors by index in the manifest."""


def _predict(
    runtime: Runtime,
    dataset: ClipDataset,
    protocol: EvaluationProtocol,
    indices: range,
    device: torch.device,
    num_workers: int,
    report: Callable[[int], None],
) -> _Share:
    """Runs the model over some of the videos, views batched across videos."""
    videos_a_batch = max(1, protocol.batch_size // protocol.num_views)
    loader = make_loader(dataset, indices=indices, batch_size=videos_a_batch, num_workers=num_workers, device=device)
    network, anytime = runtime.network, dataset.make_times is not None
    found: list[int] = []
    answers = [np.empty((0, network.num_classes), np.float32)]
    running = [CumulativePredictions.none(protocol.num_frames)]
    done = 0
    for batch in loader:
        if batch.views_BVTCHW is not None:
            views_NTCHW = batch.views_BVTCHW.flatten(0, 1).numpy()
            logits_NTK = forward_in_batches(runtime, views_NTCHW, protocol.batch_size)
            logits_BVTK = logits_NTK.reshape(-1, protocol.num_views, *logits_NTK.shape[1:])
            if batch.seconds_BT is None:
                answers.append(protocol.scores(clip_scores(logits_BVTK, network.readout_frames)))
            else:
                scores_BTK = cumulative_scores(logits_BVTK, protocol.scores, network.readout_frames)
                answers.append(scores_BTK[:, -1])
                log_probabilities_BTK = torch.from_numpy(log_softmax(scores_BTK))
                running.append(CumulativePredictions.of(log_probabilities_BTK, batch.seconds_BT))
            found += batch.indices_B.tolist()
        done += len(batch.indices_B) + len(batch.unreadable)
        report(done)
    return _Share(
        found,
        torch.from_numpy(np.concatenate(answers)),
        CumulativePredictions.join(running) if anytime else None,
        dataset.unreadable,
    )


def _join(shares: Sequence[_Share | LSNError]) -> _Share:
    """One share with everything, in the order of the manifest; raises what any process could not do."""
    good = []
    for share in shares:
        if isinstance(share, LSNError):
            raise share
        good.append(share)
    indices = torch.tensor([index for share in good for index in share.indices], dtype=torch.int64)
    order = indices.argsort()
    running = [share.running for share in good if share.running is not None]
    return _Share(
        indices[order].tolist(),
        torch.cat([share.scores_NK for share in good])[order],
        CumulativePredictions.join(running)[order] if running else None,
        {index: error for share in good for index, error in share.unreadable.items()},
    )


def _result(
    manifest: Manifest, protocol: EvaluationProtocol, share: _Share, wanted_top1: float | None
) -> EvaluationResult:
    clips = [manifest.clips[index] for index in share.indices]
    if not clips:
        first = next(iter(share.unreadable.values()))
        raise DataError(f"{manifest.source}: none of the {len(manifest)} videos can be read; the first: {first}")
    scores_NK, running = share.scores_NK, share.running
    finite_N = scores_NK.isfinite().all(dim=1)
    if not finite_N.all():
        path = clips[int(finite_N.int().argmin())].path
        raise ModelError(f"{path}: the model's scores are not finite; its weights are damaged or training diverged")

    labels_N = torch.tensor([manifest.label_index(clip.label) for clip in clips])
    return result_of_scores(
        clips,
        scores_NK,
        source=manifest.source,
        protocol=protocol,
        labels=manifest.labels,
        unreadable=tuple((manifest.clips[index].path, error) for index, error in sorted(share.unreadable.items())),
        anytime=None if running is None else measure_anytime(running, labels_N, wanted_top1=wanted_top1),
    )
