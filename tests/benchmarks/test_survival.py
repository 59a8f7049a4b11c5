"""A batch on Ray itself, whose workers and command are killed."""

import numpy as np
import pytest
from small_recognizer import INPUT, LABELS, RATES, lively_model, noisy_frames

from lsn.config import EventRules
from lsn.models.weights import save_weights
from lsn.streaming import StreamingPredictor
from lsn.streaming.timeline import make_timeline
from lsn.video import write_video

pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("ray")


@pytest.mark.slow
def test_a_batch_whose_processes_are_killed_has_the_tables_of_one_that_nobody_disturbs(import_script, tmp_path, capsys):
    for number in range(4):
        write_video(tmp_path / "videos" / f"{number}.mp4", noisy_frames(number, num_frames=30 + 20 * number), fps=10)
    (tmp_path / "videos/broken.mp4").write_text("no video")
    events = EventRules(on_threshold=0.3, off_threshold=0.25, min_seconds=0.1, background="stay")
    save_weights(
        tmp_path / "weights", lively_model(), labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES, events=events
    )
    killing = ["batch", str(tmp_path / "out"), str(tmp_path / "videos"), "--weights", str(tmp_path / "weights")]
    assert import_script("survival").main([*killing, "--workers", "1", "--kills", "1", "--driver-kills", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("equal") == 3
    assert "killed 1 workers and 1 drivers" in out

    predictor = StreamingPredictor(tmp_path / "weights")
    found = pq.read_table(tmp_path / "out/killed/events.parquet").to_pylist()
    for number in range(4):
        path = str(tmp_path / "videos" / f"{number}.mp4")
        own = [row for row in found if row["path"] == path]
        expected = make_timeline(predictor, path).events
        assert [(row["label"], row["start_seconds"]) for row in own] == [
            (event.label, event.start_seconds) for event in expected
        ]
        np.testing.assert_allclose([row["peak"] for row in own], [event.peak for event in expected], atol=1e-5)
