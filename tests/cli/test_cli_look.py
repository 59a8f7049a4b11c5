"""The commands that look at models, data and recipes."""

import re
import shlex

import pytest
from PIL import Image

from lsn.cli.ui.console import format_bytes


def rows(out: str) -> list[list[str]]:
    """The cells of the lines of a table."""
    return [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]


def test_models_lists_what_the_names_stand_for(lsn):
    answer = lsn("models", "resnet50")
    assert ["lsn_ss_resnet50", "resnet50", "ho_convlstm", "bidirectional"] in rows(answer.out)
    assert ["tsn_resnet50", "resnet50", "none", "none"] in rows(answer.out)
    assert len(answer.out.splitlines()) == 2 + 6


def test_models_takes_patterns(lsn):
    names = [row[0] for row in rows(lsn("models", "lsn_*18").out)[2:]]
    assert names == ["lsn_resnet18", "lsn_ss_resnet18"]


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"), (12_345_678, "12.3 MB")],
)
def test_bytes_have_three_digits(num_bytes, text):
    assert format_bytes(num_bytes) == text


def test_cost_adds_up_and_compares_with_the_plain_cnn(lsn):
    from lsn import create_model
    from lsn.models.cost import model_cost

    answer = lsn("cost", "lsn_resnet10t", "--size", 64, "--num-frames", 4, "--num-classes", 7)
    table = rows(answer.out)
    (total,) = [row for row in table if row[0] == "total"]
    stages = [row for row in table if row[0].startswith(("layer", "memory", "stem", "head"))]
    assert sum(int(row[2].replace(",", "")) for row in stages) == int(total[1].replace(",", ""))

    models = [create_model(f"{family}_resnet10t", num_classes=7) for family in ("lsn", "tsn")]
    with_memory, plain = (model_cost(model, height=64, width=64, num_frames=4) for model in models)
    assert int(total[1].replace(",", "")) == sum(parameter.numel() for parameter in models[0].parameters())
    assert f"{with_memory.macs / plain.macs:.3f}x the multiply-adds" in answer.out
    assert f"{with_memory.parameters / plain.parameters:.3f}x the parameters" in answer.out


def test_cost_of_weights_is_that_of_their_model(lsn, weights):
    of_weights = lsn("cost", weights, "--size", 32)
    of_name = lsn("cost", "lsn_resnet10t", "--size", 32, "--num-frames", 2, "--num-classes", 10)
    assert of_weights.out == of_name.out
    assert "2 frames of 32x32, 10 classes" in of_name.out


def test_cost_of_a_cnn_without_memory_has_nothing_to_compare(lsn):
    answer = lsn("cost", "tsn_resnet10t", "--size", 32, "--num-frames", 1)
    assert "total" in answer.out
    assert "without memory" not in answer.out


def test_check_is_content_with_sound_data(lsn, videos):
    answer = lsn("data", "check", videos.train, videos.val, "--decode")
    assert answer.code == 0
    assert f"{videos.train}: 20 clips of 10 classes" in answer.out
    assert answer.out.endswith("No problems.\n")


def test_check_lists_every_problem_and_fails(lsn, videos, tmp_path):
    lines = videos.train.read_text(encoding="utf-8").splitlines()
    label = lines[1].split(",")[1]
    path = tmp_path / "train.csv"
    path.write_text("\n".join([lines[0], f"gone.mp4,{label}", "also_gone.mp4,flying", *lines[1:]]), encoding="utf-8")
    answer = lsn("data", "check", path, videos.val, "--root", videos.train.parent)
    assert answer.code == 2
    assert "2 of 22 files are missing" in answer.out
    assert "gone.mp4" in answer.out
    assert "warning" in answer.out
    assert "flying" in answer.out
    assert answer.err.count("\n") == 1
    assert str(path) in answer.err


def test_check_finds_a_clip_that_both_splits_have(lsn, videos):
    answer = lsn("data", "check", videos.train, videos.train)
    assert answer.code == 2
    assert "20 clips of val also in train" in answer.out


def test_show_counts_classes_and_looks_into_the_files(lsn, videos):
    answer = lsn("data", "show", videos.train)
    assert answer.code == 0
    for label in videos.labels:
        assert [label, "2"] in [row[:2] for row in rows(answer.out)]
    assert "20 clips, 10 classes" in answer.out
    assert "32x32 (20)" in answer.out
    assert "Frames: 8 to 8" in answer.out


def test_show_draws_a_contact_sheet_that_tells_what_cannot_be_read(lsn, videos, clip, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video", encoding="utf-8")
    path = tmp_path / "mine.csv"
    path.write_text(f"path,label\n{clip},good\nbroken.mp4,bad\n", encoding="utf-8")
    sheet = tmp_path / "sheet.png"
    answer = lsn("data", "show", path, "--sheet", sheet)
    assert answer.code == 0
    assert "unreadable" in answer.out
    assert "broken.mp4" in answer.out
    with Image.open(sheet) as picture:
        assert picture.width >= 8 * 96  # eight frames, enlarged to 96 pixels
        assert len(picture.getcolors(picture.width * picture.height)) > 100  # more than text on white


def test_a_contact_sheet_is_a_picture(lsn, videos, tmp_path):
    answer = lsn("data", "show", videos.val, "--sheet", tmp_path / "sheet.txt")
    assert answer.code == 2
    assert "sheet.txt" in answer.err.splitlines()[-1]


def test_synthesize_writes_a_set_that_passes_its_own_check(lsn, tmp_path):
    folder = tmp_path / "set"
    answer = lsn(
        *("data", "synthesize", folder, "--num-train", 10, "--num-val", 10),
        *("--size", 32, "--num-frames", 4, "--workers", 0),
    )
    assert answer.code == 0
    assert f"Train on {folder / 'train.csv'}, validate on {folder / 'val.csv'}." in answer.out
    assert lsn("data", "check", folder / "train.csv", folder / "val.csv").code == 0


@pytest.mark.parametrize(("kind", "num_frames"), [("motion", 16), ("long", 48), ("gestures", 32)])
def test_the_usual_size_and_length_suit_every_kind(lsn, tmp_path, kind, num_frames):
    folder = tmp_path / kind
    few = ("--num-train", 10, "--num-val", 10, "--workers", 0)
    assert lsn("data", "synthesize", folder, "--kind", kind, *few).code == 0
    assert f"Frames: {num_frames} to {num_frames}," in lsn("data", "show", folder / "val.csv").out


def test_recipes_are_listed_shown_and_copied(lsn, tmp_path):
    listed = lsn("recipes").out
    assert listed == lsn("recipes", "list").out
    assert {row[0] for row in rows(listed)} >= {"demo", "default", "fight", "gestures", "long", "two_events"}
    shown = lsn("recipes", "show", "fight").out
    assert lsn("recipes", "copy", "fight", tmp_path).code == 0
    assert (tmp_path / "fight.yaml").read_text(encoding="utf-8") == shown


def test_a_copied_recipe_is_trained_as_the_answer_says(lsn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ((), ("mine.yaml",), ("folder/mine.yaml",)):
        answer = lsn("recipes", "copy", "default", *arguments)
        command = shlex.split(answer.out.split("then: lsn ")[1])
        assert "data.train is not set" in lsn(*command).err  # it was found and read


def test_a_copy_never_replaces_your_own_unasked(lsn, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("mine", encoding="utf-8")
    assert "--overwrite" in lsn("recipes", "copy", "demo", path).one_error_line()
    assert path.read_text(encoding="utf-8") == "mine"
    assert lsn("recipes", "copy", "demo", path, "--overwrite").code == 0
    assert path.read_text(encoding="utf-8") == lsn("recipes", "show", "demo").out
