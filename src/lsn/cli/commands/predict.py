"""`lsn predict`: what happens in a video."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from lsn.cli.options.weights import ViewOptions, run_views, weights_files
from lsn.cli.ui.console import bar, error_line, output, percent
from lsn.errors import ConfigError, VideoError
from lsn.files import check_outputs
from lsn.inference.runtimes.names import RuntimeName
from lsn.parsing import to_json

if TYPE_CHECKING:
    from lsn.inference.predictor import Prediction, Predictor

logger = logging.getLogger(__name__)


def predict(
    weights: Path,
    /,
    *videos: str,
    top: int = 5,
    json_: Annotated[bool, Parameter(name="--json")] = False,
    annotate: Path | None = None,
    views: Annotated[ViewOptions | None, Parameter(name="*")] = None,
    runtime: RuntimeName | None = None,
    device: str = "auto",
) -> int:
    """Recognise what happens in videos.

    A video that cannot be read costs an error line and the exit code 2; the others are still answered.

    Parameters
    ----------
    weights
        Folder of weights, such as a run's, or a name of the Hub.
    videos
        Video files, or folders of frames.
    top
        Classes to show.
    json_
        One line of JSON a video, with everything, instead of the bars.
    annotate
        Write the video here (.mp4) with the running prediction drawn on it.
    runtime
        pytorch, compiled (the first video waits half a minute, the others are faster), or onnx or openvino, as lsn
        export wrote it into the weights.
    device
        cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one.
    """
    if not videos:
        raise ConfigError(f"no video to predict on; lsn predict {weights} VIDEO")
    if top < 1:
        raise ConfigError(f"--top is {top}; it must be at least 1")
    if annotate is not None and len(videos) > 1:
        raise ConfigError(f"--annotate writes one video; got {len(videos)} videos")
    check_outputs([annotate], [*videos, *weights_files(weights)])
    from lsn.inference.predictor import Predictor

    evaluation = (views or ViewOptions()).of(run_views(weights))
    predictor = Predictor(weights, runtime=runtime, device=device, evaluation=evaluation)
    num_failed = 0
    for video in videos:
        try:
            prediction = _predicted(predictor, video, annotate)
        except VideoError as error:
            num_failed += 1
            _print_failure(video, error, as_json=json_)
            continue
        if json_:
            print(to_json(prediction.to_dict()), flush=True)
        else:
            print_prediction(prediction, video, top)
    if annotate is not None and not num_failed and not json_:
        output().print(f"Annotated video: {annotate}")
    return 2 if num_failed else 0


def _predicted(predictor: Predictor, video: str, annotate: Path | None) -> Prediction:
    prediction = predictor(video)
    if annotate is not None:
        from lsn.inference.annotate import write_annotated_video

        write_annotated_video(video, prediction, annotate)
    return prediction


def _print_failure(video: str, error: VideoError, *, as_json: bool) -> None:
    logger.debug("where it failed", exc_info=True)
    error_line(str(error))
    if as_json:
        print(to_json({"video": video, "error": str(error)}))


def print_prediction(prediction: Prediction, video: str, top: int) -> None:
    """Prints the most probable classes as bars, and the times."""
    console = output()
    best = prediction.top(top)
    console.print(Text(video, style="bold"))
    table = Table.grid(padding=(0, 1))
    for label, probability in best:
        style = "green" if label == best[0][0] else "default"
        table.add_row(f"  {label}", Text(percent(probability).rjust(6)), Text(bar(probability, 40), style=style))
    console.print(table)
    times = ", ".join(f"{name} {milliseconds:.0f} ms" for name, milliseconds in prediction.timings_ms.items())
    console.print(Text(f"  {times}\n", style="dim"))
