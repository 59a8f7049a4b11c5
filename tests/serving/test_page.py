"""The page of `lsn serve` in Chromium, with a camera that plays a file."""

import hashlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from http_server import Server as HttpServer
from http_server import jpeg, motion_jpeg

from lsn.cli.app import main

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import CAPACITY, Server, end, start, wait_until_free

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.slow
CHROMIUM = Path("/usr/bin/chromium")
REAL = Path(__file__).parents[3] / "shared/data/egogestar"
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SIXTY_SECONDS = 60_000


@pytest.fixture(scope="module")
def timelines(tmp_path_factory) -> list[Path]:
    """Synthetic hands that make gestures."""
    folder = tmp_path_factory.mktemp("timelines")
    options = ["--kind", "gesture_timeline", "--num-train", "1", "--num-val", "2", "--size", "96", "--seed", "3"]
    assert main(["data", "synthesize", str(folder / "made"), *options]) == 0
    return sorted((folder / "made/val").glob("*.mp4"))


@pytest.fixture(scope="module")
def camera(timelines, tmp_path_factory) -> Path:
    return as_camera(timelines[0], tmp_path_factory.mktemp("camera") / "hand.y4m")


def all_frames(video: Path) -> list[Any]:
    with av.open(video) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def as_camera(video: Path, path: Path) -> Path:
    """The file that Chromium's camera plays, over and over."""
    command = ["ffmpeg", "-v", "error", "-i", video, "-vf", "fps=15,scale=160:-2", "-pix_fmt", "yuv420p", path]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed")
    with playwright.sync_playwright() as driver:
        yield driver


@pytest.fixture
def open_page(driver) -> Iterator[Callable[..., Any]]:
    """Opens the page in a browser of its own; at the end, nothing may have been complained about."""
    browsers, complaints = [], []

    def open_(server: Server, *arguments: str, expected: tuple[str, ...] = (), **options: Any) -> Any:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
        browsers.append(browser)
        page = browser.new_page(**options)
        page.set_default_timeout(SIXTY_SECONDS)

        def note(text: str) -> None:
            if not any(each in text for each in expected):
                complaints.append(text)

        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: note(str(error)))
        page.on("request", lambda request: None if is_own(request.url, server) else complaints.append(request.url))
        page.goto(server.address)
        return page

    yield open_
    for browser in browsers:
        browser.close()
    assert complaints == []


def is_own(url: str, server: Server) -> bool:
    return url.startswith((server.address, f"ws{server.address[4:]}", "data:", f"blob:{server.address}"))


def plays(path: Path) -> list[str]:
    return [*CAMERA, f"--use-file-for-fake-video-capture={path}"]


def wait_for_state(page: Any, text: str) -> None:
    page.locator(".state", has_text=text).first.wait_for()


def num_seen(page: Any) -> int:
    """Frames that the memory of the stream holds."""
    return int(page.locator(".figures dd").nth(2).inner_text())


def until(page: Any, is_so: Callable[[], bool]) -> None:
    """Waits; the page's policy lets nobody evaluate code in it that could."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        page.wait_for_timeout(50)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = start(Path("starter:gestures"))
    yield server
    end(server)


def test_a_camera_is_watched_and_a_video_is_looked_at(server, camera, timelines, open_page):
    page = open_page(server, *plays(camera), expected=("422",), viewport={"width": 390, "height": 800})
    page.get_by_role("button", name="Watch a camera").wait_for()
    page.keyboard.press("Tab")  # without a mouse: the list of cameras, then the button
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_state(page, "watching")
    page.locator(".tile .events li").first.wait_for()
    assert page.locator(".bars li").count() == 5
    figures = page.locator(".figures").inner_text()
    assert "latency" in figures and "frames lost" in figures
    assert page.locator("#tiles .timeline > canvas").get_attribute("aria-label").startswith("Timeline: ")
    until(page, lambda: num_seen(page) > 15)
    page.get_by_role("button", name="Reset").click()
    until(page, lambda: num_seen(page) < 15)
    page.get_by_role("button", name="Close").click()
    assert page.locator(".tile").count() == 0
    wait_until_free(server)

    page.set_input_files("#file", timelines[1])
    wait_for_state(page, "done")
    with page.expect_download() as download:
        page.get_by_label("Save the events as a file").select_option("webvtt")
    assert download.value.suggested_filename == timelines[1].with_suffix(".vtt").name
    assert Path(download.value.path()).read_text().startswith("WEBVTT")
    events = page.locator(".events button")
    assert events.count() >= 2
    events.nth(1).click()
    playwright.expect(page.locator(".tile .timeline > canvas")).to_be_visible()
    assert page.evaluate("document.querySelector('.tile video').currentTime") > 1
    chart = page.locator(".tile .timeline > canvas")
    chart.hover(position={"x": 0.5 * chart.bounding_box()["width"], "y": 20})
    picture = page.locator(".hover[data-seconds]")
    picture.wait_for()
    assert float(picture.get_attribute("data-seconds")) > 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_input_files("#file", {"name": "no.mp4", "mimeType": "video/mp4", "buffer": b"no video"})
    page.locator(".state.bad", has_text="no.mp4: ").wait_for()


def test_several_cameras_and_a_full_server(server, camera, open_page):
    page = open_page(server, *plays(camera), expected=("WebSocket connection to",))
    for _ in range(CAPACITY):
        page.get_by_role("button", name="Watch a camera").click()
    playwright.expect(page.locator(".state", has_text="watching")).to_have_count(CAPACITY, timeout=SIXTY_SECONDS)
    page.get_by_role("button", name="Watch a camera").click()
    wait_for_state(page, f"all {CAPACITY} streams of the server are taken, trying again")
    page.locator(".tile").last.get_by_role("button", name="Close").click()
    playwright.expect(page.locator(".state", has_text="watching")).to_have_count(CAPACITY, timeout=SIXTY_SECONDS)


def test_cameras_that_the_server_reads(timelines, open_page):
    pictures = [jpeg(frame) for frame in all_frames(timelines[0])]
    goes_on = threading.Event()
    with HttpServer({"/camera": motion_jpeg(pictures, goes_on, pause_seconds=0.05)}) as camera:
        server = start(Path("starter:gestures"), "--pull", f"yard={camera.url}/camera", "--pull", "none=/no/file.mp4")
        try:
            page = open_page(server)
            yard, none = (
                page.locator(".tile", has=page.get_by_role("heading", name=name)) for name in ("yard", "none")
            )
            none.locator(".state.bad", has_text="/no/file.mp4: no such file").wait_for()
            yard.locator(".state", has_text="watching").wait_for()
            yard.locator(".picture img[src^='data:image/jpeg']").wait_for()
            yard.locator(".events li").first.wait_for()
            assert yard.locator(".bars li").count() == 5
            assert server.ask("/v1/streams/none", method="DELETE")[0] == 200
            playwright.expect(none).to_have_count(0, timeout=SIXTY_SECONDS)
            yard.get_by_role("button", name="Close").click()
            assert page.locator(".tile").count() == 0
            page.close()  # before the server, which it asks again and again
        finally:
            goes_on.set()
            end(server)


def test_the_interface_described(server, open_page):
    page = open_page(server)
    page.get_by_role("link", name="Interface for programs").click()
    page.get_by_text("/v1/predict", exact=True).wait_for()
    assert page.get_by_text("/v2/models/{model}/infer", exact=True).count() == 1


def test_no_camera_and_no_permission(server, open_page):
    page = open_page(server)
    page.get_by_role("button", name="Watch a camera").click()
    playwright.expect(page.get_by_role("alert").last).to_have_text("no camera was found", timeout=SIXTY_SECONDS)
    denied = open_page(server, "--use-fake-device-for-media-stream", "--deny-permission-prompts")
    denied.get_by_role("button", name="Watch a camera").click()
    said = denied.get_by_role("alert").last
    playwright.expect(said).to_contain_text("the browser may not use the camera", timeout=SIXTY_SECONDS)


def test_a_server_that_is_started_again(camera, open_page, tmp_path):
    options = ("--state-store", str(tmp_path / "states"), "--snapshot-seconds", "0.2")
    server = start(Path("starter:gestures"), *options)
    lost = ("WebSocket connection to", "net::ERR_CONNECTION_REFUSED", "net::ERR_INCOMPLETE_CHUNKED_ENCODING")
    page = open_page(server, *plays(camera), expected=lost)
    page.get_by_role("button", name="Watch a camera").click()
    page.locator(".bars li").first.wait_for()
    until(page, lambda: num_seen(page) > 20)
    before = num_seen(page)
    server.process.kill()
    server.process.wait()
    page.locator(".state.bad").wait_for()
    server = start(Path("starter:gestures"), *options, port=server.port)
    try:
        wait_for_state(page, "connected again, the stream resumes")
        until(page, lambda: num_seen(page) > before)
    finally:
        end(server)


def test_a_token_is_asked_for(camera, open_page, tmp_path):
    (tmp_path / "tokens").write_text(f"me {hashlib.sha256(b'secret').hexdigest()}\n")
    server = start(Path("starter:gestures"), "--tokens", str(tmp_path / "tokens"))
    try:
        page = open_page(server, *plays(camera), expected=("401",))
        field = page.get_by_label("This server asks for a token")
        field.fill("wrong")
        field.press("Enter")
        page.get_by_text("the server does not know this token").wait_for()
        field.fill("secret")
        field.press("Enter")
        page.get_by_role("button", name="Watch a camera").click()
        wait_for_state(page, "watching")
        page.reload()
        page.get_by_role("button", name="Watch a camera").wait_for()  # the tab remembers it
    finally:
        end(server)


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/egogestar")
def test_a_real_gesture(server, open_page, tmp_path):
    video = next(REAL.rglob("*.mp4"))
    page = open_page(server, *plays(as_camera(video, tmp_path / "real.y4m")))
    page.get_by_role("button", name="Watch a camera").click()
    page.locator(".bars li").first.wait_for()
    until(page, lambda: num_seen(page) > 20)
