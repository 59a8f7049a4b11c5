"""How the suites run: case by case in bounded processes, a number of cases a test."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from bounded import Bounded, Outcome

CASES_A_TEST = 20
_LARGE = 1 << 30  # such files are all holes

Make = Callable[[int, Path], tuple[Path, str]]
"""Makes a case by its number, below a folder: the input, and what is wrong with it."""


def parts(num_cases: int) -> list[range]:
    """The numbers of a suite's cases, test by test."""
    return [range(first, min(first + CASES_A_TEST, num_cases)) for first in range(0, num_cases, CASES_A_TEST)]


def part_name(numbers: range) -> str:
    """A test's name in pytest's list."""
    return f"{numbers.start}-{numbers.stop - 1}"


def check(
    numbers: Iterable[int],
    *,
    folder: Path,
    make: Make,
    bounded: Bounded,
    function: Callable[..., object],
    judge: Callable[[int, Outcome], str | None] = lambda number, outcome: None,
) -> None:
    """Runs cases, which differ but for a few by chance; fails with a list of those that did not end well.

    Args:
        numbers: of the cases.
        folder: for their inputs; those of cases that failed are kept.
        make: makes an input.
        bounded: runs the function on it.
        function: takes the input's path.
        judge: what is wrong with the outcome of a case that is "ok" or "refused"; None if nothing is.
    """
    failures, contents = [], []
    for number in numbers:
        below = folder / f"case{number:03d}"
        below.mkdir()
        path, description = make(number, below)
        contents.append(_content(below))
        outcome = bounded.run(function, path)
        wrong = judge(number, outcome) if outcome.kind in ("ok", "refused") else outcome.kind
        if wrong is None:
            shutil.rmtree(below)
        else:
            failures.append(f"case {number} ({description}): {wrong}; kept: {path}\n{outcome.detail}".rstrip())
    assert not failures, "\n\n".join([f"{len(failures)} cases failed", *failures])
    assert len(set(contents)) > 0.9 * len(contents), f"only {len(set(contents))} of {len(contents)} cases differ"


def _content(folder: Path) -> str:
    """A hash of all that is below a folder: names, kinds and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        digest.update(f"{path.relative_to(folder)} {about.st_mode} {about.st_size} ".encode(errors="surrogateescape"))
        if path.is_symlink():
            digest.update(bytes(path.readlink()))
        elif path.is_file() and about.st_size < _LARGE:
            digest.update(path.read_bytes())
    return digest.hexdigest()
