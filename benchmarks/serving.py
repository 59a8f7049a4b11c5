"""What `lsn serve` carries: clients that each send frames at the rate of the model, and what they are answered.

    python benchmarks/serving.py load starter:gestures --clients 1 2 4 8 16 32 64 --out docs/assets/serving.png
    python benchmarks/serving.py soak starter:gestures --clients 64 --seconds 600
    python benchmarks/serving.py faults starter:gestures --clients 8 --kills 10

`load` gives the latency from sending a frame to its answer as the number of clients grows, and the most answers a
second beside the bare engine's, whose batches are as large. `soak` compares all answers with those of each client's
frames alone. `faults` kills the server with -9 at random moments; the clients resume with another one, and are compared
too.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import lsn.serving
from lsn.streaming import StreamingPredictor
from lsn.streaming.engine import StreamEngine
from lsn.video.decoding.frames_reader import decode_image

NUM_PICTURES, HEIGHT, WIDTH = 64, 120, 160
NUM_VIDEOS = 8
"""Different ones; the comparison costs a run of the model for each client."""


@dataclass
class Server:
    """A process of `lsn serve`."""

    weights: str
    options: Sequence[str]
    port: int = 0

    def start(self) -> None:
        """Waits until it can be used."""
        command = [sys.executable, "-m", "lsn", "serve", self.weights, "--port", str(self.port), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("http://"):
                self.port = int(line.split()[0].rpartition(":")[2])
                return
        raise RuntimeError("the server did not start")

    def resident_megabytes(self) -> float:
        """Memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def kill(self) -> None:
        """As with kill -9."""
        self.process.kill()
        self.process.wait()


@dataclass
class Client:
    """What one client saw."""

    pictures: list[bytes]
    sent_at: dict[int, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    answers: dict[float, tuple[int, list[float]]] = field(default_factory=dict)
    """Frame and probabilities by the time of the tick."""
    num_dropped: int = 0
    num_missing: int = 0
    num_without_state: int = 0

    def take(self, message: dict) -> None:
        """Notes what the server says."""
        if message["type"] == "result":
            number = message["frame"]
            if message["seconds"] not in self.answers and number in self.sent_at:
                self.latencies.append(time.perf_counter() - self.sent_at[number])
            self.answers[message["seconds"]] = number, message["probabilities"]
        elif message["type"] == "dropped":
            self.num_dropped += message["frames"]
        elif message["type"] == "missing":
            self.num_missing += message["frames"]
        elif message["type"] == "ready":
            self.num_without_state += bool(message["resumed"] and message["resumed"]["error"])

    def picture(self, number: int) -> bytes:
        """The picture of a frame."""
        return self.pictures[number % NUM_PICTURES]


async def play(client: Client, servers: Sequence[Server], fps: float, seconds: float, *, delay: float) -> None:
    """Sends frames at a rate, and takes what comes; resumes with another server when one fails."""
    await asyncio.sleep(delay)
    addresses = [f"http://127.0.0.1:{server.port}" for server in servers]
    async with lsn.serving.Client(*addresses).live_async() as live:

        async def send() -> None:
            start = time.perf_counter()
            for number in range(round(seconds * fps)):
                await asyncio.sleep(max(0.0, start + number / fps - time.perf_counter()))
                client.sent_at[number] = time.perf_counter()
                await live.send(number / fps, client.picture(number))
            await live.finish()

        sending = asyncio.create_task(send())
        async for message in live:
            client.take(message)
        await sending


async def flood(client: Client, server: Server, fps: float, until: float, answered_at: list[float]) -> None:
    """Sends frames as fast as they are answered, and notes when: three are under way, one of them on screen."""
    async with lsn.serving.Client(f"http://127.0.0.1:{server.port}").live_async() as live:
        for number in range(3):
            await live.send(number / fps, client.picture(number))
        number = 3
        async for message in live:
            if message["type"] == "result":
                answered_at.append(time.perf_counter())
                if answered_at[-1] > until:
                    return
                await live.send(number / fps, client.picture(number))
                number += 1


def load(options: argparse.Namespace, predictor: StreamingPredictor) -> None:
    server, rows = Server(options.weights, ["--streams", str(max(options.clients)), *options.serve]), []
    server.start()
    try:
        for number in options.clients:
            clients = new_clients(number)
            asyncio.run(everybody(clients, [server], predictor.fps, options.seconds))
            latencies = 1000 * np.array([each for client in clients for each in client.latencies])
            counts = throughput(number, server, options.weights, predictor.fps, options.turns)
            rows.append((number, *np.percentile(latencies, (50, 95)), sum(c.num_dropped for c in clients), *counts))
            print(
                "{:4d} clients: p50 {:.0f} ms, p95 {:.0f} ms, {} dropped; at most {:.0f} answers/s, bare engine "
                "{:.0f}/s = {:.0%}".format(*rows[-1], counts[0] / counts[1]),
                flush=True,
            )
    finally:
        server.kill()
    if options.out:
        draw(rows, predictor.fps, options.out)


async def everybody(clients: Sequence[Client], servers: Sequence[Server], fps: float, seconds: float) -> None:
    """All clients, which begin at other moments."""
    await asyncio.gather(*(play(client, servers, fps, seconds, delay=random.uniform(0, 1)) for client in clients))


def throughput(number: int, server: Server, weights: str, fps: float, turns: int) -> tuple[float, float]:
    """Answers a second at most, and frames a second of the engine alone: medians of turns, as both vary by a fifth."""
    engine = StreamingPredictor(weights, capacity=number).engine
    pairs = [(asyncio.run(flooded(number, server, fps, 3.0)), bare(engine, 3.0)) for _ in range(turns)]
    answers, alone = np.median(pairs, axis=0)
    return float(answers), float(alone)


async def flooded(number: int, server: Server, fps: float, seconds: float) -> float:
    """Answers a second when all clients send as fast as they are answered, once all have begun."""
    start = time.perf_counter() + 1.5
    answered_at: list[float] = []
    clients = new_clients(number)
    await asyncio.gather(*(flood(client, server, fps, start + seconds, answered_at) for client in clients))
    return sum(start <= moment < start + seconds for moment in answered_at) / seconds


def bare(engine: StreamEngine, seconds: float) -> float:
    """Frames a second of the engine alone in batches of its size."""
    frame = np.random.default_rng(0).integers(0, 256, (3, engine.runtime.height, engine.runtime.width), dtype=np.uint8)
    slots = [engine.acquire() for _ in range(engine.capacity)]
    engine.step(dict.fromkeys(slots, frame))
    start, num_steps = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        engine.step(dict.fromkeys(slots, frame))
        num_steps += 1
    elapsed_seconds = time.perf_counter() - start
    for slot in slots:
        engine.release(slot)
    return engine.capacity * num_steps / elapsed_seconds


def soak(options: argparse.Namespace, predictor: StreamingPredictor) -> None:
    (number,) = options.clients
    server, clients = Server(options.weights, ["--streams", str(number), *options.serve]), new_clients(number)
    server.start()
    try:
        asyncio.run(watched(everybody(clients, [server], predictor.fps, options.seconds), server))
    finally:
        server.kill()
    compare(clients, predictor)


async def watched(work: Coroutine[Any, Any, None], server: Server) -> None:
    """Tells the server's memory while something goes on."""
    task, start = asyncio.create_task(work), time.perf_counter()
    while not task.done():
        await asyncio.wait([task], timeout=60)
        print(f"{time.perf_counter() - start:5.0f} s: {server.resident_megabytes():.1f} MB", flush=True)
    await task


def faults(options: argparse.Namespace, predictor: StreamingPredictor) -> None:
    (number,) = options.clients
    with tempfile.TemporaryDirectory() as folder:
        settings = ["--streams", str(number), "--state-store", folder, "--snapshot-seconds", "1", *options.serve]
        servers, clients = [Server(options.weights, settings) for _ in range(2)], new_clients(number)
        for server in servers:
            server.start()

        async def kill() -> None:
            for turn in range(options.kills):
                await asyncio.sleep(random.uniform(3, 6))
                victim = servers[turn % 2]
                await asyncio.to_thread(victim.kill)
                await asyncio.to_thread(victim.start)
                print(f"kill {turn + 1}", flush=True)

        async def both() -> None:
            seconds = options.kills * 9.0
            await asyncio.gather(kill(), everybody(clients, servers, predictor.fps, seconds))

        try:
            asyncio.run(both())
        finally:
            for server in servers:
                server.kill()
    compare(clients, predictor)


def compare(clients: Sequence[Client], predictor: StreamingPredictor) -> None:
    """Compares all answers with those of the same frames alone."""
    largest, num_answers, known = 0.0, 0, {}
    for client in clients:
        numbers = tuple(sorted({number for number, _ in client.answers.values()}))
        key = id(client.pictures), numbers
        if key not in known:
            known[key] = alone(client.pictures, numbers, predictor)
        expected = known[key]
        for seconds, (_, probabilities) in client.answers.items():
            if seconds in expected:  # but for the ticks after the last frame
                largest = max(largest, float(np.abs(expected[seconds] - probabilities).max()))
                num_answers += 1
    sent = sum(len(client.sent_at) for client in clients)
    reported = sum(client.num_dropped + client.num_missing for client in clients)
    seen = sum(len({number for number, _ in client.answers.values()}) for client in clients)
    print(
        f"{sent} frames sent, {seen} answered, {reported} reported as lost, "
        f"{sum(client.num_without_state for client in clients)} streams without their state"
    )
    print(f"{num_answers} answers compared: largest difference {largest:.1e}")


def alone(pictures: Sequence[bytes], numbers: Sequence[int], predictor: StreamingPredictor) -> dict[float, np.ndarray]:
    """Probabilities after these frames by the time of the tick."""
    session = predictor.open()
    frames = [decode_image(data, "", max_pixels=HEIGHT * WIDTH) for data in pictures]
    answers = (session.push(number / predictor.fps, frames[number % NUM_PICTURES]) for number in numbers)
    expected = {answer.seconds: answer.probabilities for each in answers for answer in each}
    session.close()
    return expected


def draw(rows: Sequence[tuple[float, ...]], fps: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    number, p50, p95, _, answers, engine = zip(*rows, strict=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    left.plot(number, p50, "o-", label="median")
    left.plot(number, p95, "o-", label="95th percentile")
    left.axhline(250, color="grey", linestyle=":")
    left.set(xlabel=f"clients, each {fps:g} frames a second", ylabel="from frame to answer (ms)", ylim=(0, None))
    right.plot(number, answers, "o-", label="server")
    right.plot(number, engine, "o-", label="engine alone")
    right.set(xlabel="clients", ylabel="answers a second, at most", ylim=(0, None))
    for axes in (left, right):
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def new_clients(number: int) -> list[Client]:
    videos = [pictures(seed) for seed in range(min(number, NUM_VIDEOS))]
    return [Client(videos[place % NUM_VIDEOS]) for place in range(number)]


def pictures(seed: int) -> list[bytes]:
    """Blurred noise, as JPEG."""
    random_numbers, found = np.random.default_rng(seed), []
    for _ in range(NUM_PICTURES):
        small = random_numbers.integers(0, 256, (8, 10, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(file, "JPEG")
        found.append(file.getvalue())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("load", "soak", "faults"))
    parser.add_argument("weights")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--turns", type=int, default=7, help="of the server and the engine alone, for the most answers")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--serve", nargs="*", default=[], help="options for lsn serve, without dashes: runtime=onnx")
    parser.add_argument("--out", type=Path, help="the picture of the load (.png)")
    options = parser.parse_args(arguments)
    options.serve = [part for each in options.serve for part in ("--" + each.partition("=")[0], each.partition("=")[2])]
    random.seed(0)
    predictor = StreamingPredictor(options.weights, capacity=1)
    {"load": load, "soak": soak, "faults": faults}[options.kind](options, predictor)
    return 0


if __name__ == "__main__":
    sys.exit(main())
