"""How the threads of a command wait for each other, as GNU's OpenMP itself shows when a process loads it."""

import os
import re
import subprocess
import sys

import pytest
import torch

from lsn.hardware import BRIEF_WAITING

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not torch.backends.openmp.is_available(), reason="needs GNU's OpenMP"
)
BRIEF = ("PASSIVE", BRIEF_WAITING["GOMP_SPINCOUNT"])


def waiting_of(*arguments: str, **own: str) -> list[tuple[str, str]]:
    """Wait policy and spin count of each process of a command, in the order in which they loaded OpenMP."""
    free = {name: value for name, value in os.environ.items() if name not in BRIEF_WAITING}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=free | own | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return re.findall(r"OMP_WAIT_POLICY = '(\w+)'.*?GOMP_SPINCOUNT = '(\w+)'", done.stderr, flags=re.DOTALL)


@pytest.mark.slow
def test_threads_of_a_command_spin_briefly():
    assert waiting_of("lsn", "cost", "lsn_test_resnet") == [BRIEF]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "expected"),
    [({"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", r"\d{8,}")), ({"GOMP_SPINCOUNT": "77"}, (r"\w+", "77"))],
    ids=str,
)
def test_what_the_user_has_set_is_left_alone(own, expected):
    ((policy, spins),) = waiting_of("lsn", "cost", "lsn_test_resnet", **own)
    assert re.fullmatch(expected[0], policy)
    assert re.fullmatch(expected[1], spins)


@pytest.mark.slow
def test_so_do_those_of_torchrun_and_of_workers(tiny_run, tmp_path):
    start = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lsn"]
    settings = [*tiny_run, "data.num_workers=1"]
    launcher, *others = waiting_of(*start, "train", "demo", *settings, "--out", str(tmp_path / "run"))
    assert launcher != BRIEF
    assert others == 4 * [BRIEF]  # two that train, and for each the server that its workers are forked from
