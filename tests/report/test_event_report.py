"""The report on long videos: what it shows is what was found, and a browser shows it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from report_helpers import Page
from video_files import encode_pictures

from lsn.config import EventRules
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.errors import DataError
from lsn.report.event_results import false_alarm_points, latencies, precision_points
from lsn.report.event_videos import false_alarms, misses
from lsn.report.write import write_report
from lsn.streaming.timeline import Timeline
from lsn.streaming.timeline_evaluation import measured
from lsn.streaming.timeline_results import load_timelines, save_timelines
from lsn.video.writing.overlay import Track

LABELS = ("background", "clap", "wave & more")
RULES = EventRules(on_threshold=0.6, off_threshold=0.4, min_seconds=0, background="background")


def timeline_of(path, *spans, start=0.0):
    """Ten seconds of answers at ten a second: background but for (label, from, to, probability)."""
    seconds_T = start + np.arange(100) / 10
    probabilities_TK = np.tile(np.float32([0.95, 0.03, 0.02]), (100, 1))
    for label, first, last, probability in spans:
        row = np.full(3, 0.02, dtype=np.float32)
        row[LABELS.index(label)], row[0] = probability, 0.98 - probability
        probabilities_TK[round(10 * first) : round(10 * last)] = row
    return Timeline(str(path), Track(LABELS, probabilities_TK, seconds_T), (), (), start, 10.0).with_rules(RULES)


@pytest.fixture
def evaluation(tmp_path):
    """Two videos: a clap found late, a wave missed, a clap seen where a wave is, and one where nothing is."""
    one, two = tmp_path / "one.mp4", tmp_path / "two.mkv"
    encode_pictures(one, num_frames=100, rate=10)
    encode_pictures(two, num_frames=100, rate=10, times=[30 + number for number in range(100)])
    truth = TimelineManifest(
        "val.csv",
        LABELS[1:],
        (
            TimelineVideo(str(one), (TimelineEvent("clap", 1.0, 3.0), TimelineEvent("wave & more", 5.0, 6.0))),
            TimelineVideo(str(two), (TimelineEvent("wave & more", 2.0, 4.0),), group="kitchen"),
        ),
    )
    timelines = [
        timeline_of(one, ("clap", 1.5, 3.0, 0.9), ("wave & more", 5.0, 6.0, 0.35)),
        timeline_of(two, ("clap", 2.0, 4.0, 0.8), ("clap", 7.0, 8.0, 0.7), start=3.0),
    ]
    return measured(timelines, truth, RULES, unreadable=(("gone.mp4", "no such file"),))


def test_what_is_saved_is_loaded_whole(evaluation, tmp_path):
    save_timelines(evaluation, tmp_path / "out")
    again = load_timelines(tmp_path / "out")
    assert again.metrics.to_dict() == evaluation.metrics.to_dict()
    assert (again.rules, again.unreadable) == (evaluation.rules, evaluation.unreadable)
    assert again.found.videos[0].events == evaluation.found.videos[0].events
    assert again.truth == evaluation.truth
    save_timelines(again, tmp_path / "again")
    for name in ("events.csv", "frames.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    one, other = (json.loads((tmp_path / folder / "timelines.json").read_text()) for folder in ("out", "again"))
    assert one == other


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "frames.safetensors").unlink(),
        lambda folder: (folder / "timelines.json").write_text("{}"),
        lambda folder: (folder / "timelines.json").write_text(
            (folder / "timelines.json").read_text().replace('"background", "clap"', '"clap"')
        ),
        lambda folder: (folder / "timelines.json").unlink(),
    ],
)
def test_a_damaged_evaluation_is_named(evaluation, tmp_path, damage):
    save_timelines(evaluation, tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(DataError, match=r"timelines\.json: "):
        load_timelines(tmp_path / "out")


def test_misses_false_alarms_and_delays_are_those_of_the_events(evaluation):
    assert [(case.video, case.event.label) for case in misses(evaluation)] == [(1, "wave & more"), (0, "wave & more")]
    assert [round(case.confidence, 2) for case in misses(evaluation)] == [0.02, 0.35]
    alarms = false_alarms(evaluation)
    assert [(case.video, case.event.start_seconds) for case in alarms] == [(1, 2.0), (1, 7.0)]
    assert alarms[0].confidence == pytest.approx(0.8, abs=0.01)
    ((video, reported),) = latencies(evaluation)
    assert (video, reported.number) == (0, 0)
    assert (reported.seconds, reported.right_seconds) == (1.5, 1.5)
    np.testing.assert_allclose(precision_points(evaluation), [(1 / 3, 1), (1 / 3, 1 / 2), (1 / 3, 1 / 3)])
    points = false_alarm_points(evaluation)
    assert points[0] == (0.0, 0.0), "nothing reaches the highest threshold"
    assert max(found for _, found in points) == pytest.approx(2 / 3), "at a low one the first wave is found"


@pytest.fixture
def page_path(evaluation, tmp_path):
    save_timelines(evaluation, tmp_path / "out")
    return write_report(tmp_path / "out")


def test_the_page_shows_every_event_with_its_frames(page_path):
    page = Page(page_path)
    assert page.ids == ["result", "run", "curves", "events", "timelines", "mistakes", "weights", "unreadable"]
    text = page_path.read_text(encoding="utf-8")
    assert "1 of 2 events found, 0 false, 10 s" in text and "0 of 1 events found, 2 false, 10 s" in text
    assert text.count("<title>missed: wave &amp; more") == 2 and text.count("<title>false: clap") == 2
    assert "what happened was wave &amp; more" in text and "nothing happened" in text
    assert "gone.mp4" in text
    for frames in re.findall(r'data-frames="(.*?)"', text):
        assert len(json.loads(frames.replace("&quot;", '"'))) == 48


def test_videos_that_are_gone_are_said_and_the_rest_is_shown(page_path, evaluation):
    Path(evaluation.truth.videos[0].path).unlink()
    text = write_report(page_path.parent).read_text(encoding="utf-8")
    assert "No frames are shown, because the video cannot be read" in text and "two.mkv" in text


@pytest.mark.slow
def test_a_browser_zooms_and_shows_the_frame_under_the_cursor(page_path):
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("Debian's chromium is not installed")
    complaints = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 800})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(page_path.as_uri())
        card = page.locator(".timeline").first
        chart, hover = card.locator(".stretch"), card.locator(".hover")
        assert not hover.is_visible()
        width = chart.bounding_box()["width"]
        chart.hover(position={"x": 0.25 * width, "y": 30})
        assert hover.is_visible()
        assert float(hover.locator("span").inner_text().removesuffix(" s")) == pytest.approx(2.5, abs=0.05)
        first = hover.locator("img").get_attribute("src")
        chart.hover(position={"x": 0.75 * width, "y": 30})
        assert hover.locator("img").get_attribute("src") != first
        card.locator("input").evaluate("e => { e.value = 4; e.dispatchEvent(new Event('input')); }")
        assert chart.bounding_box()["width"] == pytest.approx(4 * width, rel=0.01)
        assert page.evaluate("document.documentElement.scrollWidth") <= 900, "the chart scrolls, not the page"
        browser.close()
    assert complaints == []
