"""A disk that can be full."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FULL = "No space left on device"


class Disk:
    """A small file system in memory, with what was there before the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
        if done.returncode:
            pytest.skip("a small file system cannot be mounted here")
        (folder / "earlier.txt").write_text("kept")

    def resize(self, kilobytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", self.folder], check=True)

    def leave(self, kilobytes: int) -> None:
        """Takes all room but this."""
        self.resize((shutil.disk_usage(self.folder).used >> 10) + kilobytes)

    def holds(self) -> dict[str, bytes]:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    yield Disk(folder)
    subprocess.run(["umount", folder], check=True)
