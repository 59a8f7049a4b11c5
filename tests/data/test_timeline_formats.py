"""Every format of timelines, written and read again; and our own tables."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from timeline_helpers import NAMES, NUM_FRAMES, facts, frame_seconds

from lsn.data.timelines.reading import FORMATS, read_timelines, write_timelines
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.errors import DataError

POINTS = {"csv", "jsonl", "activitynet", "label-studio", "via", "thumos", "e2e-spot"}
SPANS = set(FORMATS) - {"e2e-spot"}
OVERLAPS = {"csv", "jsonl", "activitynet", "label-studio", "via", "webvtt", "thumos"}
EMPTY = set(FORMATS) - {"thumos"}
SCORES = {"csv", "jsonl", "activitynet", "e2e-spot"}
LABELS = ("pour", "stir it", "Äpfel & Birnen", "1 < 2", "=SUM(A1)")


@st.composite
def timelines(draw, name: str) -> dict[str, list[TimelineEvent]]:
    """Events that a format can hold, at times that it can hold: milliseconds, or frames."""
    by_frames = name in ("label-studio", "frame-labels", "e2e-spot")
    last = NUM_FRAMES - 1 if by_frames else 8000
    at = frame_seconds if by_frames else (lambda milliseconds: milliseconds / 1000)
    timelines = {}
    for video in NAMES:
        events: list[TimelineEvent] = []
        for _ in range(draw(st.integers(0 if name in EMPTY else 1, 4))):
            start = draw(st.integers(0, last - 3))
            length = draw(st.integers(2, max(2, last - start)))  # of one frame is a point for Label Studio
            is_point = name not in SPANS or (name in POINTS and draw(st.booleans()))
            end = start if is_point else min(start + length, last)
            score = draw(st.floats(0, 1)) if name in SCORES and draw(st.booleans()) else None
            events.append(TimelineEvent(draw(st.sampled_from(LABELS)), at(start), at(end), score))
        timelines[video] = events if name in OVERLAPS | {"e2e-spot"} else apart(events)
    return timelines


def apart(events: list[TimelineEvent]) -> list[TimelineEvent]:
    """Those of the events that neither overlap nor touch."""
    kept: list[TimelineEvent] = []
    for event in in_order(events):
        if not kept or event.start_seconds > kept[-1].end_seconds:
            kept.append(event)
    return kept


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_again_without_loss(name, data, numbered_videos, tmp_path_factory):
    events = data.draw(timelines(name))
    videos = tuple(
        TimelineVideo(str(numbered_videos / f"{video}.mp4"), in_order(found)) for video, found in events.items()
    )
    labels = tuple(sorted({event.label for found in events.values() for event in found}))
    manifest = TimelineManifest("written", labels, videos)
    if not labels:
        return
    place = tmp_path_factory.mktemp("out")
    path = place / {"csv": "t.csv", "jsonl": "t.jsonl"}.get(name, "t.json" if name in JSON else "t")
    write_timelines(path, manifest, format=name)
    assert facts(read_timelines(path, root=numbered_videos)) == facts(manifest)
    assert [entry.name for entry in place.iterdir()] == [path.name], "nothing else is left behind"


JSON = ("activitynet", "label-studio", "via", "e2e-spot")


@pytest.mark.parametrize(
    ("name", "event", "what"),
    [
        ("elan", TimelineEvent("hit", 1, 1), "is a point, which ELAN cannot store"),
        ("webvtt", TimelineEvent("hit", 1, 1), "is a point, which WebVTT cannot store"),
        ("e2e-spot", TimelineEvent("hit", 1, 2), "has a duration, which this format cannot store"),
        ("frame-labels", TimelineEvent("hit", 1.01, 1.02), "is shorter than a frame"),
        ("thumos", TimelineEvent("a/b", 1, 2), "no file of this format can be named after 'a/b'"),
    ],
)
def test_what_a_format_cannot_hold_is_an_error_and_nothing_is_written(name, event, what, numbered_videos, tmp_path):
    manifest = TimelineManifest("written", (event.label,), (TimelineVideo(str(numbered_videos / "one.mp4"), (event,)),))
    with pytest.raises(DataError, match=what):
        write_timelines(tmp_path / "out", manifest, format=name)
    assert not list(tmp_path.iterdir())


def test_groups_and_subsets_are_kept_in_our_tables(numbered_videos, tmp_path):
    event = TimelineEvent("hit", 1, 2, 0.25)
    videos = (
        TimelineVideo(str(numbered_videos / "one.mp4"), (event,), "kitchen", "training"),
        TimelineVideo(str(numbered_videos / "two.mp4"), (), "hall", "validation"),
    )
    for suffix in ("csv", "jsonl"):
        path = tmp_path / f"t.{suffix}"
        write_timelines(path, TimelineManifest("written", ("hit",), videos))
        read = read_timelines(path, group_column="group")
        assert [(v.group, v.subset, len(v.events)) for v in read.videos] == [
            ("kitchen", "training", 1),
            ("hall", "validation", 0),
        ]
        (only,) = read_timelines(path, group_column="group", subset="validation", labels=["hit"]).videos[:1]
        assert only.group == "hall"


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("one.mp4,pour,3,1", "line 3: 'pour' ends at 1 s, before it starts at 3 s"),
        ("one.mp4,pour,,1", "line 3: no start_seconds"),
        ("one.mp4,pour,1,", "line 3: no end_seconds; a point in time has the same end as start"),
        ("one.mp4,,1,2", "line 3: no label"),
        ("one.mp4,pour,-1,2", "line 3: start_seconds is '-1'; expected seconds, 0 or more"),
        (",pour,1,2", "line 3: no path"),
        ("one.mp4,pour,1,2,3", "line 3: more cells than the header has"),
        ("one.mp4,background,1,2", "line 3: 'background' is the name of the background and of an event"),
    ],
)
def test_rows_that_are_wrong_are_named_with_their_line(row, what, numbered_videos, tmp_path):
    (tmp_path / "t.csv").write_text(f"path,label,start_seconds,end_seconds\none.mp4,stir,4,5\n{row}\n")
    with pytest.raises(DataError, match=what):
        read_timelines(tmp_path / "t.csv", root=numbered_videos)


def test_background_may_be_listed_where_unlabelled_time_is_unknown(numbered_videos, tmp_path):
    (tmp_path / "t.csv").write_text("path,label,start_seconds,end_seconds\none.mp4,stir,4,5\none.mp4,background,1,2\n")
    manifest = read_timelines(tmp_path / "t.csv", root=numbered_videos, unlabelled="unknown")
    assert manifest.labels == ("background", "stir")
