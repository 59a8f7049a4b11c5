"""Writing shards: tars in the form of WebDataset, and manifests that name the clips in them."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsn.data.clips.checks import check_manifest, leak_problems
from lsn.data.clips.formats import OPTIONAL_COLUMNS
from lsn.data.clips.table import Clip, Manifest, Problem, raise_on_errors
from lsn.data.clips.writing import names_of_copies, write_manifest
from lsn.errors import ConfigError, DataError
from lsn.files import atomic_path, check_outputs, is_folder, is_leftover, read_text, remove_leftovers, write_text
from lsn.parsing import parse_json, to_json
from lsn.remote import is_address
from lsn.video import IMAGE_SUFFIXES
from lsn.video.decoding.archive import SUFFIX as TAR
from lsn.video.decoding.archive import find_member

RECORD = "shards.json"
"""Says what a folder of shards was written from."""


@dataclass(frozen=True)
class Shards:
    """What `write_shards` has written."""

    num_shards: int
    num_found: int
    """Shards among them that an earlier call had written."""
    num_videos: int
    """A video that several clips are windows of is in one shard, once."""
    num_bytes: int
    """Of all shards."""
    manifests: tuple[Path, ...]
    """In the order of those given."""


@dataclass(frozen=True)
class _Video:
    """A file, or folder of images, and the clips that are cut from it."""

    clips: tuple[Clip, ...]
    files: tuple[tuple[Path, int, int], ...]
    """Each with its size in bytes and the time of its last change in nanoseconds."""

    @property
    def is_folder(self) -> bool:
        return is_folder(self.clips[0].path)

    @property
    def num_bytes(self) -> int:
        return sum(size for _, size, _ in self.files)

    def member(self, key: str) -> str:
        """What the manifest calls it, inside of its shard."""
        return key if self.is_folder else f"{key}{_suffix(self.files[0][0])}"


def write_shards(
    manifests: Sequence[Manifest],
    out: str | Path,
    *,
    max_bytes: int = 256 << 20,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Shards:
    """Packs the videos of some manifests into tars of about one size, and writes a manifest of each beside them.

    `train.csv` becomes `train-00000.tar`, ..., and a `train.csv` with paths such as `train-00000.tar/00000007.mp4`,
    which is read like any manifest, with its rows in the same order. Files are copied as they are, in an order drawn by
    the seed, so that each shard has clips of all classes. Each is a sample of WebDataset: the video, or the images of a
    folder as `00000007.img_00001.jpg`; `json` with its clips; and `cls`, the number of the label, if all its clips
    share one. The same videos give the same bytes. Shards appear when they are whole, so a call that was killed can be
    repeated.

    Args:
        manifests: what to pack, read from files of different names.
        out: new folder, or one that an earlier call of the same kind has begun.
        max_bytes: videos that a shard holds together, but at least one video.
        seed: decides which videos share a shard.
        progress: called with the number of videos done and of all.

    Raises:
        ConfigError: `max_bytes` is not above 0.
        DataError: the folder holds something else, or shards of other videos; two manifests have one name, other
            labels, or clips in common; videos are missing, in shards already, or cannot be read.
    """
    if max_bytes < 1:
        raise ConfigError(f"shards of {max_bytes} bytes; expected a size above 0")
    out = Path(out)
    names = names_of_copies(manifests, out)
    check_outputs([out / name for name in names], [manifest.source for manifest in manifests])
    raise_on_errors(_problems(manifests))
    plans = {
        name: _plan(Path(name).stem, _videos(manifest, seed), max_bytes)
        for name, manifest in zip(names, manifests, strict=True)
    }
    _claim(out, plans, manifests[0].labels)
    shards = [
        (out / shard, videos, manifest)
        for manifest, plan in zip(manifests, plans.values(), strict=True)
        for shard, videos in plan.items()
    ]
    num_found = _write_missing(shards, progress)
    for name, manifest in zip(names, manifests, strict=True):
        places = _places(plans[name])
        write_manifest(out / name, manifest, paths=[places[clip.file] for clip in manifest.clips])
    remove_leftovers(out)
    return Shards(
        num_shards=len(shards),
        num_found=num_found,
        num_videos=sum(len(videos) for _, videos, _ in shards),
        num_bytes=sum(path.stat().st_size for path, _, _ in shards),
        manifests=tuple(out / name for name in names),
    )


_Plan = Mapping[str, Mapping[str, _Video]]
"""Videos by their key, by the name of their shard."""


def _problems(manifests: Sequence[Manifest]) -> list[Problem]:
    """What is wrong with each, and what two have in common, which their shards would not show."""
    problems = [problem for manifest in manifests for problem in check_manifest(manifest)]
    for one, other in itertools.combinations(manifests, 2):
        if one.labels != other.labels:
            message = f"its labels differ from those of {one.source}; read both with the same labels"
            problems.append(Problem("error", message, other.source))
        names = Path(one.source).stem, Path(other.source).stem
        problems += leak_problems(one, other, names=names)
    return problems


def _videos(manifest: Manifest, seed: int) -> list[_Video]:
    """The videos of a manifest in the order in which they are packed."""
    clips_of: dict[str, list[Clip]] = {}
    for clip in manifest.clips:
        clips_of.setdefault(clip.file, []).append(clip)
    videos = [_Video(tuple(clips), _files(manifest, clips[0])) for clips in clips_of.values()]
    random.Random(f"shards/{seed}").shuffle(videos)
    return videos


def _files(manifest: Manifest, clip: Clip) -> tuple[tuple[Path, int, int], ...]:
    path = Path(clip.path)
    if is_address(clip.path) or find_member(path) is not None:
        raise DataError(f"{manifest.where(clip)}: {clip.path} is remote or in a shard already; give files of this disk")
    try:
        paths = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if is_folder(path) else [path]
        stats = [p.stat() for p in paths]
    except OSError as error:
        raise DataError(f"{manifest.where(clip)}: {clip.path}: cannot be read: {error.strerror}") from None
    if not paths:
        raise DataError(f"{manifest.where(clip)}: {clip.path}: holds no frames; extract them again")
    return tuple((p, about.st_size, about.st_mtime_ns) for p, about in zip(paths, stats, strict=True))


def _plan(name: str, videos: Sequence[_Video], max_bytes: int) -> _Plan:
    """Cuts videos into shards, neighbours together."""
    shards: list[dict[str, _Video]] = [{}]
    num_bytes = 0
    for number, video in enumerate(videos):
        if shards[-1] and num_bytes + video.num_bytes > max_bytes:
            shards.append({})
            num_bytes = 0
        shards[-1][f"{number:08d}"] = video
        num_bytes += video.num_bytes
    return {f"{name}-{number:05d}{TAR}": videos_of for number, videos_of in enumerate(shards)}


def _claim(out: Path, plans: Mapping[str, _Plan], labels: Sequence[str]) -> None:
    """Writes down what the folder will hold.

    Raises:
        DataError: it holds something else.
    """
    digests = {name: _digest(plan, labels) for name, plan in plans.items()}
    record = out / RECORD
    if record.exists():
        try:
            earlier = dict(parse_json(read_text(record, "record of shards", error=DataError))["contents"])
        except (LookupError, TypeError, ValueError):
            raise DataError(f"{record}: not the record of shards; delete the folder, or choose another") from None
        for name, digest in digests.items():
            if earlier.get(name, digest) != digest:
                raise DataError(
                    f"{out}: holds shards of {name} that were written from other videos, or in another size or order; "
                    "delete them or choose another folder"
                )
        digests = {**earlier, **digests}
    elif out.exists() and not all(map(is_leftover, out.iterdir())):
        raise DataError(f"{out}: is not empty and holds no {RECORD}; choose a new folder")
    write_text(record, to_json({"version": 1, "contents": digests}) + "\n")


def _digest(plan: _Plan, labels: Sequence[str]) -> str:
    """Of all that shards are written from, without reading it."""
    digest = hashlib.sha256(to_json(labels).encode())
    for shard, key, video in _each(plan):
        files = [(str(path), *about) for path, *about in video.files]
        digest.update(to_json([shard, key, files, [_about(clip) for clip in video.clips]]).encode())
    return digest.hexdigest()


def _places(plan: _Plan) -> dict[str, str]:
    """Where each file will be, from the folder of the shards."""
    return {video.clips[0].file: f"{shard}/{video.member(key)}" for shard, key, video in _each(plan)}


def _each(plan: _Plan) -> Iterator[tuple[str, str, _Video]]:
    return ((shard, key, video) for shard, videos in plan.items() for key, video in videos.items())


def _write_missing(
    shards: Sequence[tuple[Path, Mapping[str, _Video], Manifest]], progress: Callable[[int, int], None] | None
) -> int:
    """Writes the shards that are not there, each with its videos and their manifest; returns how many were."""
    total = sum(len(videos) for _, videos, _ in shards)
    num_done = num_found = 0
    for path, videos, manifest in shards:
        if path.exists():
            num_found += 1
        else:
            _write_shard(path, videos, manifest)
        num_done += len(videos)
        if progress:
            progress(num_done, total)
    return num_found


def _write_shard(path: Path, videos: Mapping[str, _Video], manifest: Manifest) -> None:
    with atomic_path(path) as partial, tarfile.open(partial, "w") as tar:
        for key, video in videos.items():
            for file, size, _ in video.files:
                name = f"{key}.{file.name}" if video.is_folder else f"{key}{_suffix(file)}"
                _add_file(tar, name, file, size)
            labels = {clip.label for clip in video.clips}
            _add(tar, f"{key}.json", to_json({"clips": [_about(clip) for clip in video.clips]}).encode())
            if len(labels) == 1:
                _add(tar, f"{key}.cls", str(manifest.label_index(labels.pop())).encode())


def _add_file(tar: tarfile.TarFile, name: str, file: Path, size: int) -> None:
    try:
        with file.open("rb") as source:
            _add(tar, name, source, size)
    except OSError as error:
        if error.errno is None:  # tarfile's, of a file that ends too early
            raise DataError(f"{file}: has changed while it was packed; run the same command again") from None
        if error.filename == str(file):
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        raise


def _add(tar: tarfile.TarFile, name: str, content: bytes | io.BufferedReader, size: int | None = None) -> None:
    """Adds a member without anything in it that differs from call to call."""
    about = tarfile.TarInfo(name)
    about.size = len(content) if isinstance(content, bytes) else size or 0
    tar.addfile(about, io.BytesIO(content) if isinstance(content, bytes) else content)


def _suffix(file: Path) -> str:
    return file.suffix.lower()


def _about(clip: Clip) -> dict[str, object]:
    """What the manifest says of a clip, for other readers."""
    cells = {name: getattr(clip, name) for name in OPTIONAL_COLUMNS}
    named = {"file": Path(clip.path).name, "label": clip.label, "group": clip.group or None, **cells}
    return {name: value for name, value in named.items() if value is not None}
