"""Tables of results: which recipes their rows train, and what was published for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsn.errors import ConfigError, did_you_mean

_PAPER_URL = "https://doi.org/10.1007/978-981-19-5194-7_24"


@dataclass(frozen=True)
class Row:
    """One model of a table."""

    name: str
    recipe: str
    overrides: tuple[str, ...] = ()
    """Changes to the recipe, `section.key=value`."""
    published: float | None = None
    """Top-1 that the paper reports, in percent."""
    start: Row | None = None
    """What is trained first, with the same seed, and gives the initial weights."""
    is_probe: bool = False
    """A linear classifier on the frozen CNN instead of a training."""


@dataclass(frozen=True)
class Table:
    """Models that are compared on one data set."""

    title: str
    rows: tuple[Row, ...]
    way_to_data: str
    """What to do when the data is not there."""
    num_folds: int = 0
    """Folds of a cross-validation, where a single test set would be too small; 0 is none."""
    source: str = ""
    """Where the published figures are from."""

    def choose(self, names: Sequence[str]) -> tuple[Row, ...]:
        """The rows of these names, in the table's order; all without names.

        Raises:
            ConfigError: a name is not in the table.
        """
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise ConfigError(f"the table of {self.title} has no row {name!r}; {did_you_mean(name, known)}")
        return tuple(row for row in self.rows if not names or row.name in names)


def _model(name: str) -> str:
    return f"model.name={name}_resnet50"


def _something(version: int, *, lsn: float, lsn_ss: float) -> Table:
    name, recipe = f"something-something-v{version}", f"something_v{version}_lsn"
    return Table(
        f"Something-Something V{version}",
        (
            Row("tsn", recipe, (_model("tsn"),)),
            Row("tsm", recipe, (_model("tsm"),)),
            Row("convlstm", recipe, (_model("convlstm"),)),
            Row("lsn", recipe, published=lsn),
            Row("lsn_ss", f"{recipe}_ss", published=lsn_ss),
            Row("lsn_ss_best", f"{recipe}_ss", ("input.horizontal_flip=true", "input.rand_augment_layers=2")),
        ),
        "Ask for the videos and labels at https://developer.qualcomm.com/software/ai-datasets/something-something, "
        f"then: lsn data prepare {name} --annotations LABELS --videos VIDEOS --out data/{name}",
        source=_PAPER_URL,
    )


_DIVING = "diving48_lsn_ss"
_WAY_TO_GESTURES = (
    "Give yours with data.train=egogestar/train.csv data.val=egogestar/val.csv; then: lsn data synthesize "
    "runs/data/gestures --kind gestures --num-train 8000 --num-val 300 --size 96"
)
_WAY_TO_MOTIONS = "Write it: lsn data synthesize runs/data/timeline --kind timeline"


def _gestures(family: str) -> Row:
    """A model that learns synthetic gestures, then real ones."""
    name = f"model.name={family}_test_resnet"
    synthetic = Row(f"{family} on synthetic gestures", "gestures_pretrain", (name,))
    return Row(family, "gestures", (name,), start=synthetic)


def _streaming(family: str) -> tuple[str, ...]:
    """A small model of a family that can watch streams."""
    name = f"model.name={family}_test_resnet"
    return (name, "model.shift=causal") if family == "tsm" else (name,)


def _few_gestures(num_clips: int) -> tuple[Row, ...]:
    """Models that learn so many real gestures of each class, from three starts and as a linear probe."""
    data = ("data.train=egogestar/train.csv", "data.val=egogestar/val.csv", "data.group_column=scene")
    view = ("input.size=72", "input.short_side=72", "input.scales=[1.0,0.875]", "input.horizontal_flip=false")
    budget = ("training.epochs=10", "training.min_steps_per_epoch=16")
    common = (*data, *view, *budget, f"data.clips_per_class={num_clips}", "model.num_frames=16")
    network = ("model.name=lsn_test_resnet", "model.pretrained=false", "model.reduction=4")
    small = (*common, *network, "model.frame_differences=true", "training.batch_norm=train")
    synthetic = Row("lsn on synthetic gestures", "gestures_pretrain")
    return (
        Row(f"linear_probe_{num_clips}", "few_clips", common, is_probe=True),
        Row(f"random_{num_clips}", "few_clips", (*small, "model.zero_init_memory=false")),
        Row(f"imagenet_{num_clips}", "few_clips", common),
        Row(f"synthetic_{num_clips}", "few_clips", small, start=synthetic),
    )


TABLES: dict[str, Table] = {
    "something-something-v1": _something(1, lsn=45.7, lsn_ss=50.4),
    "something-something-v2": _something(2, lsn=56.1, lsn_ss=62.3),
    "diving48": Table(
        "Diving48 V2",
        (
            Row("tsn", _DIVING, (_model("tsn"),)),
            Row("tsm", _DIVING, (_model("tsm"),)),
            Row("convlstm", _DIVING, (_model("convlstm"),)),
            Row("lsn_ss", _DIVING, published=82.3),
            Row(
                "lsn_ss_from_something",
                _DIVING,
                ("model.pretrained=false",),
                published=84.0,
                start=Row("lsn_ss on something-something-v2", "something_v2_lsn_ss"),
            ),
        ),
        "Fetch the videos and labels (version 2) from http://www.svcl.ucsd.edu/projects/resound/dataset.html, then: "
        "lsn data prepare diving48 --annotations LABELS --videos RGB --out data/diving48",
        source=_PAPER_URL,
    ),
    "gestures": Table(
        "Real finger gestures (EgoGestAR)",
        tuple(_gestures(family) for family in ("tsn", "tsm", "convlstm", "lsn", "lsn_ss")),
        _WAY_TO_GESTURES,
        num_folds=5,
    ),
    "few-gestures": Table(
        "Two, five and ten real finger gestures per class (EgoGestAR)",
        tuple(row for num_clips in (2, 5, 10) for row in _few_gestures(num_clips)),
        _WAY_TO_GESTURES,
        num_folds=3,
    ),
    "fight": Table(
        "Fights in surveillance video (surv_fight)",
        (
            Row("linear_probe", "fight", is_probe=True),
            *(
                Row(family, "fight", (f"model.name={family}_tf_efficientnet_lite0",))
                for family in ("tsn", "tsm", "convlstm", "lsn", "lsn_ss")
            ),
        ),
        "Give yours with data.train=surv_fight/index.csv model.backbone_weights=tf_efficientnet_lite0.in1k.safetensors",
        num_folds=5,
    ),
    "long": Table(
        "Parts of the memory, on two flashes far apart (synthetic)",
        (
            Row("lsn", "long"),
            Row("order_1", "long", ("model.order=1",)),
            Row("order_2", "long", ("model.order=2",)),
            Row("order_4", "long", ("model.order=4", "model.steps=4")),
            Row("steps_6", "long", ("model.steps=6",)),
            Row("no_ats", "long", ("model.memory=convlstm",)),
            Row("last_stage", "long", ("model.memory_stages=[3]",)),
            Row("last_two_stages", "long", ("model.memory_stages=[2,3]",)),
            Row("reduction_2", "long", ("model.reduction=2",)),
            Row("with_shift", "long", ("model.shift=bidirectional",)),
            Row("shift_alone", "long", ("model.memory=none", "model.shift=bidirectional")),
            Row("no_memory", "long", ("model.memory=none",)),
        ),
        "Write it: lsn data synthesize runs/data/long --kind long",
    ),
    "timelines": Table(
        "Motions in long videos (synthetic)",
        tuple(
            Row(family, "motion_timeline", _streaming(family)) for family in ("tsn", "tsm", "gru", "convlstm", "lsn")
        ),
        _WAY_TO_MOTIONS,
    ),
    "starters": Table(
        "Starter weights (synthetic)",
        (Row("motion", "motion_timeline"), Row("gestures", "gesture_timeline_pretrain")),
        f"{_WAY_TO_MOTIONS}, and: lsn data synthesize runs/data/gesture_timeline --kind gesture_timeline "
        "--num-train 500 --num-val 24 --size 96",
    ),
}
"""By the name that `lsn reproduce` takes."""


def find_table(name: str) -> Table:
    """A table by its name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TABLES:
        raise ConfigError(f"no table is called {name!r}; {did_you_mean(name, TABLES)}")
    return TABLES[name]
