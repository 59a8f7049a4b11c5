"""`lsn probe`: what a linear classifier on the frozen CNN reaches, which a training has to beat."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from lsn.cli.commands.folds import cross_validate
from lsn.cli.commands.train import print_metrics
from lsn.cli.runs import probe_and_report
from lsn.cli.ui.console import output
from lsn.config import load_config
from lsn.config.recipes import find_recipe


def probe(
    data: str, /, *overrides: str, recipe: str = "default", out: Path | None = None, folds: int | None = None
) -> None:
    """Fit a linear classifier to the frozen CNN: what to beat.

    It takes minutes. The features are those that the CNN of the recipe's model starts with, averaged over the frames of
    a clip. Like a training it writes weights, evaluation and report.html.

    Parameters
    ----------
    data
        Manifest or folder of class folders to fit on.
    overrides
        Changes to the recipe, such as model.name=lsn_resnet18 data.val=videos/val.csv.
    recipe
        A name of `lsn recipes`, or your own YAML file.
    out
        Folder to write; by default runs/probe, or runs/probe_folds.
    folds
        Cross-validate instead: split all clips, by data.group_column if it is given, into so many folds, and test each
        by a classifier that was fitted on the others.
    """
    config = load_config(find_recipe(recipe), [f"data.train={json.dumps(data)}", *overrides])
    if folds is not None:
        from lsn.training.linear_probe import frame_model

        # Nothing is chosen on clips that are set aside, so none are.
        training = replace(config.training, keep="last")
        config = replace(config, model=frame_model(config.model), training=training)
        cross_validate(config, out or Path("runs/probe_folds"), num_folds=folds, is_probe=True)
        return
    out = out or Path("runs/probe")
    found = probe_and_report(config, out)
    print_metrics(asdict(found.result.metrics))
    output().print(
        f"\nA linear classifier on {found.num_features} features of the frozen CNN, averaged over "
        f"{config.model.num_frames} frames; penalty {found.penalty:g}, "
        f"{'chosen on folds of the training clips' if found.is_penalty_chosen else 'fixed, for want of groups'}."
        f"\nWeights  {out}\nReport   {out / 'report.html'}"
    )
