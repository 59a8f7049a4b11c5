"""The live view on a terminal of 140 columns."""

import numpy as np
from rich.console import Console

from lsn.cli.ui.live_view import LiveView
from lsn.streaming import StreamPrediction
from lsn.video.live.capture_thread import FrameCounts


def answer(stream: str, seconds: float, probabilities) -> StreamPrediction:
    return StreamPrediction(
        stream=stream,
        seconds=seconds,
        pts_seconds=seconds,
        labels=("wave", "clap", "nothing"),
        probabilities=np.array(probabilities, dtype=np.float32),
        frame_probabilities=np.array(probabilities, dtype=np.float32),
        num_frames=1,
        reset=None,
        events=(),
        frame_HWC=np.zeros((1, 1, 3), np.uint8),
        timings_ms={"wait": 1.0, "decode": 2.0, "transform": 3.0, "model": 4.0},
    )


def test_every_stream_has_bars_rate_latencies_and_losses():
    console = Console(force_terminal=True, width=140, record=True, color_system=None)
    with LiveView(console) as view:
        view.say("an event")
        view.show(answer("door", 1.0, (0.2, 0.7, 0.1)), FrameCounts(10, 5, 2, 1, 3))
        view.show(answer("yard", 2.0, (0.9, 0.05, 0.05)), FrameCounts(7, 7, 0, 0, 0))
        view.show(answer("door", 1.5, (0.1, 0.8, 0.1)), FrameCounts(11, 6, 2, 1, 3))
    text = console.export_text()
    lines = text[text.rindex("door  1.5 s") :].splitlines()
    assert "an event" in text
    assert "ms: wait 1, decode 2, transform 3, model 4" in lines[1]
    assert "11 frames read, 6 taken, 2 dropped, 1 late, 3 times reconnected" in lines[1]
    bars = [(line.split()[0], line.count("█")) for line in lines if "%" in line]
    assert bars[0] == ("clap", 32)  # of 40
    assert bars[3] == ("wave", 36)
    assert any(line.startswith("yard  2.0 s") for line in lines)
