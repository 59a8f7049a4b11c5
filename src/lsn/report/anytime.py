"""How soon a causal model knows, as tables of text and as a section of the report."""

from __future__ import annotations

from itertools import accumulate

from lsn.evaluation.anytime import Anytime
from lsn.evaluation.early_exit import EarlyExit, Stopped, StopRule
from lsn.report.charts import Series, line_chart
from lsn.report.html import Content, Markup, count, figure, join, note, percent, table, tag, whole_percent

TOP1_HEADER = ("Frames seen", "Share", "Top-1")
STOP_HEADER = ("Early stop", "Threshold", "Videos", "Top-1", "Frames saved", "Frames per video")


def top1_cells(anytime: Anytime) -> list[tuple[str, ...]]:
    """Rows under `TOP1_HEADER`: the accuracy after some of the frames and after all."""
    return [
        (str(seen), percent(seen / anytime.num_frames), percent(anytime.top1[seen - 1]))
        for seen in anytime.milestones()
    ]


def stop_cells(anytime: Anytime) -> list[tuple[str, ...]]:
    """Rows under `STOP_HEADER`: without a stop, as tested, and as fitted."""
    stop = anytime.early_exit
    num_videos = stop.fitted.result.num_videos
    rows = [("never: all frames", "–", _result_cells(Stopped(num_videos, anytime.top1[-1], anytime.num_frames, 0.0)))]
    for rule, (tested, fitted) in zip(stop.halves, (("first", "second"), ("second", "first")), strict=False):
        rows.append((f"tested: {tested} half, fitted on the {fitted}", _threshold(rule), _result_cells(rule.result)))
    if stop.tested is not None:
        rows.append(("tested: both halves", "–", _result_cells(stop.tested)))
    rows.append(("to use: fitted on all", _threshold(stop.fitted), _result_cells(stop.fitted.result)))
    return [(name, threshold, *cells) for name, threshold, cells in rows]


def _result_cells(result: Stopped) -> tuple[str, ...]:
    figures = (percent(result.top1), percent(result.frames_saved), f"{result.mean_frames:.1f}")
    return (f"{result.num_videos:,}", *figures)


def _threshold(rule: StopRule) -> str:
    """Six digits, because sure models differ in the last of them; the file has them all."""
    return f"{rule.threshold:.6g}" if rule.stops else "never"


def decision_text(anytime: Anytime) -> str:
    """When the model has decided, in a sentence."""
    decision = anytime.decision
    if decision is None:
        return "No video is right at the end, so there is no time of decision."
    return (
        f"Of the {count(sum(anytime.decided), 'video')} that it is right on at the end, half have the answer for good "
        f"after {whole_percent(decision.median_fraction)} of the frames ({decision.median_seconds:.2f} s into the "
        f"video) and nine of ten after {whole_percent(decision.p90_fraction)} ({decision.p90_seconds:.2f} s)."
    )


def stop_text(stop: EarlyExit) -> str:
    """Which threshold to use, why, and what to expect of it."""
    wanted = (
        f"Wanted: top-1 of at least {percent(stop.goal)}, at most one point below that of all frames."
        if stop.wanted_top1 is None
        else f"Wanted: top-1 of at least {percent(stop.goal)}."
    )
    if not stop.reached:
        wanted += f" No threshold reaches it on these videos; the best gives {percent(stop.fitted.result.top1)}."
    use = f"Stop at a confidence of {_threshold(stop.fitted)}" if stop.fitted.stops else "Do not stop early"
    if stop.tested is None:
        return f"{wanted} {use}; a single video leaves nothing to test that on."
    under = ", which is under what was wanted" if stop.tested.top1 < stop.goal else ""
    return (
        f"{wanted} {use}. Expect what was tested, where each half of the videos was stopped at the threshold fitted on "
        f"the other: {percent(stop.tested.frames_saved)} of the frames saved, top-1 {percent(stop.tested.top1)}"
        f"{under}. The last row is measured on the videos that its threshold was fitted on, which flatters it."
    )


def section(anytime: Anytime) -> Markup:
    """Accuracy and decisions over the frames, the price of stopping early, and the threshold to use."""
    lead = (
        "A causal model has an answer after every frame: the mean of the scores so far. Frames are those that were "
        f"sampled, {anytime.num_frames} a video, in the order of time."
    )
    rows = stop_cells(anytime)
    rows[-1] = tuple(tag("b", cell) for cell in rows[-1])
    stopping = figure(
        table(STOP_HEADER, rows, numeric=range(1, len(STOP_HEADER)), class_="stops"),
        title="When to stop looking",
        caption=stop_text(anytime.early_exit),
    )
    charts = tag("div", _top1_chart(anytime), _decision_chart(anytime), _price_chart(anytime), class_="charts")
    return join([tag("p", lead, class_="lead"), charts, stopping])


def _top1_chart(anytime: Anytime) -> Markup:
    points = [(seen / anytime.num_frames, top1) for seen, top1 in enumerate(anytime.top1, start=1)]
    shares_text = ", ".join(f"{top1} after {share}" for _, share, top1 in top1_cells(anytime))
    return figure(
        _shares([Series("top-1", points, "good", markers=len(points) <= 30)], x_label="share of the frames seen"),
        title="How right is it so far?",
        legend=[("good", "top-1")],
        caption=f"{shares_text} of the frames.",
    )


def _decision_chart(anytime: Anytime) -> Content:
    if anytime.decision is None:
        return note(decision_text(anytime))
    total = sum(anytime.decided)
    points = [(seen / anytime.num_frames, sum_ / total) for seen, sum_ in enumerate(accumulate(anytime.decided), 1)]
    return figure(
        _shares([Series("decided", points, "good", markers=len(points) <= 30)], x_label="share of the frames seen"),
        title="When has it decided?",
        legend=[("good", "videos that have")],
        caption=decision_text(anytime),
    )


def _price_chart(anytime: Anytime) -> Markup:
    stop = anytime.early_exit
    curve = Series("any threshold", [(r.result.frames_saved, r.result.top1) for r in reversed(stop.curve)], "plain")
    shown, dot = [curve], ""
    if stop.tested is not None:
        dot = " The dot is the chosen one as tested."
        shown.append(Series("tested", [(stop.tested.frames_saved, stop.tested.top1)], "good"))
    return figure(
        _shares(shown, x_label="share of the frames saved"),
        title="What does stopping early cost?",
        legend=[(line.color, line.name) for line in shown],
        caption=f"Top-1 on all videos, for thresholds from never stopping to one frame a video.{dot}",
    )


def _shares(series: list[Series], *, x_label: str) -> Markup:
    """A chart of shares over shares."""
    return line_chart(
        series,
        x_label=x_label,
        y_range=(0.0, 1.0),
        x_text=whole_percent,
        y_text=whole_percent,
        description=f"{series[0].name} over the {x_label}",
    )
