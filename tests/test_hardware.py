import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from lsn import hardware
from lsn.errors import ConfigError


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_large_blocks_stay_in_the_process_once_freed():
    # A second block of the same size must reuse the pages of the first: no new page faults.
    script = """
import resource, runpy, sys
if not runpy.run_path(sys.argv[1])["tune_allocator"]():
    sys.exit(77)
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first, second = faults(), faults()
assert first > 100 and second < first / 10, (first, second)
"""
    module = importlib.util.find_spec("lsn.hardware").origin  # by itself, without all that LSN needs
    done = subprocess.run([sys.executable, "-c", script, module], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("not glibc")
    assert done.returncode == 0, done.stderr


def container(folder, *, version: int, quota: str, period: str = "100000"):
    """The files in which Linux shows the quota."""
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} {period}\n")
    else:
        (folder / "cpu").mkdir()
        (folder / "cpu/cpu.cfs_quota_us").write_text(quota.replace("max", "-1") + "\n")
        (folder / "cpu/cpu.cfs_period_us").write_text(period + "\n")
    return folder


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("quota", "cores"), [("max", 64), ("200000", 2), ("150000", 2), ("1000", 1), ("9900000", 64)])
def test_a_container_has_the_cores_of_its_quota(tmp_path, monkeypatch, version, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert hardware.usable_cores(container(tmp_path, version=version, quota=quota)) == cores


def test_a_machine_that_tells_no_quota_has_all_its_cores(tmp_path):
    assert hardware.usable_cores(tmp_path) == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("nonsense")
    assert hardware.usable_cores(tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.slow
def test_pytorch_runs_as_many_threads_as_the_quota_allows(tmp_path):
    script = """
import sys
from pathlib import Path
from lsn.hardware import tune_threads
tune_threads(Path(sys.argv[1]))
assert "torch" not in sys.modules
import torch
print(torch.get_num_threads())
"""

    def threads(**environment):
        free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        command = [sys.executable, "-c", script, str(container(tmp_path, version=2, quota="100000"))]
        return int(subprocess.run(command, capture_output=True, text=True, env=free | environment).stdout)

    assert threads() == 1
    assert threads(OMP_NUM_THREADS="2") == min(2, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    "name",
    [
        "meta",
        "cpu:99",
        "cuda:77",
        "xpu:9",
        "xla",
        "vulkan",
        "hpu",
        "privateuseone",
        "opengl",
        "",
        " ",
        "cpu:",
        "\0",
        "\ud800",
    ],
)
def test_what_cannot_compute_is_refused(name) -> None:
    with pytest.raises(ConfigError, match=r"device '.*' cannot be used \(.+\); use cpu, cuda, cuda:1, mps or auto"):
        hardware.resolve_device(name)


def test_what_can_compute_is_taken() -> None:
    assert hardware.resolve_device("cpu") == hardware.resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert hardware.resolve_device("cpu:0").type == "cpu"
    assert hardware.resolve_device("auto").type in ("cpu", "cuda", "mps")
