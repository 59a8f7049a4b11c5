"""The card of weights that find events says what an evaluation on long videos found."""

from pathlib import Path

import numpy as np
from huggingface_hub import ModelCard
from small_recognizer import INPUT, RATES

from lsn.config import EventRules
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.models import create_model
from lsn.models.weights import save_event_rules, save_weights
from lsn.publishing.push import write_hub_folder
from lsn.streaming.timeline import Timeline
from lsn.streaming.timeline_evaluation import measured
from lsn.streaming.timeline_results import save_timelines
from lsn.video.writing.overlay import Track

LABELS = ("background", "clap", "wave_both")
RULES = EventRules(on_threshold=0.6, off_threshold=0.4, min_seconds=0, background="background")


def write_run(folder: Path) -> None:
    """One clap of two is found, no wave, and a clap is seen where nothing is."""
    model = create_model("gru_test_resnet", num_classes=3, num_frames=4)
    save_weights(folder, model, labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES, events=RULES)
    seconds_T = np.arange(200) / 10
    probabilities_TK = np.tile(np.float32([0.95, 0.03, 0.02]), (200, 1))
    for first, last in ((10, 30), (150, 170)):
        probabilities_TK[first:last] = (0.05, 0.9, 0.05)
    true = (TimelineEvent("clap", 1, 3), TimelineEvent("clap", 5, 7), TimelineEvent("wave_both", 9, 11))
    truth = TimelineManifest("/private place/test.csv", LABELS[1:], (TimelineVideo("/private place/a.mp4", true),))
    timeline = Timeline("/private place/a.mp4", Track(LABELS, probabilities_TK, seconds_T), (), (), 0.0, 20.0)
    save_timelines(measured([timeline.with_rules(RULES)], truth, RULES), folder / "test")


def test_the_card_of_weights_that_find_events(tmp_path):
    write_run(tmp_path / "run")
    text = (write_hub_folder(tmp_path / "run", "ann/claps", tmp_path / "look") / "README.md").read_text()
    card = ModelCard(text)
    assert card.data.tags == ["action-recognition", "online-action-detection", "streaming", "video"]
    scores = {result.metric_name: result.metric_value for result in card.data.eval_results or ()}
    assert scores["F1 of events at 25% overlap"] == 0.4  # one of three found, one of two right
    assert scores["false alarms an hour"] == 180
    assert "finds events of 2 actions in long videos, live streams and files" in text
    assert "On the test data (test.csv): 1 video of 0.3 minutes in all with 3 events, each run as one stream." in text
    assert "| Events found | 1 of 3 | 2 missed |" in text
    assert "  - wave\\_both: 0 of 1 found\n  - clap: 1 of 2 found" in text
    assert "lsn timeline ann/claps video.mp4 --out found" in text
    assert "private place" not in text
    assert "by other rules" not in text


def test_rules_that_were_fitted_since_are_said(tmp_path):
    write_run(tmp_path / "run")
    save_event_rules(tmp_path / "run", EventRules(on_threshold=0.9, background="background"))
    text = (write_hub_folder(tmp_path / "run", "ann/claps", tmp_path / "look") / "README.md").read_text()
    assert "The events are by other rules than those that are kept with the weights now." in text
