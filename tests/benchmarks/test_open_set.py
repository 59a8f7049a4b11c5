"""The scores of the open-set benchmark beside scikit-learn's, and the whole of it on a small model."""

import shutil

import numpy as np
import torch
from sklearn.covariance import empirical_covariance
from sklearn.neighbors import NearestNeighbors

from lsn.config import InputConfig
from lsn.models import create_model
from lsn.models.weights import save_weights
from lsn.video import write_video


def test_distances_are_those_of_scikit_learn(import_script):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 2
    known = torch.randn(40, 6, generator=generator) + 4 * labels[:, None]
    asked = torch.randn(9, 6, generator=generator) * 3
    scores = import_script("open_set").scores_of(known, labels)

    means = np.stack([known[labels == label].mean(dim=0).numpy() for label in (0, 1)])
    covariance = empirical_covariance(known.numpy() - means[labels], assume_centered=True)
    covariance += 0.1 * covariance.diagonal().mean() * np.eye(6)
    away = asked.numpy()[:, None] - means
    squared = np.stack([np.diagonal(away[:, k] @ np.linalg.solve(covariance, away[:, k].T)) for k in range(2)], axis=1)
    np.testing.assert_allclose(scores["Mahalanobis distance"](asked, None), -squared.min(axis=1), rtol=1e-4)

    distances, _ = NearestNeighbors(n_neighbors=5, metric="cosine").fit(known.numpy()).kneighbors(asked.numpy())
    np.testing.assert_allclose(scores["5th neighbour"](asked, None), 1 - distances[:, -1], atol=1e-5)


def test_runs_of_a_cross_validation(import_script, tmp_path, capsys):
    videos, folds = tmp_path / "videos", tmp_path / "run" / "folds"
    videos.mkdir()
    folds.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(8):
        write_video(videos / f"{number}.mp4", rng.integers(0, 255, (6, 40, 48, 3), dtype=np.uint8), fps=6)
    rows = [f"{videos}/{number}.mp4,{'ab'[number % 2]}" for number in range(8)]
    for name, chosen in (("0_train", rows[:6]), ("0_test", rows[6:])):
        (folds / f"{name}.csv").write_text("\n".join(["path,label", *chosen]) + "\n")
    (videos / "unfamiliar.csv").write_text("path,label\n0.mp4,other\n1.mp4,other\n")
    model = create_model("tsn_test_resnet", num_classes=2, num_frames=3)
    run = tmp_path / "run/seed0/fold0"
    save_weights(run, model, labels=("a", "b"), input=InputConfig(size=32, short_side=32), metrics={})

    open_set = import_script("open_set")
    assert open_set.main([str(tmp_path / "run"), str(videos / "unfamiliar.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{run}: ") and len(lines) == 2 + 6
    shutil.rmtree(folds)
    assert open_set.main([str(tmp_path / "run"), str(videos / "unfamiliar.csv")]) == 2
    assert "0_train.csv" in capsys.readouterr().err
    assert open_set.main([str(videos), str(videos / "unfamiliar.csv")]) == 2
    assert f"{videos}: no runs seed*/fold* in it" in capsys.readouterr().err
