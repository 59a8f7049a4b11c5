"""The bounds of the other tests here hold what they promise."""

import time
from pathlib import Path

import misbehaving
import pytest
from warm_server import WarmServer, processes_of_session

pytestmark = pytest.mark.slow


def test_what_is_returned_comes_back(bounded):
    outcome = bounded.run(misbehaving.return_it, {"a": [1, None]})
    assert (outcome.kind, outcome.value) == ("ok", {"a": [1, None]})


def test_errors_of_lsn_and_others_are_told_apart(bounded):
    refused = bounded.run(misbehaving.refuse)
    assert (refused.kind, refused.detail) == ("refused", "DataError: clip.csv: no clips")
    foreign = bounded.run(misbehaving.raise_key_error)
    assert foreign.kind == "foreign"
    assert "KeyError: 'missing'" in foreign.detail and "misbehaving.py" in foreign.detail


@pytest.mark.parametrize("function", [misbehaving.loop, misbehaving.sleep_deaf])
def test_what_does_not_end_is_ended(bounded, function):
    outcome = bounded.run(function, seconds=0.5)
    assert outcome.kind == "timeout"
    assert bounded.run(misbehaving.return_it, 1).value == 1


@pytest.mark.parametrize("how", ["bytes", "numpy", "torch"])
def test_memory_is_bounded(bounded, how):
    """With the address space that the libraries of CUDA take in it or not."""
    assert bounded.run(misbehaving.allocate, 700 << 20, how).kind == "ok"
    assert bounded.run(misbehaving.allocate, 2 << 30, how).kind == "memory"


def test_memory_is_bounded_even_if_an_error_of_lsn_hides_it(bounded):
    assert bounded.run(misbehaving.allocate_and_hide_it, 2 << 30).kind == "memory"


def test_crashes_are_seen(bounded):
    crashed = bounded.run(misbehaving.read_address_zero)
    assert crashed.kind == "crashed"
    assert crashed.detail.startswith("SIGSEGV") and "read_address_zero" in crashed.detail
    assert bounded.run(misbehaving.exit_at_once).detail.startswith("exit code 3")


def test_no_process_is_left(bounded, tmp_path):
    path = tmp_path / "pid"
    assert bounded.run(misbehaving.leave_a_process, path).kind == "ok"
    process = Path("/proc", path.read_text(), "stat")
    for _ in range(500):
        if not process.exists() or process.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)
    pytest.fail("the process still runs")


def test_networks_learn_in_a_forked_process(bounded):
    assert bounded.run(misbehaving.train_a_little).value is True


def test_the_server_refuses_to_run_threads():
    with WarmServer() as server, pytest.raises(RuntimeError, match="2 threads"):
        server.prepare(_start_thread)


def test_a_session_is_known_by_its_processes(tmp_path):
    files = {"stdout": tmp_path / "out", "stderr": tmp_path / "err", "folder": tmp_path}
    with WarmServer() as server:
        pid = server.start(misbehaving.leave_a_process, tmp_path / "pid", **files)
        assert server.wait(pid, 30) == 0
        left = int((tmp_path / "pid").read_text())
        assert processes_of_session(pid) == [left]


def _start_thread():
    import threading

    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
