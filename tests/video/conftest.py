"""Videos made on the spot with plain PyAV."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from video_files import encode_pictures

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """A function that encodes `picture(0)`, `picture(1)`, ... into a file."""
    folder = tmp_path_factory.mktemp("videos")

    def make(name: str, *arguments: Any, **options: Any) -> Path:
        return encode_pictures(folder / name, *arguments, **options)

    return make
