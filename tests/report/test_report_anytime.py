import re
from dataclasses import replace

import pytest
import torch
from report_helpers import anytime

from lsn.evaluation.anytime import Anytime, measure_anytime
from lsn.evaluation.running import CumulativePredictions
from lsn.report.anytime import decision_text, section, stop_cells, stop_text, top1_cells


def certain(*, num_videos: int = 4, right: bool = True) -> Anytime:
    """Videos with one and the same answer from the first of two frames on, 0.5 and then 0.9 sure."""
    running = CumulativePredictions(
        torch.zeros(num_videos, 2, dtype=torch.int64),
        torch.tensor([[0.5, 0.9]]).repeat(num_videos, 1),
        torch.tensor([[0.25, 1.5]], dtype=torch.float64).repeat(num_videos, 1),
    )
    return measure_anytime(running, torch.full((num_videos,), 0 if right else 1))


def test_the_tables_tell_the_figures() -> None:
    measured = anytime()
    assert top1_cells(measured) == [
        ("1", "12.5%", f"{100 * measured.top1[0]:.1f}%"),
        ("2", "25.0%", f"{100 * measured.top1[1]:.1f}%"),
        ("4", "50.0%", f"{100 * measured.top1[3]:.1f}%"),
        ("6", "75.0%", f"{100 * measured.top1[5]:.1f}%"),
        ("8", "100.0%", f"{100 * measured.top1[7]:.1f}%"),
    ]
    never, first, second, both, use = stop_cells(measured)
    stop = measured.early_exit
    assert never == ("never: all frames", "–", "60", f"{100 * measured.top1[-1]:.1f}%", "0.0%", "8.0")
    for cells, rule in ((first, stop.halves[0]), (second, stop.halves[1]), (use, stop.fitted)):
        assert float(cells[1]) == pytest.approx(rule.threshold, rel=1e-5)
        assert cells[2:4] == (str(rule.result.num_videos), f"{100 * rule.result.top1:.1f}%")
        assert cells[4:] == (f"{100 * rule.result.frames_saved:.1f}%", f"{rule.result.mean_frames:.1f}")
    assert stop.tested is not None
    assert both[1:4] == ("–", "60", f"{100 * stop.tested.top1:.1f}%")


def test_the_sentences_tell_which_number_is_which() -> None:
    measured = certain()
    assert decision_text(measured) == (
        "Of the 4 videos that it is right on at the end, half have the answer for good after 50% of the frames "
        "(0.25 s into the video) and nine of ten after 50% (0.25 s)."
    )
    text = stop_text(measured.early_exit)
    assert "at least 99.0%, at most one point below that of all frames. Stop at a confidence of 0.5." in text
    assert "Expect what was tested" in text and "50.0% of the frames saved, top-1 100.0%. " in text
    assert "The last row is measured on the videos that its threshold was fitted on" in text


def test_an_accuracy_beyond_reach_is_said() -> None:
    stop = anytime(wanted_top1=1.0).early_exit
    text = stop_text(stop)
    best = f"{100 * stop.fitted.result.top1:.1f}%"
    assert f"Wanted: top-1 of at least 100.0%. No threshold reaches it on these videos; the best gives {best}." in text


def test_never_stopping_is_said() -> None:
    measured = certain()
    stop = measured.early_exit
    never = replace(stop, fitted=stop.curve[-1])
    assert "Do not stop early." in stop_text(never)
    assert stop_cells(replace(measured, early_exit=never))[-1][1] == "never"


def test_a_single_video_is_not_tested() -> None:
    measured = certain(num_videos=1)
    assert "a single video leaves nothing to test that on" in stop_text(measured.early_exit)
    assert [cells[0] for cells in stop_cells(measured)] == ["never: all frames", "to use: fitted on all"]
    assert "tested" not in section(measured)


def test_nothing_right_has_no_time_of_decision() -> None:
    markup = section(certain(right=False))
    assert "No video is right at the end" in markup
    assert "When has it decided?" not in markup


def test_the_section_draws_the_top1_over_the_frames() -> None:
    measured = anytime()
    markup = section(measured)
    for title in ("How right is it so far?", "When has it decided?", "What does stopping early cost?"):
        assert title in markup
    points = re.findall(r"top-1: ([\d.]+) at ([\d.]+)<", markup)
    assert [(float(y), float(x)) for y, x in points] == [
        (pytest.approx(top1, abs=1e-4), number / 8) for number, top1 in enumerate(measured.top1, start=1)
    ]
    decided = [float(y) for y in re.findall(r"decided: ([\d.]+) at", markup)]
    assert decided == sorted(decided) and decided[-1] == 1
    assert "nan" not in markup
