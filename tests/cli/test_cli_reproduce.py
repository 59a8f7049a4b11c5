"""`lsn reproduce`, on sets so small that its figures mean nothing, through the real command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lsn.cli.app import main
from lsn.config.recipes.tables import TABLES, Row, find_table
from lsn.data.synthetic import write_synthetic

SMALL = [
    "training.epochs=1",
    "training.min_steps_per_epoch=1",
    "optim.warmup_epochs=0",
    "input.size=32",
    "input.short_side=32",
    "data.num_workers=0",
    "model.num_frames=4",
]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The long set in small, as overrides; the working folder is empty but for it."""
    monkeypatch.chdir(tmp_path)
    written = write_synthetic("long", kind="long", num_train=4, num_val=2, size=32)
    return [f"data.train={written.train}", f"data.val={written.val}"]


def saved_recipe(folder):
    return yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))


def test_a_row_is_trained_once_a_seed_and_the_table_has_mean_and_range(tmp_path, data, capsys):
    arguments = ["reproduce", "long", "lsn", "no_memory", *data, *SMALL, "--seeds", "2", "--out", "runs"]
    assert main(arguments) == 0
    out = tmp_path / "runs/long"
    rows = json.loads((out / "table.json").read_text())
    assert [row["name"] for row in rows] == ["lsn", "no_memory"]
    for row in rows:
        measured = [
            100 * json.loads((out / row["name"] / f"seed{seed}/evaluation.json").read_text())["metrics"]["top1"]
            for seed in (0, 1)
        ]
        assert row["scores"] == pytest.approx(measured)
        assert row["mean"] == pytest.approx(sum(measured) / 2)
        assert (row["protocol"], row["num_videos"]) == ("4x1x1", 2)
    assert saved_recipe(out / "lsn/seed1")["training"]["seed"] == 1
    assert saved_recipe(out / "no_memory/seed0")["model"]["memory"] == "none"
    said = capsys.readouterr().out
    assert "2 videos; 2 seeds, mean (range)." in said

    before = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert main([*arguments, "--into", "page.md"]) == 2
    assert "page.md: cannot be read" in capsys.readouterr().err
    (tmp_path / "page.md").write_text("# Mine\n<!-- table: long -->\nold\n<!-- end: long -->\nrest\n")
    assert main([*arguments, "--into", "page.md"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == before
    page = (tmp_path / "page.md").read_text()
    assert page == f"# Mine\n<!-- table: long -->\n{(out / 'table.md').read_text()}<!-- end: long -->\nrest\n"


def test_a_finished_run_with_other_settings_is_not_taken_for_this_one(tmp_path, data, capsys):
    arguments = ["reproduce", "long", "no_memory", *data, *SMALL, "--out", "runs"]
    assert main(arguments) == 0
    assert main([*arguments, "optim.learning_rate=0.1"]) == 2
    assert "holds a run with other settings; delete it" in capsys.readouterr().err


@pytest.mark.slow
def test_a_row_starts_from_what_is_trained_before_it(tmp_path, data, monkeypatch):
    train, val = (override.partition("=")[2] for override in data)
    start = Row("movements", "long", (f"data.train={val}", f"data.val={train}"))
    table = TABLES["long"]
    monkeypatch.setitem(TABLES, "long", type(table)("Mine", (Row("mine", "long", start=start),), ""))

    few = "data.clips_per_class=1"  # of the row, not of what it starts from
    assert main(["reproduce", "long", *data, few, *SMALL, "--seeds", "2", "--out", "runs"]) == 0

    for seed in (0, 1):
        initial = saved_recipe(tmp_path / f"runs/long/mine/seed{seed}")["model"]["initial_weights"]
        assert initial == f"runs/long/movements/seed{seed}"
        started = saved_recipe(tmp_path / f"runs/long/movements/seed{seed}")
        assert started["training"]["seed"] == seed
        data_of_start = started["data"]
        assert (data_of_start["train"], data_of_start["val"], data_of_start["num_workers"]) == (val, train, 0)
        assert data_of_start["clips_per_class"] == 0


def test_finished_rows_with_the_same_settings_stay_in_the_table(tmp_path, data):
    def rows_of_table():
        return [row["name"] for row in json.loads((tmp_path / "runs/long/table.json").read_text())]

    common = [*data, *SMALL, "--out", "runs"]
    assert main(["reproduce", "long", "no_memory", *common]) == 0
    assert main(["reproduce", "long", "shift_alone", *common]) == 0
    assert rows_of_table() == ["shift_alone", "no_memory"]
    assert main(["reproduce", "long", "last_stage", *common, "optim.learning_rate=0.1"]) == 0
    assert rows_of_table() == ["last_stage"]


def test_a_probe_that_was_stopped_is_done_again_and_other_rows_are_let_alone(tmp_path, data, monkeypatch, capsys):
    rows = tuple(Row(name, "long", is_probe=True) for name in ("mine", "other"))
    monkeypatch.setitem(TABLES, "long", type(TABLES["long"])("Mine", rows, "", num_folds=2))
    arguments = ["reproduce", "long", "mine", *data, *SMALL, "--out", "runs"]
    assert main(arguments) == 0
    mine = tmp_path / "runs/long/mine/seed0/fold1"
    (mine / "report.html").unlink()
    capsys.readouterr()
    assert main(arguments) == 0
    assert (mine / "report.html").is_file()
    assert capsys.readouterr().out.count("done already") == 1
    assert not (tmp_path / "runs/long/other").exists()

    (mine / "report.html").unlink()
    assert main([*arguments, "model.num_frames=3"]) == 2
    assert "holds a run with other settings; delete it" in capsys.readouterr().err


@pytest.mark.slow
def test_a_probe_on_two_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = write_synthetic("long", kind="long", num_train=8, num_val=2, size=32)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    given = [f"data.train={written.train}", f"data.val={written.val}", "data.group_column=null"]
    given += ["model.backbone_weights=null", *SMALL, "--out", "runs"]
    command = [*torchrun, "-m", "lsn", "reproduce", "fight", "linear_probe", *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = json.loads((tmp_path / "runs/fight/table.json").read_text())
    assert (row["name"], row["num_videos"]) == ("linear_probe", 10)


@pytest.mark.slow
def test_a_table_on_two_processes(tmp_path, data):
    """A row with two seeds under torchrun, one of which is there: every process walks the same plan, and one prints."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["reproduce", "long", "no_memory", *data, *SMALL, "training.batch_size=2", "--out", "runs"]
    assert main(command) == 0
    command = [*torchrun, "-m", "lsn", *command, "--seeds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "runs/long/table.json").read_text())
    assert [(row["name"], len(row["scores"])) for row in rows] == [("no_memory", 2)]
    assert done.stdout.count("done already") == 1


def test_a_start_that_is_there_already_is_named_once_for_all_rows(tmp_path, data, monkeypatch):
    common = [*data, *SMALL, "--out", "runs"]
    assert main(["reproduce", "long", "no_memory", *common]) == 0
    weights = tmp_path / "runs/long/no_memory/seed0"
    start = Row("never trained", "long", ("data.train=nowhere.csv",))
    rows = (Row("mine", "long", ("model.memory=none", "model.pretrained=false"), start=start),)
    monkeypatch.setitem(TABLES, "long", type(TABLES["long"])("Mine", rows, ""))

    given = [f"model.initial_weights={weights}", "model.backbone_weights=for_rows_without_a_start.safetensors"]
    assert main(["reproduce", "long", *common, *given]) == 0

    assert saved_recipe(tmp_path / "runs/long/mine/seed0")["model"]["initial_weights"] == str(weights)
    assert not (tmp_path / "runs/long/never_trained").exists()


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_run_that_was_stopped_before_its_recipe_was_written_starts_again(tmp_path, data, monkeypatch, is_killed):
    def stop(*_, **__):
        raise KeyboardInterrupt

    arguments = ["reproduce", "long", "no_memory", *data, *SMALL, "--out", "runs"]
    run = tmp_path / "runs/long/no_memory/seed0"
    with monkeypatch.context() as patch:
        patch.setattr("lsn.training.folder.Tracker", stop)
        if is_killed:  # what is killed removes nothing
            patch.setattr("lsn.training.folder._remove_start", lambda out: None)
        assert main(arguments) == 130
    assert run.exists() == is_killed
    assert main([*arguments, "optim.learning_rate=0.05"]) == 0  # corrected, too
    assert (run / "report.html").is_file()


def test_the_page_is_looked_at_before_anything_is_trained(tmp_path, data, capsys):
    (tmp_path / "page.md").write_text("no place")
    assert main(["reproduce", "long", "lsn", *data, *SMALL, "--out", "runs", "--into", "page.md"]) == 2
    assert "has no place for this table" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_missing_data_of_a_start_is_explained_by_its_own_table(tmp_path, data, capsys):
    assert main(["reproduce", "diving48", "lsn_ss_from_something", *data, "data.labels=null"]) == 2
    said = capsys.readouterr().err
    assert "data/something-something-v2/train.csv is not there. Ask for the videos" in said


@pytest.mark.parametrize("name", ["something-something-v1", "something-something-v2", "diving48"])
def test_without_data_it_says_what_is_missing_and_where_to_ask(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", name]) == 2
    said = capsys.readouterr().err
    assert f"data/{name}/train.csv is not there" in said
    assert f"lsn data prepare {name}" in said
    assert "://" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["something-v1"], "no table is called 'something-v1'; did you mean 'something-something-v1'?"),
        (["long", "lns"], "no row 'lns'; did you mean 'lsn'?"),
        (["long", "--seeds", "0"], "--seeds is 0"),
        (["long", "optim.rate=3"], "unknown key 'rate'"),
        (["long", "model.name=tsn_resnet50"], "model.name is what the rows of a table differ in"),
        (["long", "training.seed=7"], "--seeds says how many"),
    ],
)
def test_mistakes_are_named(arguments, expected, capsys):
    assert main(["reproduce", *arguments]) == 2
    assert expected in capsys.readouterr().err.replace("\n", " ")


def test_without_a_table_all_are_listed(capsys):
    assert main(["reproduce"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in TABLES)
    assert "lsn_ss_best" in said


def test_the_published_figures_are_those_of_the_paper():
    published = {
        (name, row.name): row.published for name, table in TABLES.items() for row in table.rows if row.published
    }
    assert published == {
        ("something-something-v1", "lsn"): 45.7,
        ("something-something-v2", "lsn"): 56.1,
        ("something-something-v1", "lsn_ss"): 50.4,
        ("something-something-v2", "lsn_ss"): 62.3,
        ("diving48", "lsn_ss"): 82.3,
        ("diving48", "lsn_ss_from_something"): 84.0,
    }


@pytest.mark.parametrize("name", TABLES)
def test_every_row_of_every_table_is_a_valid_recipe(name):
    from lsn.cli.commands.reproduce import _plan

    for row in find_table(name).rows:
        config = _plan(row, [], Path(), seed=0).config
        if row.published:
            clips = 1 if row.name == "lsn" else 2
            assert (config.model.num_frames, config.evaluation.num_clips, config.evaluation.num_crops) == (16, clips, 1)


def test_given_weights_are_for_the_rows_that_would_fetch_or_train_theirs():
    from lsn.cli.commands.reproduce import _plan_seeds

    table = find_table("few-gestures")
    given = ("model.backbone_weights=cnn.safetensors", "model.initial_weights=runs/mine")
    models = {
        row.name: [(run.config.model, run.start) for run in _plan_seeds(row, table, given, Path(), 1)]
        for row in table.rows
    }
    starts = {
        name: (model.pretrained, model.backbone_weights, model.initial_weights, start)
        for name, [(model, start)] in models.items()
    }
    assert starts["linear_probe_5"][1:] == starts["imagenet_5"][1:] == ("cnn.safetensors", None, None)
    assert starts["random_5"] == (False, None, None, None)
    assert starts["synthetic_5"] == (False, None, "runs/mine", None)
    [run] = _plan_seeds(table.choose(["synthetic_5"])[0], table, given[:1], Path(), 1)
    assert run.start is not None and run.start.config.model.backbone_weights is None


@pytest.mark.parametrize("name", ["something-something-v1", "something-something-v2", "diving48", "gestures", "fight"])
def test_baselines_have_the_budget_of_the_lsn_beside_them(name):
    from dataclasses import replace

    from lsn.cli.commands.reproduce import _plan

    by_name = {row.name: _plan(row, [], Path(), seed=0) for row in find_table(name).rows}
    lsn = by_name.get("lsn", by_name["lsn_ss"])
    for baseline in ("tsn", "tsm", "convlstm"):
        mine, theirs = by_name[baseline], lsn
        while mine is not None and theirs is not None:  # the model, and what it starts from
            name, start = mine.config.model.name, mine.config.model.initial_weights
            model = replace(theirs.config.model, name=name, initial_weights=start)
            assert mine.config == replace(theirs.config, model=model)
            mine, theirs = mine.start, theirs.start
        assert mine is theirs is None


@pytest.mark.slow
def test_a_table_of_long_videos_has_the_f1_of_events(tmp_path, monkeypatch, capsys):
    from lsn.cli import main

    monkeypatch.chdir(tmp_path)
    write_synthetic(
        "runs/data/timeline", kind="timeline", num_train=2, num_val=4, size=48, num_frames=200, num_workers=0
    )
    short = [
        "data.num_workers=0",
        "input.size=32",
        "input.short_side=32",
        "training.epochs=1",
        "training.tbptt_frames=8",
        "timelines.stretch_frames=8",
    ]
    assert main(["reproduce", "timelines", "tsm", *short]) == 0
    out = capsys.readouterr().out
    assert "Frames per second" in out and "F1 in percent of events with an overlap of 25%" in out
    (row,) = json.loads((tmp_path / "runs/tables/timelines/table.json").read_text())
    found = json.loads((tmp_path / "runs/tables/timelines/tsm/seed0/timelines.json").read_text())["metrics"]
    assert row["scores"] == [round(100 * found["f1"]["25"], 2)]
    assert (row["protocol"], row["num_videos"]) == ("7.5", 4)
