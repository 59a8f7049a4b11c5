import importlib.util
import subprocess
import sys

import pytest


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
    module = importlib.util.find_spec("lsn.machine").origin  # by itself, without all that LSN needs
    done = subprocess.run([sys.executable, "-c", script, module], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("not glibc")
    assert done.returncode == 0, done.stderr
