"""Puts the sections of a report together and writes it."""

from __future__ import annotations

from pathlib import Path

from lsn.errors import LSNError
from lsn.evaluation.result import EvaluationResult
from lsn.files import write_text
from lsn.models.cost import model_cost
from lsn.models.weights import LoadedModel, load_weights, weights_folder
from lsn.report import anytime, cases, event_results, event_videos, overview, results
from lsn.report.html import Content, Markup, count, figure, note, table, tag
from lsn.report.page import Section, page, titled
from lsn.report.run import Run, read_run
from lsn.streaming.timeline_evaluation import TimelineEvaluation

REPORT_NAME = "report.html"


def write_report(run_dir: str | Path, *, weights: str | Path | None = None) -> Path:
    """Writes `report.html` into a run folder: one file that needs no other and no network.

    What is lacking (an evaluation, the videos, the weights) is said in the report.

    Args:
        run_dir: folder of a run, or of an evaluation alone.
        weights: folder of the weights that were evaluated, where that is another one; what it says of their
            training is reported too.

    Returns:
        The path of the report.

    Raises:
        LSNError: a folder does not exist, or nothing of a run is in them.
    """
    run = read_run(Path(run_dir), weights_folder(run_dir if weights is None else weights))
    path = run.folder / REPORT_NAME
    write_text(path, render(run))
    return path


def render(run: Run) -> str:
    """The whole page."""
    title = f"{run.model_name} · LSN report"
    if run.events is not None:
        summary = event_results.event_summary(run.model_name, run.events)
        return page(title, summary, _sections(run), run.folder, script="timeline.js")
    return page(title, overview.summary(run.model_name, run.evaluation), _sections(run), run.folder)


def _sections(run: Run) -> list[Section]:
    """The sections in reading order."""
    remarks = [note(remark) for remark in run.remarks]
    result: Content = overview.tile_row(overview.clip_tiles(run.evaluation)) if run.evaluation else None
    if run.events is not None:
        result = overview.tile_row(event_results.event_tiles(run.events))
    return [
        ("result", "Result", titled("Result", result, remarks)),
        ("run", "Run", titled("What was run", overview.what_was_run(run), _recipe(run))),
        ("curves", "Curves", titled("Learning curves", results.learning_curves(run))),
        *(_evaluation_sections(run.evaluation) if run.evaluation else ()),
        *(_event_sections(run.events) if run.events else ()),
        *_weights_sections(run),
        ("unreadable", "Unreadable", titled("Unreadable clips", _unreadable(run))),
    ]


def _evaluation_sections(evaluation: EvaluationResult) -> list[Section]:
    confusion, labels = evaluation.confusion.tolist(), evaluation.labels
    soon = evaluation.anytime
    return [
        ("confusion", "Confusion", titled("Confusion", results.confusion_figures(confusion, labels))),
        ("classes", "Classes", titled("Accuracy of each class", results.class_accuracy(confusion, labels))),
        ("calibration", "Calibration", titled("Calibration", results.calibration(evaluation))),
        *([] if soon is None else [("soon", "How soon", titled("How soon it knows", anytime.section(soon)))]),
    ]


def _event_sections(events: TimelineEvaluation) -> list[Section]:
    charts, soon = event_results.event_charts(events), event_results.latency_table(events)
    return [
        ("events", "Events", titled("Events found", charts, soon)),
        ("timelines", "Timelines", titled("Videos over time", event_videos.video_sections(events))),
        ("mistakes", "Mistakes", titled("Misses and false alarms", event_videos.case_sections(events))),
    ]


def _weights_sections(run: Run) -> list[Section]:
    """What needs the network itself."""
    try:
        loaded = load_weights(run.weights_folder)
    except LSNError as error:
        missing = note(f"Single videos and the cost are not shown, because the weights cannot be loaded: {error}")
        return [("weights", "Weights", titled("Weights", missing))]
    cost = ("cost", "Cost", titled("Cost", _cost(loaded)))
    if run.events is not None:
        return [cost]
    videos: Content = note("Which videos to show is not known without an evaluation.")
    if run.evaluation is not None and run.evaluation.labels != loaded.labels:
        videos = note("No videos are shown: the weights know other classes than the evaluation.")
    elif run.evaluation is not None:
        videos = cases.section(run.evaluation.rows, loaded)
    return [
        ("videos", "Videos", titled("Single videos", videos)),
        cost,
    ]


def _recipe(run: Run) -> Content:
    if not run.recipe:
        return None
    return tag("details", tag("summary", "The whole recipe (recipe.yaml)"), tag("pre", run.recipe), class_="card")


def _cost(loaded: LoadedModel) -> Markup:
    size, num_frames = loaded.input.size, loaded.model.num_frames
    return results.cost_table(
        model_cost(loaded.model, height=size, width=size, num_frames=num_frames), size=size, num_frames=num_frames
    )


def _unreadable(run: Run) -> Content:
    if not run.unreadable:
        return tag("p", "None: every clip of training and evaluation could be read.", class_="lead")
    caption = f"{count(len(run.unreadable), 'clip')} left out, neither trained on nor counted in the figures above."
    return figure(table(("Left out of", "Clip", "Why"), run.unreadable, class_="wide"), caption=caption)
