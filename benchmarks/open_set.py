"""Which score tells videos of none of the classes from those of some, on the runs of a cross-validation.

Each run answers the clips of its fold, of groups that it has never seen, and videos that show none of its classes.
`AUROC` is the chance that a clip of the fold scores above such a video; `AURC` is the area under the risk-coverage
curve of the fold, whose surest clips by that score are answered first. Means over the runs.

    python benchmarks/open_set.py runs/tables/gestures/lsn surv_fight/index.csv
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from lsn.config import EvaluationConfig
from lsn.data import ClipDataset, Manifest, read_manifest
from lsn.errors import DataError, LSNError
from lsn.evaluation.metrics import risk_coverage_area
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.models.weights import LoadedModel, load_weights
from lsn.training.linear_probe import clip_features

SURE = 0.9
"""Probability from which an answer is called sure."""
Score = Callable[[Tensor, Tensor], Tensor]
"""From the features ND and logits NK of clips to a number for each, higher for those that are known."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folds", type=Path, help="folder of a cross-validation under training.keep=last")
    parser.add_argument("unfamiliar", help="manifest of videos that show none of the classes")
    parser.add_argument("--videos", type=int, default=80, help="how many of these, drawn at random")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        unfamiliar = read_manifest(options.unfamiliar)
        drawn = random.Random(0).sample(unfamiliar.clips, min(options.videos, len(unfamiliar)))
        found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        runs = sorted(options.folds.glob("seed*/fold*"))
        if not runs:
            raise DataError(f"{options.folds}: no runs seed*/fold* in it; give the folder of a cross-validation")
        for folder in runs:
            for name, figures in measure(folder, replace(unfamiliar, clips=tuple(drawn))).items():
                found[name].append(figures)
    except LSNError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{'score':20}  AUROC    AURC")
    for name, pairs in found.items():
        print(f"{name:20}  {mean(auroc for auroc, _ in pairs):.3f}  {mean(aurc for _, aurc in pairs):.4f}")
    return 0


def measure(run: Path, unfamiliar: Manifest) -> dict[str, tuple[float, float]]:
    """AUROC and AURC of each score, of one run."""
    loaded = load_weights(run)
    clips = run.parents[1] / "folds"
    train, test = (
        read_manifest(clips / f"{run.name.removeprefix('fold')}_{name}.csv", labels=loaded.labels)
        for name in ("train", "test")
    )
    known, labels_N = features_of(loaded, train), torch.tensor([train.label_index(clip.label) for clip in train.clips])
    tested, others = features_of(loaded, test), features_of(loaded, unfamiliar)
    classifier = loaded.model.get_classifier().eval()
    with torch.inference_mode():
        logits, others_logits = classifier(tested), classifier(others)
    right_N = logits.argmax(dim=1) == torch.tensor([test.label_index(clip.label) for clip in test.clips])
    sure = (others_logits.softmax(dim=1).amax(dim=1) > SURE).double().mean().item()
    print(f"{run}: {right_N.double().mean():.1%} right; {sure:.1%} of the unfamiliar are answered with > {SURE:g}")
    figures = {}
    for name, score in scores_of(known, labels_N).items():
        ours, theirs = score(tested, logits), score(others, others_logits)
        is_known = [1] * len(ours) + [0] * len(theirs)
        figures[name] = (roc_auc_score(is_known, torch.cat([ours, theirs])), risk_coverage_area(ours, right_N))
    return figures


def features_of(loaded: LoadedModel, manifest: Manifest) -> Tensor:
    """What the classifier sees of each clip, mean over its frames: ND."""
    protocol = EvaluationProtocol.of(loaded.model, loaded.input, EvaluationConfig())
    dataset = ClipDataset(manifest, protocol)
    features_ND, _ = clip_features(loaded.model, dataset, protocol, torch.device("cpu"), num_workers=0)
    return features_ND


def scores_of(known_ND: Tensor, labels_N: Tensor) -> dict[str, Score]:
    """The scores by name; those of distances know the features of the training clips.

    Source:
        Hendrycks and Gimpel, 2017, arXiv:1610.02136 (probability); Liu et al., 2020, arXiv:2010.03759 (energy); Lee et
        al., 2018, arXiv:1807.03888 (Mahalanobis distance); Sun et al., 2022, arXiv:2204.06507 (nearest neighbours).
    """
    means_KD = torch.stack([known_ND[labels_N == label].mean(dim=0) for label in labels_N.unique()])
    centred_ND = known_ND - means_KD[labels_N]
    covariance_DD = centred_ND.T @ centred_ND / len(known_ND)
    covariance_DD.diagonal().add_(0.1 * covariance_DD.diagonal().mean())  # there are fewer clips than features
    precision_DD = torch.linalg.inv(covariance_DD)

    def mahalanobis(features_ND: Tensor, _: Tensor) -> Tensor:
        away_NKD = features_ND[:, None] - means_KD
        return -torch.einsum("nkd,de,nke->nk", away_NKD, precision_DD, away_NKD).amin(dim=1)

    def neighbours(features_ND: Tensor, _: Tensor) -> Tensor:
        ours, theirs = (torch.nn.functional.normalize(each, dim=1) for each in (features_ND, known_ND))
        return (ours @ theirs.T).topk(5, dim=1).values[:, -1]

    return {
        "probability": lambda _, logits_NK: logits_NK.softmax(dim=1).amax(dim=1),
        "entropy": lambda _, logits_NK: (logits_NK.softmax(dim=1) * logits_NK.log_softmax(dim=1)).sum(dim=1),
        "logit": lambda _, logits_NK: logits_NK.amax(dim=1),
        "energy": lambda _, logits_NK: logits_NK.logsumexp(dim=1),
        "5th neighbour": neighbours,
        "Mahalanobis distance": mahalanobis,
    }


if __name__ == "__main__":
    sys.exit(main())
