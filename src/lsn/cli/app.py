"""The commands of `lsn` put together, and what happens when one fails.

Heavy modules are imported inside the commands, so that help and typing mistakes answer at once.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.exceptions import UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from lsn import __version__
from lsn.cli.commands.batch import batch
from lsn.cli.commands.bench import bench
from lsn.cli.commands.convert import convert
from lsn.cli.commands.data.app import data
from lsn.cli.commands.demo import demo
from lsn.cli.commands.evaluate import evaluate
from lsn.cli.commands.export import export
from lsn.cli.commands.models import cost, models
from lsn.cli.commands.predict import predict
from lsn.cli.commands.probe import probe
from lsn.cli.commands.push import push
from lsn.cli.commands.recipes import recipes
from lsn.cli.commands.report import report
from lsn.cli.commands.reproduce import reproduce
from lsn.cli.commands.serve import serve
from lsn.cli.commands.stream import stream
from lsn.cli.commands.timeline import timeline
from lsn.cli.commands.train import train
from lsn.cli.commands.verify import verify
from lsn.cli.signals import Stopped, handling_stop_signals, raise_stopped
from lsn.cli.ui.console import error_line
from lsn.config.old_names import current_options
from lsn.errors import ConfigError, LSNError, did_you_mean, shown
from lsn.hardware import tune_allocator, tune_threads
from lsn.parsing import is_name

EXIT_BUG, EXIT_USER_ERROR, EXIT_INTERRUPTED = 1, 2, 130

_START = Group("Start", sort_key=1)
_WORK = Group("Train and use", sort_key=2)
_LOOK = Group("Look", sort_key=3)

_COMMANDS: tuple[tuple[App | Callable[..., int | None], Group, str], ...] = (
    (demo, _START, "lsn demo"),
    (recipes, _START, "lsn recipes copy default my.yaml"),
    (data, _START, "lsn data check videos/train.csv videos/val.csv"),
    (probe, _WORK, "lsn probe videos model.name=lsn_resnet18"),
    (train, _WORK, "lsn train data.train=videos --out runs/mine"),
    (evaluate, _WORK, "lsn evaluate runs/mine videos/test.csv --clips 2 --crops 3"),
    (predict, _WORK, "lsn predict runs/mine clip.mp4 --annotate seen.mp4"),
    (stream, _WORK, "lsn stream runs/mine rtsp://camera/live --events events.jsonl"),
    (batch, _WORK, "lsn batch archive --weights runs/mine --out answers"),
    (timeline, _WORK, "lsn timeline runs/mine long.mp4 --out seen"),
    (serve, _WORK, "lsn serve runs/mine --streams 16"),
    (report, _WORK, "lsn report runs/mine"),
    (reproduce, _WORK, "lsn reproduce something-something-v1 lsn lsn_ss"),
    (convert, _WORK, "lsn convert tsm.pth.tar --model tsm_resnet50 --labels labels.txt --out weights/tsm"),
    (export, _WORK, "lsn export runs/mine --to onnx"),
    (push, _WORK, "lsn push runs/mine user/name --license apache-2.0"),
    (models, _LOOK, "lsn models resnet50"),
    (verify, _LOOK, "lsn verify runs/mine clip.mp4"),
    (bench, _LOOK, "lsn bench runs/mine clip.mp4"),
    (cost, _LOOK, "lsn cost lsn_resnet50 --num-frames 16"),
)
"""Every command with its place in the help and an example."""


def _build() -> App:
    app = App(
        name="lsn",
        version=__version__,
        help="Recognise actions in video with CNNs that carry a memory from frame to frame.",
        help_format="plaintext",
        help_epilogue="Example: lsn demo\nEvery command has --help, and --debug for the traceback of an error.",
        default_parameter=Parameter(negative=(), show_default=_shown_default),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for position, (command, group, example) in enumerate(_COMMANDS):
        if not isinstance(command, App):
            function, command = command, App(name=command.__name__)
            command.default(function)
        command.group, command.sort_key, command.help_epilogue = (group,), position, f"Example: {example}"
        app.command(command)
    return app


def _shown_default(value: object) -> str | None:
    """A default as help shows it; that a flag is off, or an option not given, needs no mention."""
    return None if value is None or value is False else str(value)


app = _build()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what follows `lsn`; by default what the process was given.

    Returns:
        The exit code: 0, 2 for an error that the user can mend, 1 for a bug, 128 and the signal's number after a signal
        (130 after Ctrl-C), 75 where a scheduler has stopped a training that the same command resumes.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    tokens = [token for token in given if token != "--debug"]
    debug = len(tokens) < len(given)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that knows no block characters still gets the text
        sys.stdout.reconfigure(errors="replace")
    tune_allocator()
    tune_threads()
    with _logging_to_stderr(debug), handling_stop_signals(raise_stopped):
        try:
            _check_names(tokens)
            status = app(current_options(tokens), exit_on_error=False, print_error=False, verbose=False)
            sys.stdout.flush()
            return status or 0
        except BrokenPipeError:  # whoever read the output has left; nothing more to say, not at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_BUG
        except KeyboardInterrupt as interrupt:
            error_line("interrupted", style="yellow")
            return interrupt.exit_code if isinstance(interrupt, Stopped) else EXIT_INTERRUPTED
        except (LSNError, CycloptsError, OSError) as error:
            if debug:
                traceback.print_exc()
            error_line(_describe(error))
            return EXIT_USER_ERROR
        except Exception as error:
            return _report_bug(error)


def _check_names(arguments: Sequence[str]) -> None:
    """Refuses what no shell can pass on, so that every path that a command is given can be asked for."""
    for argument in arguments:
        if not is_name(argument):
            raise ConfigError(f"{shown(argument)}: an argument cannot hold NUL or half of a character; correct it")


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
    if not isinstance(error, CycloptsError):
        return str(error)
    text = str(error)
    if isinstance(error, UnknownCommandError | UnusedCliTokensError) and error.unused_tokens:
        name, names = error.unused_tokens[0], [name for name in error.app or () if not name.startswith("-")]
        text = f"unexpected {name!r}; {did_you_mean(name, names)}" if names else f"unexpected {name!r}."
    elif isinstance(error, UnknownOptionError) and error.command_chain == ("train",):
        text += " Settings of the recipe are given as section.key=value, without dashes."
    return f"{text} See `{' '.join(('lsn', *(error.command_chain or ())))} --help`."


def _report_bug(error: Exception) -> int:
    """Shows what the user could not have caused, whole: a run of hours must not fail without its traceback."""
    if memory := _full_memory(error):
        error_line(
            f"{memory} is full; lower training.batch_size (and raise training.grad_accum_steps), set "
            "training.grad_checkpointing=true or training.precision=bf16, or lower evaluation.batch_size"
        )
        return EXIT_USER_ERROR
    traceback.print_exc()
    error_line(f"this is a bug in LSN, not a mistake of yours: {type(error).__name__} in lsn {__version__}")
    return EXIT_BUG


def _full_memory(error: Exception) -> str | None:
    """Which memory an error says is full, if any."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return "the GPU's memory"
    is_full = isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
    return "the memory" if is_full else None


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error_line(f"{record.levelname.lower()}: {self.format(record)}", style="yellow")


@contextmanager
def _logging_to_stderr(debug: bool) -> Iterator[None]:
    logger, handler = logging.getLogger("lsn"), _StderrHandler(logging.DEBUG if debug else logging.WARNING)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
