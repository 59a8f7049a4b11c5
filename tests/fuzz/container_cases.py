"""Damaged videos and folders of frames, and reading them in every way."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

from damage import ODDITIES, damaged, put_oddity
from originals import CONTAINERS, IMAGES, NUM_IMAGES, image_bytes

NUM_CASES = 200
FOLDER_EVERY = 10
"""Every so many cases, one is a folder of frames."""


def make_case(number: int, folder: Path, containers: dict[str, bytes]) -> tuple[Path, str]:
    """A damaged video or folder of frames; the same for a number each time."""
    random = Random(f"containers/{number}")
    if number % FOLDER_EVERY == 0:
        return _damaged_folder(number // FOLDER_EVERY, folder / "frames", random)
    name = list(CONTAINERS)[number % len(CONTAINERS)]
    data, damage = damaged(containers[name], random, other=containers[random.choice(list(CONTAINERS))])
    path = folder / name
    path.write_bytes(data)
    return path, f"{name}, {damage}"


def _damaged_folder(number: int, folder: Path, random: Random) -> tuple[Path, str]:
    folder.mkdir()
    suffix = list(IMAGES)[number % len(IMAGES)]
    for index in range(1, NUM_IMAGES + 1):
        (folder / f"img_{index:05d}.{suffix}").write_bytes(_image(suffix, index))
    path = folder / f"img_{random.choice((1, 1, 2, NUM_IMAGES)):05d}.{suffix}"
    if number % 5 == 4:
        path.unlink()
        kind = ODDITIES[number // 5 % len(ODDITIES)]
        put_oddity(kind, path)
        return folder, f"{path.name} is a {kind}"
    data, damage = damaged(_image(suffix, 1), random, other=_image(random.choice(list(IMAGES)), 2))
    path.write_bytes(data)
    return folder, f"{path.name}, {damage}"


@cache
def _image(suffix: str, number: int) -> bytes:
    return image_bytes(suffix, number)


def read_in_every_way(path: Path) -> list[str]:
    """Reads frames by index, in order and as a stream; what is refused is listed, what else goes wrong is raised."""
    import numpy as np

    from lsn.errors import LSNError
    from lsn.video import open_video
    from lsn.video.live.opening import open_live

    refused = []
    with open_video(path) as video:
        info = video.info
        assert info.num_frames == video.num_frames == len(video.pts_seconds) >= 1
        assert info.width >= 1 and info.height >= 1 and info.duration_seconds >= 0
        assert np.isfinite(video.pts_seconds).all() and (np.diff(video.pts_seconds) >= 0).all()
        shape, last = (info.height, info.width, 3), video.num_frames - 1
        indices = [last, 0, last // 2, last // 3, 0, last - last // 4]
        try:
            batch = video.frames_at(indices)
            assert batch.frames_THWC.shape == (len(indices), *shape) and batch.indices == tuple(indices)
        except LSNError as error:
            refused.append(f"by index: {error}")
        try:
            num_frames = 0
            for _, frame_HWC in video:
                assert frame_HWC.shape == shape
                num_frames += 1
            assert num_frames == video.num_frames
        except LSNError as error:
            refused.append(f"in order: {error}")
    try:
        with open_live(path) as source:
            for frame in source:
                assert frame.rgb().shape == shape
    except LSNError as error:
        refused.append(f"as a stream: {error}")
    return refused


def predict(weights: Path, path: Path) -> None:
    """Predicts one video, as `lsn predict` does."""
    from lsn import Predictor

    Predictor(weights, device="cpu")(path)
