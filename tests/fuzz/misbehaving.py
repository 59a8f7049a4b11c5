"""What the bounds are there for; the self-tests of `bounded` run these."""

import ctypes
import os
import subprocess
import time

import numpy as np
import torch
from torch.nn import functional as F

from lsn.errors import DataError


def return_it(value):
    return value


def raise_key_error():
    return {}["missing"]


def refuse():
    raise DataError("clip.csv: no clips")


def loop():
    while True:
        pass


def sleep_deaf():
    import signal

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    time.sleep(600)


def allocate(num_bytes, how):
    if how == "bytes":
        return len(bytearray(num_bytes))
    if how == "numpy":
        return len(np.ones(num_bytes, np.uint8))
    return len(torch.ones(num_bytes, dtype=torch.uint8))


def allocate_and_hide_it(num_bytes):
    try:
        allocate(num_bytes, "torch")
    except RuntimeError as error:
        raise DataError("the file is damaged") from error


def read_address_zero():
    ctypes.string_at(0)


def exit_at_once():
    os._exit(3)


def leave_a_process(path):
    process = subprocess.Popen(["sleep", "600"])
    path.write_text(str(process.pid))


def train_a_little():
    weight = torch.ones(64, 64, 3, 3, requires_grad=True)
    loss = F.conv2d(torch.ones(8, 64, 16, 16), weight).mean()
    loss.backward()
    return float(weight.grad.sum()) > 0
