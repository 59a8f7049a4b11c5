"""Manifests of labelled clips, the checks on them, and batches."""

from lsn.data.clips.checks import check_manifest, check_manifests
from lsn.data.clips.describe import Description, OpenedClips, Spread, describe, thinned
from lsn.data.clips.folds import assign_folds, fold_splits, group_names
from lsn.data.clips.labels import read_labels
from lsn.data.clips.likeness import group_problems
from lsn.data.clips.manifest import parse_manifest, read_manifest
from lsn.data.clips.probe import Probe, probe
from lsn.data.clips.splits import check_splits, load_splits, load_test_set, split_manifest
from lsn.data.clips.table import Clip, Manifest, Problem, raise_on_errors
from lsn.data.clips.windows import open_clip
from lsn.data.loading.dataset import Batch, ClipDataset, MakeViews, Sample
from lsn.data.loading.loader import BatchLoader, load_steps, make_loader
from lsn.data.loading.step_sampler import Step, StepSampler

__all__ = [
    "Batch",
    "BatchLoader",
    "Clip",
    "ClipDataset",
    "Description",
    "MakeViews",
    "Manifest",
    "OpenedClips",
    "Probe",
    "Problem",
    "Sample",
    "Spread",
    "Step",
    "StepSampler",
    "assign_folds",
    "check_manifest",
    "check_manifests",
    "check_splits",
    "describe",
    "fold_splits",
    "group_names",
    "group_problems",
    "load_splits",
    "load_steps",
    "load_test_set",
    "make_loader",
    "open_clip",
    "parse_manifest",
    "probe",
    "raise_on_errors",
    "read_labels",
    "read_manifest",
    "split_manifest",
    "thinned",
]
