import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from report_helpers import Page, anytime, evaluation, prediction

import lsn
from lsn.config import InputConfig
from lsn.errors import LSNError
from lsn.evaluation.result import load_evaluation
from lsn.models.weights import load_weights, save_weights
from lsn.report.cases import pick, story_of, thumbnails
from lsn.report.write import write_report
from lsn.video import array_reader, write_video

LABELS = ["left & right", "up", "<b>bold</b>"]
NUM_FRAMES = 20


def write_brightening_video(path: Path) -> None:
    """Frame i is grey 10 * i, so that a picture shows its index."""
    levels = np.arange(NUM_FRAMES, dtype=np.uint8)[:, None, None, None] * 10
    write_video(path, torch.from_numpy(np.broadcast_to(levels, (NUM_FRAMES, 48, 64, 3)).copy()), fps=10)


@pytest.fixture
def run_folder(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    """A run with weights that was evaluated on six videos, three of them mistakes."""
    (tmp_path / "videos").mkdir()
    source = tmp_path / "source.mp4"
    write_brightening_video(source)
    rows = []
    for number in range(6):
        path = tmp_path / "videos" / f"{number}.mp4"
        shutil.copy(source, path)
        label, guess = LABELS[number % 3], LABELS[(number if number < 3 else number + 1) % 3]
        rows.append(prediction(label, guess, 0.6 + number / 20, path=str(path)))
    folder = make_run(evaluation(LABELS, rows, [("gone/<i>\udcff.mp4", "cut & dried")]))
    model = lsn.create_model("lsn_resnet10t", num_classes=3, num_frames=4)
    save_weights(folder, model, labels=LABELS, input=InputConfig(size=32, short_side=32), metrics={"epoch": 2})
    return folder


def test_the_report_is_one_well_formed_file_that_needs_no_other(run_folder: Path) -> None:
    path = write_report(run_folder)
    assert path == run_folder / "report.html"
    page = Page(path)
    assert len(page.ids) == len(set(page.ids))
    links = [attributes.get("href") or "" for _, attributes in page.elements if "href" in attributes]
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= set(page.ids)
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not any(name in {"script", "iframe", "link"} and "src" in attributes for name, attributes in page.elements)
    assert not re.search(r"https?://|@import|url\(", path.read_text(encoding="utf-8"))


def test_names_are_shown_and_never_become_markup(run_folder: Path) -> None:
    path = write_report(run_folder)
    text = Page(path).text
    assert "<b>bold</b>" in text and "left & right" in text
    assert "gone/<i>?.mp4" in text and "cut & dried" in text
    assert "<b>bold" not in path.read_text(encoding="utf-8") and "<i>" not in path.read_text(encoding="utf-8")


def test_the_report_says_what_was_run_and_how_well(run_folder: Path) -> None:
    text = Page(write_report(run_folder)).text
    for expected in (
        "lsn_resnet10t",
        "50.0%",  # top-1
        "95% interval 19% to 81%",  # Wilson, three of six
        "12.5%",  # calibration error
        "7 videos of test.csv",
        "4x1x1 frames x clips x crops, 32 px of 32",
        "4 frames, one frame a segment, 32 × 32 pixels",
        "epoch 2, the best by top-1 on the validation data",
        "weights by LSN",
        "num_frames: 4",  # the recipe
        "memory 3",  # the cost table
        "1 clip left out",
    ):
        assert expected in text, expected


def test_the_report_of_a_test_is_as_whole_as_that_of_a_training(run_folder: Path, tmp_path: Path) -> None:
    def text_of(page: Page) -> str:
        """All text but for what may differ: where the weights are, and the footer."""
        return page.text.partition("Written by LSN")[0].replace(f"Weights{run_folder}", "")

    own = Page(write_report(run_folder))
    test = tmp_path / "test"
    test.mkdir()
    for name in ("evaluation.json", "predictions.csv"):
        (run_folder / name).rename(test / name)
    page = Page(write_report(test, weights=run_folder))
    assert page.ids == own.ids
    assert [image.tobytes() for image in page.images()] == [image.tobytes() for image in own.images()]
    assert text_of(page) == text_of(own)
    assert f"Weights{run_folder}" in page.text


def test_stories_show_the_frames_that_the_protocol_samples(run_folder: Path) -> None:
    images = Page(write_report(run_folder)).images()
    assert len(images) == 6 * 4  # three mistakes and three right ones, four frames each
    levels = [np.asarray(image).mean() for image in images[:4]]
    # Test sampling takes the middle frames of four segments of five.
    assert levels == pytest.approx([20, 70, 120, 170], abs=4)


def test_evidence_is_what_each_frame_gives(run_folder: Path) -> None:
    loaded = load_weights(run_folder)
    story = story_of(load_evaluation(run_folder).rows[4], loaded)
    assert story.pts_seconds == pytest.approx([0.2, 0.7, 1.2, 1.7])
    frames = torch.tensor([20.0, 70, 120, 170]).view(1, 4, 1, 1, 1).expand(1, 4, 3, 32, 32) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (loaded.model.mean, loaded.model.std))
    with torch.inference_mode():
        expected = loaded.model.forward_frames((frames - mean) / std)[0].softmax(-1)
    assert torch.allclose(story.probabilities_TK, expected, atol=0.02)  # video coding moves grey by a level or so


def test_a_part_of_a_file_is_shown_as_that_part(run_folder: Path) -> None:
    row = load_evaluation(run_folder).rows[4]
    part = replace(row, clip=replace(row.clip, first_frame=8, last_frame=12))
    story = story_of(part, load_weights(run_folder))
    assert story.pts_seconds == pytest.approx([0.8, 0.9, 1.0, 1.1])


def test_stories_are_the_surest_mistakes_and_right_ones_of_different_classes() -> None:
    rows = [prediction("a", "a", 0.9 + i / 1000) for i in range(9)]
    rows += [prediction("b", "b", 0.5), *(prediction("a", "b", 0.5 + i / 100) for i in range(9))]
    mistakes, right = pick(rows)
    assert mistakes == [rows[i] for i in (18, 17, 16, 15, 14, 13)]
    assert right == [rows[8], rows[9]]


@pytest.mark.parametrize("num_frames", [1, 4, 16, 17, 48, 100])
def test_thumbnails_are_spread_over_the_clip(num_frames: int) -> None:
    video = array_reader(torch.zeros(num_frames, 30, 40, 3, dtype=torch.uint8), fps=10)
    shown, files = thumbnails(video, range(num_frames))
    assert len(shown) == len(files) == min(num_frames, 16)
    assert shown == sorted(set(shown)) and shown[0] >= 0 and shown[-1] < num_frames
    assert shown[0] + shown[-1] == pytest.approx(num_frames - 1, abs=1.1)  # as far from the start as from the end


@pytest.mark.parametrize(
    "missing", ["evaluation.json", "predictions.csv", "metrics.jsonl", "recipe.yaml", "config.json"]
)
def test_missing_files_are_said_in_the_report(run_folder: Path, missing: str) -> None:
    (run_folder / missing).unlink()
    assert missing in Page(write_report(run_folder)).text


def test_moved_and_broken_videos_are_said_in_the_report(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "videos" / "3.mp4").write_text("not a video")
    (tmp_path / "videos" / "1.mp4").unlink()
    page = Page(write_report(run_folder))
    assert page.text.count("Not shown, because the video cannot be read") == 2
    assert "3.mp4" in page.text and "1.mp4" in page.text
    assert len(page.images()) == 4 * 4


def test_weights_of_other_classes_are_said_in_the_report(run_folder: Path) -> None:
    model = lsn.create_model("lsn_resnet10t", num_classes=2, num_frames=4)
    save_weights(run_folder, model, labels=["a", "b"], input=InputConfig(size=32, short_side=32), metrics={})
    page = Page(write_report(run_folder))
    assert "other classes than the evaluation" in page.text and page.images() == []


def test_a_run_that_has_only_begun_has_a_report(run_folder: Path) -> None:
    for path in run_folder.iterdir():
        if path.name not in {"recipe.yaml", "metrics.jsonl"}:
            path.unlink()
    (run_folder / "metrics.jsonl").write_text("")
    text = Page(write_report(run_folder)).text
    assert "not evaluated yet" in text and "no curves to draw" in text


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LSNError, match="no such run folder"):
        write_report(tmp_path / "nowhere")


def test_how_soon_it_knows_is_told_where_it_was_measured(run_folder: Path) -> None:
    before = Page(write_report(run_folder))
    assert "soon" not in before.ids and "How soon it knows" not in before.text
    replace(load_evaluation(run_folder), anytime=anytime()).save(run_folder)
    page = Page(write_report(run_folder))
    assert page.ids.index("soon") == page.ids.index("calibration") + 1
    assert "When to stop looking" in page.text
    assert [key for key in page.ids if key != "soon"] == before.ids


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("Debian's chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.slow
def test_a_browser_shows_it_without_complaint_at_any_width(run_folder: Path, browser) -> None:
    replace(load_evaluation(run_folder), anytime=anytime()).save(run_folder)
    path, complaints = write_report(run_folder), []
    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url),
    )
    for width in (360, 390, 768, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        header = page.locator("header.summary")
        page.evaluate("window.scrollTo(0, 1500)")
        assert header.bounding_box()["y"] == pytest.approx(0, abs=1)  # it stays in sight
    page.locator("summary", has_text="recipe").click()
    assert page.locator("pre").is_visible()
    assert complaints == []
