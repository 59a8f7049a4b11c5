"""Timelines as the tools and data sets that people have write them."""

import json
from pathlib import Path

import pytest
from timeline_helpers import NAMES, RATE, facts, frame_seconds, shown_frames, task
from video_files import encode_pictures

from lsn.data.timelines.reading import read_timelines, write_timelines
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.errors import DataError
from lsn.video import open_video


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/1/1a2b3c4d-one.mp4",
        "/data/local-files/?d=one.mp4",
        "s3://bucket/videos/one.mp4",
        "https://a.b/one.mp4?x=1",
    ],
)
def test_label_studio_gives_the_right_frames_of_a_file_of_29_97_frames_per_second(address, numbered_videos, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps([task(address, (31, 60, "pour"), (100, 100, "hit"), fps=29.97)]))
    (video,) = read_timelines(tmp_path / "export.json", root=numbered_videos).videos
    assert Path(video.path) == numbered_videos / "one.mp4"
    pour, hit = video.events
    assert shown_frames(numbered_videos / "one.mp4", pour) == (30, 59), (
        "frames count from 1 there, and the last belongs to it"
    )
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
def test_json_that_is_wrong_is_named_with_its_place(content, what, numbered_videos, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=what):
        read_timelines(tmp_path / "export.json", root=numbered_videos)


def test_tasks_without_annotations_are_left_out_with_a_warning(numbered_videos, tmp_path, caplog):
    (tmp_path / "export.json").write_text(
        json.dumps([task("one.mp4", (1, 9, "pour"), fps=29.97), {"id": 5, "data": {}, "annotations": []}])
    )
    assert len(read_timelines(tmp_path / "export.json", root=numbered_videos)) == 1
    assert "task 5: no annotation yet, as in 0 more tasks; they are left out" in caplog.text


def test_label_studio_may_count_on_a_little_behind_the_last_frame(numbered_videos, tmp_path):
    (tmp_path / "export.json").write_text(json.dumps([task("one.MP4", (211, 246, "pour"), fps=29.97)]))
    (numbered_videos / "one.MP4").unlink(missing_ok=True)
    (numbered_videos / "one.MP4").symlink_to(numbered_videos / "one.mp4")
    (video,) = read_timelines(tmp_path / "export.json", root=numbered_videos).videos
    (numbered_videos / "one.MP4").unlink()
    assert video.events[0].end_seconds == pytest.approx(frame_seconds(240), abs=0.001)


def test_of_what_a_model_has_found_label_studio_gets_predictions_even_where_it_found_nothing(numbered_videos, tmp_path):
    videos = (
        TimelineVideo(str(numbered_videos / "one.mp4"), (TimelineEvent("hit", 1, 2, 0.25),)),
        TimelineVideo(str(numbered_videos / "two.mp4"), ()),
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


def test_elan_as_it_is_saved(numbered_videos, tmp_path):
    (tmp_path / "a.eaf").write_text(ELAN % 4000)
    manifest = read_timelines(tmp_path / "a.eaf", root=numbered_videos)
    assert facts(manifest) == {"one": [("pour", 1.2, 2.5, None), ("walk", 2.5, 4.0, None)]}
    (tmp_path / "a.eaf").write_text(ELAN % 2000)
    with pytest.raises(
        DataError, match=r"a.eaf, annotation a2 on tier 'feet': 'walk' ends at 2 s, before it starts at 2.5 s"
    ):
        read_timelines(tmp_path / "a.eaf", root=numbered_videos)
    (tmp_path / "a.eaf").write_text("<!DOCTYPE x [<!ENTITY a 'b'>]><ANNOTATION_DOCUMENT>&a;</ANNOTATION_DOCUMENT>")
    with pytest.raises(DataError, match="declares a document type"):
        read_timelines(tmp_path / "a.eaf", root=numbered_videos)


def test_elans_slots_without_a_time_lie_evenly_between_others(numbered_videos, tmp_path):
    text = (ELAN % 4000).replace('TIME_SLOT_ID="ts2" TIME_VALUE="2500"', 'TIME_SLOT_ID="ts2"')
    (tmp_path / "a.eaf").write_text(text)
    manifest = read_timelines(tmp_path / "a.eaf", root=numbered_videos)
    assert facts(manifest) == {"one": [("pour", 1.2, 2.6, None), ("walk", 2.6, 4.0, None)]}
    (tmp_path / "a.eaf").write_text(ELAN % "4e3")
    with pytest.raises(DataError, match=r"a.eaf: a time of '4e3'; expected whole milliseconds"):
        read_timelines(tmp_path / "a.eaf", root=numbered_videos)


def test_webvtt_as_browsers_take_it(numbered_videos, tmp_path):
    text = (
        "WEBVTT - events\n\nNOTE\nnothing\n\nfirst\n01:02.500 --> 01:03.000 align:start\n<b>pour</b>\ntea\n\n"
        "00:00:01.000 --> 00:00:02.000\n1 &lt; 2\n"
    )
    (tmp_path / "one.vtt").write_text(text)
    assert facts(read_timelines(tmp_path, root=numbered_videos)) == {
        "one": [("1 < 2", 1.0, 2.0, None), ("pour tea", 62.5, 63.0, None)]
    }
    (tmp_path / "one.vtt").write_text(text.replace("02.500", "2.5"))
    with pytest.raises(
        DataError, match=r"one.vtt line 7: times '01:2.5 --> 01:03.000 align:start'; expected 00:00:01.000 -->"
    ):
        read_timelines(tmp_path, root=numbered_videos)


def test_frame_labels_as_they_are_handed_on(numbered_videos, tmp_path):
    (tmp_path / "groundTruth").mkdir()
    (tmp_path / "splits").mkdir()
    (tmp_path / "mapping.txt").write_text("0 SIL\n1 pour\n2 stir\n")
    labels = ["SIL"] * 30 + ["pour"] * 60 + ["stir"] * 90 + ["SIL"] * 60
    (tmp_path / "groundTruth/one.txt").write_text("\n".join(labels))
    (tmp_path / "groundTruth/two.txt").write_text("\n".join(["SIL"] * 240))
    (tmp_path / "splits/train.split1.bundle").write_text("one.txt\n")
    for name in NAMES[:2]:
        (tmp_path / f"{name}.mp4").symlink_to(numbered_videos / f"{name}.mp4")
    (video,) = read_timelines(tmp_path / "splits/train.split1.bundle", background="SIL").videos
    assert [shown_frames(numbered_videos / "one.mp4", event) for event in video.events] == [(30, 89), (90, 179)]
    assert len(read_timelines(tmp_path, root=numbered_videos, background="SIL")) == 2
    (tmp_path / "groundTruth/one.txt").write_text("\n".join(labels[::2]))
    with pytest.raises(DataError, match=r"120 labels, but .*one.mp4 has 240 frames; .*\(--fps 15\)"):
        read_timelines(tmp_path, root=numbered_videos, background="SIL")
    (first, _) = read_timelines(tmp_path, root=numbered_videos, background="SIL", fps=float(RATE / 2)).videos
    assert [shown_frames(numbered_videos / "one.mp4", event) for event in first.events] == [(30, 89), (90, 179)]


def test_thumos_as_it_is_handed_on(numbered_videos, tmp_path):
    (tmp_path / "BaseballPitch_val.txt").write_text("one  2.8 4.4 \ntwo  0.1 1.5 \n")
    (tmp_path / "Diving_val.txt").write_text("one  5.0 6.0 \n")
    assert facts(read_timelines(tmp_path, root=numbered_videos, subset="val")) == {
        "one": [("BaseballPitch", 2.8, 4.4, None), ("Diving", 5.0, 6.0, None)],
        "two": [("BaseballPitch", 0.1, 1.5, None)],
    }
    with pytest.raises(DataError, match=r"no subset 'validation'"):
        read_timelines(tmp_path, root=numbered_videos, subset="validation")
    (tmp_path / "Ambiguous_val.txt").write_text("one  7.0 8.0\n")
    assert "Ambiguous" not in read_timelines(tmp_path, root=numbered_videos).labels
    (tmp_path / "Diving_val.txt").write_text("one  5.0\n")
    with pytest.raises(DataError, match=r"Diving_val.txt line 1: 'one  5.0'; expected a video, a start and an end"):
        read_timelines(tmp_path, root=numbered_videos)


def test_exports_of_two_tools_in_one_folder_are_refused(numbered_videos, tmp_path):
    (tmp_path / "a.eaf").write_text(ELAN % 4000)
    (tmp_path / "one.vtt").write_text("WEBVTT\n")
    with pytest.raises(DataError, match=r"files of two tools \(1 .eaf and 1 .vtt\)"):
        read_timelines(tmp_path, root=numbered_videos)
