"""A linear classifier on the features of the frozen CNN: what a trained network has to beat.

Shapes: N clips, V views, T frames, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lsn.config import ModelConfig, RunConfig, to_yaml
from lsn.config.json_files import RECIPE_NAME
from lsn.data import ClipDataset, Manifest, assign_folds, group_names, load_splits, load_test_set, make_loader
from lsn.distributed import join_world
from lsn.errors import ConfigError, DataError
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import EvaluationResult
from lsn.files import write_text
from lsn.models import Recognizer
from lsn.models.factory import split_name
from lsn.models.forward import eval_mode
from lsn.models.weights import save_weights
from lsn.training.folder import claimed_folder
from lsn.training.loop import TEST_NAME
from lsn.training.start import start_model

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Weights of the squared norm that are tried; features have mean 0 and variance 1."""
NUM_FOLDS = 5
MAX_ITERATIONS = 200


@dataclass(frozen=True)
class LinearProbe:
    """What came of it."""

    result: EvaluationResult
    """On the validation set."""
    penalty: float
    """Of the squared weights."""
    is_penalty_chosen: bool
    """On folds of the training set; there were too few groups otherwise."""
    num_features: int
    """D."""


def linear_probe(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    when_done: Callable[[], object] | None = None,
) -> LinearProbe:
    """Fits a linear classifier to the features that the CNN of a run starts with, averaged over frames and views.

    So this is what can be known of single frames without training. It leaves a weights folder of the `tsn_` model, with
    its evaluation on the validation set, which chose nothing: the penalty is chosen on folds of the training set.

    Args:
        config: Its `model.name` gives the CNN; how that starts, data, input and views are as in training.
        out: Folder to write; it must not hold a run, unless `resume`.
        resume: The folder holds this probe, unfinished; it is done again.
        progress: Called with the clips whose features are known, and all training clips.
        when_done: As for `lsn.training.train`.

    Raises:
        LSNError: the folder holds a run, or as of `lsn.training.train`.

    Source:
        Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016.
    """
    out = Path(out)
    config.require_clips("a linear probe")
    train_set, val_set = load_splits(config.data, config.training.seed)
    with join_world(config.training.device) as world, claimed_folder(out, world, resume=resume):
        config = replace(config, model=frame_model(config.model))
        model = start_model(config.model, train_set.labels, seed=config.training.seed).to(world.device)
        protocol = EvaluationProtocol.of(model, config.input, config.evaluation)
        dataset = ClipDataset(train_set, protocol, reader=config.data.reader, on_unreadable=config.data.on_unreadable)
        features_ND, indices = clip_features(model, dataset, protocol, world.device, config.data.num_workers, progress)
        read = replace(train_set, clips=tuple(train_set.clips[index] for index in indices))
        labels_N = torch.tensor([read.label_index(clip.label) for clip in read.clips])
        folds = _folds(read)
        weight_KD, bias_K, penalty = fit_classifier(features_ND, labels_N, folds, num_classes=len(read.labels))
        _set_classifier(model, weight_KD, bias_K)
        result, *tested = (
            evaluate(
                model,
                manifest,
                protocol,
                device=world.device,
                reader=config.data.reader,
                on_unreadable=config.data.on_unreadable,
                num_workers=config.data.num_workers,
            )
            for manifest in (val_set, load_test_set(config.data, train_set, val_set))
            if manifest is not None
        )
        with world.errors_on_all_ranks():
            if world.is_main:
                figures = {"views": protocol.describe(), "linear_probe_penalty": penalty}
                _save(out, config, model, figures, result, tested)
                if when_done is not None:
                    when_done()
        return LinearProbe(result, penalty, folds is not None, features_ND.shape[1])


def _set_classifier(model: Recognizer, weight_KD: Tensor, bias_K: Tensor) -> None:
    classifier = model.get_classifier()
    assert isinstance(classifier, nn.Linear)
    with torch.no_grad():
        classifier.weight.copy_(weight_KD)
        classifier.bias.copy_(bias_K)
    model.mark_trained(name for name, _ in model.named_parameters())


def _save(
    out: Path,
    config: RunConfig,
    model: Recognizer,
    figures: dict[str, object],
    result: EvaluationResult,
    tested: Sequence[EvaluationResult],
) -> None:
    """Writes what a training writes, but for its course."""
    write_text(out / RECIPE_NAME, to_yaml(config))
    save_weights(out, model, labels=result.labels, input=config.input, metrics=asdict(result.metrics) | figures)
    result.save(out)
    for each in tested:
        each.save(out / TEST_NAME)


def frame_model(model: ModelConfig) -> ModelConfig:
    """The network without memory and shift."""
    _, cnn = split_name(model.name)
    if model.initial_weights is not None:
        raise ConfigError(
            "model.initial_weights starts a whole network, but a linear probe looks at its CNN alone; "
            "give model.backbone_weights or model.pretrained"
        )
    return ModelConfig(
        name=f"tsn_{cnn}",
        num_frames=model.num_frames,
        pretrained=model.pretrained,
        backbone_weights=model.backbone_weights,
    )


def clip_features(
    model: Recognizer,
    dataset: ClipDataset,
    protocol: EvaluationProtocol,
    device: torch.device,
    num_workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, list[int]]:
    """What the classifier sees of the clips that can be read, ND, mean over frames and views; and which those are.

    Raises:
        DataError: none can be read.
    """

    def forward(views_NTCHW: Tensor) -> Tensor:
        features_NTD = model.forward_head(model.forward_features(views_NTCHW), pre_logits=True)
        return features_NTD.mean(dim=1).float().cpu()

    loader = make_loader(
        dataset,
        indices=range(len(dataset)),
        batch_size=max(1, protocol.batch_size // protocol.num_views),
        num_workers=num_workers,
        device=device,
    )
    parts, indices, done = [], [], 0
    with eval_mode(model):
        for batch in loader:
            if batch.views_BVTCHW is not None:
                views_NTCHW = batch.views_BVTCHW.flatten(0, 1)
                parts += [forward(part.to(device)) for part in views_NTCHW.split(protocol.batch_size)]
                indices += batch.indices_B.tolist()
            done += len(batch.indices_B) + len(batch.unreadable)
            if progress is not None:
                progress(done, len(dataset))
    if not parts:
        raise DataError(f"{dataset.manifest.source}: none of its {len(dataset)} clips can be read")
    return torch.cat(parts).unflatten(0, (-1, protocol.num_views)).mean(dim=1).clone(), indices


def _folds(manifest: Manifest) -> tuple[int, ...] | None:
    """Folds to choose the penalty on; None where there are too few groups, or a class has one."""
    try:
        return assign_folds(manifest, min(NUM_FOLDS, len(set(group_names(manifest)))))
    except DataError:
        return None


def fit_classifier(
    features_ND: Tensor, labels_N: Tensor, folds: Sequence[int] | None, *, num_classes: int
) -> tuple[Tensor, Tensor, float]:
    """Fits a multinomial logistic regression with a penalty on the squared norm of its weights.

    Features are brought to mean 0 and variance 1 first, and the classifier is given for them as they came.

    Args:
        features_ND: Features of each clip.
        labels_N: int64, 0 to K - 1.
        folds: Fold of each clip: the penalty is the one of `PENALTIES` with the smallest loss on clips of folds that
            were not fitted. None takes the middle one.
        num_classes: K.

    Returns:
        Weight KD and bias K, float64, and the penalty.
    """
    features_ND = features_ND.double()
    mean_D, std_D = features_ND.mean(0), features_ND.std(0, correction=0).clamp(min=1e-6)
    x_ND = (features_ND - mean_D) / std_D
    # The best weights lie in the span of the clips: of many features only as many directions count as there are clips.
    basis_RD = torch.linalg.svd(x_ND, full_matrices=False).Vh
    x_NR = x_ND @ basis_RD.T
    penalty = PENALTIES[len(PENALTIES) // 2]
    if folds is not None:
        fold_N = torch.tensor(folds)
        losses = {each: _loss_on_folds(x_NR, labels_N, fold_N, each, num_classes) for each in PENALTIES}
        penalty = min(losses, key=losses.__getitem__)
    weight_KR, bias_K = _fit(x_NR, labels_N, penalty, num_classes)
    weight_KD = weight_KR @ basis_RD / std_D
    return weight_KD, bias_K - weight_KD @ mean_D, penalty


def _loss_on_folds(x_ND: Tensor, labels_N: Tensor, fold_N: Tensor, penalty: float, num_classes: int) -> float:
    total = 0.0
    for fold in fold_N.unique():
        held_out_N = fold_N == fold
        weight_KD, bias_K = _fit(x_ND[~held_out_N], labels_N[~held_out_N], penalty, num_classes)
        logits_NK = x_ND[held_out_N] @ weight_KD.T + bias_K
        total += F.cross_entropy(logits_NK, labels_N[held_out_N], reduction="sum").item()
    return total


def _fit(x_ND: Tensor, labels_N: Tensor, penalty: float, num_classes: int) -> tuple[Tensor, Tensor]:
    """The minimum of the mean cross-entropy + penalty / 2 * |W|^2, which is unique up to a constant in the bias."""
    weight_KD = torch.zeros(num_classes, x_ND.shape[1], dtype=torch.float64, requires_grad=True)
    bias_K = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight_KD, bias_K],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x_ND @ weight_KD.T + bias_K, labels_N) + penalty / 2 * weight_KD.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight_KD.detach(), bias_K.detach()
