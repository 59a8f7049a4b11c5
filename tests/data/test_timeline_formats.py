"""Every format of timelines, written and read again, and as its tool writes it."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_files import encode_pictures

from lsn.data.timelines.reading import FORMATS, read_timelines, write_timelines
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.errors import DataError
from lsn.video import open_video

NUM_FRAMES, RATE = 240, Fraction(30000, 1001)
NAMES = ("one", "two", "three")
POINTS = {"csv", "jsonl", "activitynet", "label-studio", "via", "thumos", "e2e-spot"}
SPANS = set(FORMATS) - {"e2e-spot"}
OVERLAPS = {"csv", "jsonl", "activitynet", "label-studio", "via", "webvtt", "thumos"}
EMPTY = set(FORMATS) - {"thumos"}
SCORES = {"csv", "jsonl", "activitynet", "e2e-spot"}
LABELS = ("pour", "stir it", "Äpfel & Birnen", "1 < 2", "=SUM(A1)")


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Three files of 240 frames at 29.97 frames per second."""
    folder = tmp_path_factory.mktemp("timelines")
    for name in NAMES:
        encode_pictures(folder / f"{name}.mp4", num_frames=NUM_FRAMES, rate=RATE)
    return folder


def frame_seconds(frame: int) -> float:
    """When a frame comes on screen, by the arithmetic of the rate."""
    return float(frame / RATE)


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


def facts(manifest: TimelineManifest) -> dict[str, list[tuple]]:
    """All that is asked of a format, by the video's name."""
    return {
        Path(video.path).stem: [
            (e.label, round(e.start_seconds, 9), round(e.end_seconds, 9), e.confidence) for e in video.events
        ]
        for video in manifest.videos
    }


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_again_without_loss(name, data, folder, tmp_path_factory):
    events = data.draw(timelines(name))
    videos = tuple(TimelineVideo(str(folder / f"{video}.mp4"), in_order(found)) for video, found in events.items())
    labels = tuple(sorted({event.label for found in events.values() for event in found}))
    manifest = TimelineManifest("written", labels, videos)
    if not labels:
        return
    place = tmp_path_factory.mktemp("out")
    path = place / {"csv": "t.csv", "jsonl": "t.jsonl"}.get(name, "t.json" if name in JSON else "t")
    write_timelines(path, manifest, format=name)
    assert facts(read_timelines(path, root=folder)) == facts(manifest)
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
def test_what_a_format_cannot_hold_is_an_error_and_nothing_is_written(name, event, what, folder, tmp_path):
    manifest = TimelineManifest("written", (event.label,), (TimelineVideo(str(folder / "one.mp4"), (event,)),))
    with pytest.raises(DataError, match=what):
        write_timelines(tmp_path / "out", manifest, format=name)
    assert not list(tmp_path.iterdir())


def test_groups_and_subsets_are_kept_in_our_tables(folder, tmp_path):
    event = TimelineEvent("hit", 1, 2, 0.25)
    videos = (
        TimelineVideo(str(folder / "one.mp4"), (event,), "kitchen", "training"),
        TimelineVideo(str(folder / "two.mp4"), (), "hall", "validation"),
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


def shown_frames(path: Path, event: TimelineEvent) -> tuple[int, int]:
    """Numbers in the pictures of the first and the last frame of an event, decoded."""
    with open_video(path) as reader:
        times = reader.pts_seconds - reader.pts_seconds[0]
        inside = np.flatnonzero((times >= event.start_seconds - 1e-6) & (times < event.end_seconds - 1e-6))
        frames = reader.frames_at([int(inside[0]), int(inside[-1])]).frames_THWC
    bars = [frame[4, 4::8].mean(axis=-1) > 127 for frame in frames]
    first, last = (sum(int(bar) << bit for bit, bar in enumerate(found)) for found in bars)
    return first, last


def task(video: str, *regions: tuple[int, int, str], **data: object) -> dict:
    """A task as Label Studio exports it, with what we do not read."""
    result = [
        {
            "original_length": 8.008,
            "id": f"region{number}",
            "type": "timelinelabels",
            "from_name": "timelineLabels",
            "to_name": "video",
            "origin": "manual",
            "value": {"ranges": [{"start": start, "end": end}], "timelinelabels": [label]},
        }
        for number, (start, end, label) in enumerate(regions)
    ]
    annotation = {
        "id": 7,
        "completed_by": 1,
        "was_cancelled": False,
        "ground_truth": False,
        "result": result,
        "lead_time": 9.1,
    }
    about = {"file_upload": video, "drafts": [], "predictions": [], "meta": {}, "inner_id": 1, "project": 1}
    return {"id": 1, "annotations": [annotation], "data": {"video": video, **data}, **about}


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/1/1a2b3c4d-one.mp4",
        "/data/local-files/?d=one.mp4",
        "s3://bucket/videos/one.mp4",
        "https://a.b/one.mp4?x=1",
    ],
)
def test_label_studio_gives_the_right_frames_of_a_file_of_29_97_frames_per_second(address, folder, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps([task(address, (31, 60, "pour"), (100, 100, "hit"), fps=29.97)]))
    (video,) = read_timelines(tmp_path / "export.json", root=folder).videos
    assert Path(video.path) == folder / "one.mp4"
    pour, hit = video.events
    assert shown_frames(folder / "one.mp4", pour) == (30, 59), "frames count from 1 there, and the last belongs to it"
    assert hit.is_point
    assert hit.start_seconds == pytest.approx(frame_seconds(99), abs=0.005)


def test_label_studio_gives_the_right_frames_of_a_file_of_variable_rate(tmp_path):
    """Label Studio plays by time: its frame n of 10 per second is on screen from (n - 1) / 10 s on."""
    times = [
        number if number < 30 else 30 + 3 * (number - 30) for number in range(100)
    ]  # 30, then 10 frames per second
    path = encode_pictures(tmp_path / "variable.mp4", num_frames=100, times=times)
    (tmp_path / "export.json").write_text(json.dumps([task("variable.mp4", (6, 20, "pour"), fps="10")]))
    (video,) = read_timelines(tmp_path / "export.json").videos
    (pour,) = video.events
    assert (pour.start_seconds, pour.end_seconds) == (0.5, 2.0)
    assert shown_frames(path, pour) == (15, 39)


def test_times_count_from_the_first_frame_of_a_file_that_starts_late(tmp_path):
    path = encode_pictures(tmp_path / "late.mkv", num_frames=60, times=[90 + number for number in range(60)])
    with open_video(path) as reader:
        assert reader.pts_seconds[0] == pytest.approx(3, abs=0.01)
    content = [
        {
            "video": "late",
            "num_frames": 60,
            "num_events": 1,
            "fps": 30,
            "events": [{"frame": 45, "label": "hit", "comment": ""}],
        }
    ]
    (tmp_path / "spot.json").write_text(json.dumps(content))
    (video,) = read_timelines(tmp_path / "spot.json").videos
    assert video.events[0].start_seconds == pytest.approx(1.5, abs=0.001)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([task("one.mp4", (31, 60, "pour"))], "task 1: its data has no fps"),
        (
            [task("one.mp4", (31, 60, "pour"), fps=25)],
            "task 1: frames are counted at 25 per second, but .*one.mp4 has 29.97",
        ),
        ([task("one.mp4", (0, 60, "pour"), fps=29.97)], "task 1: a range from frame 0 to 60; frames count from 1"),
        ([task("one.txt", (1, 6, "pour"), fps=29.97)], "task 1: its data names 0 videos"),
        (
            [task("one.mp4", (1, 6, "pour"), fps="fast")],
            "task 1: the fps of its data is 'fast'; expected frames per second",
        ),
        ([task("one.mp4", (1.5, 6, "pour"), fps=29.97)], "task 1: its start is 1.5; expected a whole number"),
        ([task("one.mp4", (1, 10**400, "pour"), fps=29.97)], "task 1: its end is 1000.*; expected a whole number"),
        ([task("one.mp4", (200, 270, "pour"), fps=29.97)], "task 1: frame 270 of a video that has 240"),
        ([task("one.mp4"), {"video": "two", "events": []}], "items 1 and 2 are of two tools' formats"),
        ([{"video": "one.mp4", "timeline": []}], "item 1 of the list is neither a task .* not JSON-MIN"),
        ([{"video": "one", "fps": 25, "events": []}], "video 'one': frames are counted at 25 per second"),
        (
            [{"video": "one", "fps": 29.97, "events": [{"frame": 240, "label": "x"}]}],
            "event 1 is at frame 240, but .* 240 frames",
        ),
        ([{"video": "four", "fps": 29.97, "events": []}], "video 'four': .*four: no such"),
        (
            {"database": {"one": {"annotations": [{"label": "x", "segment": [3, 1]}]}}},
            "video 'one', annotation 1: 'x' ends at 1 s, before",
        ),
        ({"database": {"one": {"annotations": [{"label": "", "segment": [1, 2]}]}}}, "annotation 1: the label is ''"),
        (
            {"database": {"one": {"annotations": [{"label": "x", "segment": [1, 10**400]}]}}},
            "annotation 1: an event ends at",
        ),
        ({"database": {"one": {"annotations": {"label": "x"}}}}, "its list of annotations is .*; expected a list"),
        ({"some": "thing"}, "JSON of no known format"),
    ],
)
def test_json_that_is_wrong_is_named_with_its_place(content, what, folder, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=what):
        read_timelines(tmp_path / "export.json", root=folder)


def test_tasks_without_annotations_are_left_out_with_a_warning(folder, tmp_path, caplog):
    (tmp_path / "export.json").write_text(
        json.dumps([task("one.mp4", (1, 9, "pour"), fps=29.97), {"id": 5, "data": {}, "annotations": []}])
    )
    assert len(read_timelines(tmp_path / "export.json", root=folder)) == 1
    assert "task 5: no annotation yet, as in 0 more tasks; they are left out" in caplog.text


def test_label_studio_may_count_on_a_little_behind_the_last_frame(folder, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps([task("one.MP4", (211, 246, "pour"), fps=29.97)]))
    (folder / "one.MP4").unlink(missing_ok=True)
    (folder / "one.MP4").symlink_to(folder / "one.mp4")
    (video,) = read_timelines(tmp_path / "export.json", root=folder).videos
    (folder / "one.MP4").unlink()
    assert video.events[0].end_seconds == pytest.approx(frame_seconds(240), abs=0.001)


def test_of_what_a_model_has_found_label_studio_gets_predictions_even_where_it_found_nothing(folder, tmp_path):
    videos = (
        TimelineVideo(str(folder / "one.mp4"), (TimelineEvent("hit", 1, 2, 0.25),)),
        TimelineVideo(str(folder / "two.mp4"), ()),
    )
    write_timelines(tmp_path / "t.json", TimelineManifest("found", ("hit",), videos), format="label-studio")
    tasks = json.loads((tmp_path / "t.json").read_text())
    assert ["annotations" in task for task in tasks] == [False, False]
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [1, 0]


VIA = {
    "project": {"pid": "__VIA_PROJECT_ID__", "rev": "1", "pname": "kitchen", "vid_list": ["1"]},
    "config": {},
    "attribute": {
        "1": {"aname": "what", "anchor_id": "FILE1_Z2_XY0", "type": 4, "options": {"0": "pour", "1": "stir"}},
        "2": {"aname": "how", "anchor_id": "FILE1_Z2_XY0", "type": 2, "options": {"a": "slow", "b": "wet"}},
        "3": {"aname": "box", "anchor_id": "FILE1_Z1_XY1", "type": 1, "options": {}},
    },
    "file": {"1": {"fid": "1", "fname": "take#1.mp4", "type": 4, "loc": 1, "src": ""}},
    "metadata": {
        "1_a": {"vid": "1", "flg": 0, "z": [1.5, 2.25], "xy": [], "av": {"1": "0"}},
        "1_b": {"vid": "1", "flg": 0, "z": [3], "xy": [], "av": {"1": "", "2": "a,b"}},
        "1_c": {"vid": "1", "flg": 0, "z": [3], "xy": [2, 10, 10, 5, 5], "av": {"3": "cup"}},
    },
    "view": {"1": {"fid_list": ["1"]}},
}


def test_via_as_it_is_saved(tmp_path):
    encode_pictures(tmp_path / "take#1.mp4", num_frames=120)
    (tmp_path / "via.json").write_text(json.dumps(VIA))
    expected = [("pour", 1.5, 2.25, None), ("slow", 3.0, 3.0, None), ("wet", 3.0, 3.0, None)]
    assert facts(read_timelines(tmp_path / "via.json")) == {"take#1": expected}


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (
            ("metadata", "1_a", "av", "1"),
            "7",
            "segment '1_a': its label is option '7', which its attribute does not have",
        ),
        (("metadata", "1_a", "av"), {}, "segment '1_a': it has no label"),
        (("metadata", "1_a", "vid"), "9", "segment '1_a': it is of view '9', which shows no file"),
        (("metadata", "1_a", "z"), [1, 2, 3], "segment '1_a': it has 3 times"),
        (("view", "1"), {}, "the files of view 1 is None; expected a list"),
        (("file",), [], "'file' is .*; expected an object"),
        (("attribute", "1"), "x", "attribute 1 is 'x'; expected an object"),
    ],
)
def test_a_project_of_via_that_is_wrong_is_named_with_its_place(place, value, what, tmp_path):
    content = json.loads(json.dumps(VIA))
    *parents, last = place
    at = content
    for parent in parents:
        at = at[parent]
    at[last] = value
    (tmp_path / "via.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=what):
        read_timelines(tmp_path / "via.json")


ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-01T00:00:00+01:00" FORMAT="3.0" VERSION="3.0">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/a/one.wav" MIME_TYPE="audio/x-wav" RELATIVE_MEDIA_URL="./one.wav"/>
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/a/one.mp4" MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL="./one.mp4"/>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1200"/>
        <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2500"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="%s"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="hands" PARTICIPANT="P1">
        <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
            <ANNOTATION_VALUE>pour</ANNOTATION_VALUE>
        </ALIGNABLE_ANNOTATION></ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="feet">
        <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
            <ANNOTATION_VALUE>walk</ANNOTATION_VALUE>
        </ALIGNABLE_ANNOTATION></ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="note" PARENT_REF="hands" TIER_ID="notes">
        <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
            <ANNOTATION_VALUE>?</ANNOTATION_VALUE>
        </REF_ANNOTATION></ANNOTATION>
    </TIER>
</ANNOTATION_DOCUMENT>
"""


def test_elan_as_it_is_saved(folder, tmp_path):
    (tmp_path / "a.eaf").write_text(ELAN % 4000)
    manifest = read_timelines(tmp_path / "a.eaf", root=folder)
    assert facts(manifest) == {"one": [("pour", 1.2, 2.5, None), ("walk", 2.5, 4.0, None)]}
    (tmp_path / "a.eaf").write_text(ELAN % 2000)
    with pytest.raises(
        DataError, match=r"a.eaf, annotation a2 on tier 'feet': 'walk' ends at 2 s, before it starts at 2.5 s"
    ):
        read_timelines(tmp_path / "a.eaf", root=folder)
    (tmp_path / "a.eaf").write_text("<!DOCTYPE x [<!ENTITY a 'b'>]><ANNOTATION_DOCUMENT>&a;</ANNOTATION_DOCUMENT>")
    with pytest.raises(DataError, match="declares a document type"):
        read_timelines(tmp_path / "a.eaf", root=folder)


def test_elans_slots_without_a_time_lie_evenly_between_others(folder, tmp_path):
    text = (ELAN % 4000).replace('TIME_SLOT_ID="ts2" TIME_VALUE="2500"', 'TIME_SLOT_ID="ts2"')
    (tmp_path / "a.eaf").write_text(text)
    manifest = read_timelines(tmp_path / "a.eaf", root=folder)
    assert facts(manifest) == {"one": [("pour", 1.2, 2.6, None), ("walk", 2.6, 4.0, None)]}
    (tmp_path / "a.eaf").write_text(ELAN % "4e3")
    with pytest.raises(DataError, match=r"a.eaf: a time of '4e3'; expected whole milliseconds"):
        read_timelines(tmp_path / "a.eaf", root=folder)


def test_webvtt_as_browsers_take_it(folder, tmp_path):
    text = (
        "WEBVTT - events\n\nNOTE\nnothing\n\nfirst\n01:02.500 --> 01:03.000 align:start\n<b>pour</b>\ntea\n\n"
        "00:00:01.000 --> 00:00:02.000\n1 &lt; 2\n"
    )
    (tmp_path / "one.vtt").write_text(text)
    assert facts(read_timelines(tmp_path, root=folder)) == {
        "one": [("1 < 2", 1.0, 2.0, None), ("pour tea", 62.5, 63.0, None)]
    }
    (tmp_path / "one.vtt").write_text(text.replace("02.500", "2.5"))
    with pytest.raises(
        DataError, match=r"one.vtt line 7: times '01:2.5 --> 01:03.000 align:start'; expected 00:00:01.000 -->"
    ):
        read_timelines(tmp_path, root=folder)


def test_frame_labels_as_they_are_handed_on(folder, tmp_path):
    (tmp_path / "groundTruth").mkdir()
    (tmp_path / "splits").mkdir()
    (tmp_path / "mapping.txt").write_text("0 SIL\n1 pour\n2 stir\n")
    labels = ["SIL"] * 30 + ["pour"] * 60 + ["stir"] * 90 + ["SIL"] * 60
    (tmp_path / "groundTruth/one.txt").write_text("\n".join(labels))
    (tmp_path / "groundTruth/two.txt").write_text("\n".join(["SIL"] * 240))
    (tmp_path / "splits/train.split1.bundle").write_text("one.txt\n")
    for name in NAMES[:2]:
        (tmp_path / f"{name}.mp4").symlink_to(folder / f"{name}.mp4")
    (video,) = read_timelines(tmp_path / "splits/train.split1.bundle", background="SIL").videos
    assert [shown_frames(folder / "one.mp4", event) for event in video.events] == [(30, 89), (90, 179)]
    assert len(read_timelines(tmp_path, root=folder, background="SIL")) == 2
    (tmp_path / "groundTruth/one.txt").write_text("\n".join(labels[::2]))
    with pytest.raises(DataError, match=r"120 labels, but .*one.mp4 has 240 frames; .*\(--fps 15\)"):
        read_timelines(tmp_path, root=folder, background="SIL")
    (first, _) = read_timelines(tmp_path, root=folder, background="SIL", fps=float(RATE / 2)).videos
    assert [shown_frames(folder / "one.mp4", event) for event in first.events] == [(30, 89), (90, 179)]


def test_thumos_as_it_is_handed_on(folder, tmp_path):
    (tmp_path / "BaseballPitch_val.txt").write_text("one  2.8 4.4 \ntwo  0.1 1.5 \n")
    (tmp_path / "Diving_val.txt").write_text("one  5.0 6.0 \n")
    assert facts(read_timelines(tmp_path, root=folder, subset="val")) == {
        "one": [("BaseballPitch", 2.8, 4.4, None), ("Diving", 5.0, 6.0, None)],
        "two": [("BaseballPitch", 0.1, 1.5, None)],
    }
    with pytest.raises(DataError, match=r"no subset 'validation'"):
        read_timelines(tmp_path, root=folder, subset="validation")
    (tmp_path / "Ambiguous_val.txt").write_text("one  7.0 8.0\n")
    assert "Ambiguous" not in read_timelines(tmp_path, root=folder).labels
    (tmp_path / "Diving_val.txt").write_text("one  5.0\n")
    with pytest.raises(DataError, match=r"Diving_val.txt line 1: 'one  5.0'; expected a video, a start and an end"):
        read_timelines(tmp_path, root=folder)


def test_exports_of_two_tools_in_one_folder_are_refused(folder, tmp_path):
    (tmp_path / "a.eaf").write_text(ELAN % 4000)
    (tmp_path / "one.vtt").write_text("WEBVTT\n")
    with pytest.raises(DataError, match=r"files of two tools \(1 .eaf and 1 .vtt\)"):
        read_timelines(tmp_path, root=folder)


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
def test_rows_that_are_wrong_are_named_with_their_line(row, what, folder, tmp_path):
    (tmp_path / "t.csv").write_text(f"path,label,start_seconds,end_seconds\none.mp4,stir,4,5\n{row}\n")
    with pytest.raises(DataError, match=what):
        read_timelines(tmp_path / "t.csv", root=folder)


def test_background_may_be_listed_where_unlabelled_time_is_unknown(folder, tmp_path):
    (tmp_path / "t.csv").write_text("path,label,start_seconds,end_seconds\none.mp4,stir,4,5\none.mp4,background,1,2\n")
    manifest = read_timelines(tmp_path / "t.csv", root=folder, unlabelled="unknown")
    assert manifest.labels == ("background", "stir")
