"""Sound video files of many kinds, as the ffmpeg command writes them: codec x container x pixel format x timing."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

STEADY, VARIABLE, LATE, EARLY, EDITED, TURNED = "steady", "variable", "late", "early", "edited", "turned"
TIMINGS = {
    STEADY: [],
    VARIABLE: ["-fps_mode", "vfr"],
    LATE: ["-output_ts_offset", "7.3"],
    EARLY: ["-output_ts_offset", "-0.2", "-avoid_negative_ts", "disabled"],
    EDITED: [],
    TURNED: [],
}
# What is done to the packets of a steady file afterwards.
REMUXED = {EDITED: (["-ss", "0.3"], []), TURNED: ([], ["-metadata:s:v", "rotate=90"])}

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "6")
X264_B = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "8")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=8:bframes=2")
VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
AV1 = ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8")
MPEG4_B = ("-c:v", "mpeg4", "-bf", "2", "-g", "8", "-q:v", "4")
MPEG2_B = ("-c:v", "mpeg2video", "-bf", "2", "-g", "8", "-q:v", "4")
DNXHR = ("-c:v", "dnxhd", "-profile:v", "dnxhr_hq")


@dataclass(frozen=True)
class Case:
    """How a file is made, and how far the pixels of two versions of FFmpeg may differ."""

    ending: str
    codec: tuple[str, ...]
    pix_fmt: str
    timing: str = STEADY
    size: str = "64x48"
    tolerance: int = 0
    """Largest difference of a value."""

    @property
    def name(self) -> str:
        codec = self.codec[1] + ("_b" if "-bf" in self.codec else "")
        return f"{codec}-{self.pix_fmt}-{self.timing}-{self.size}.{self.ending}"

    def write(self, folder: Path) -> Path:
        chosen = r"select='lt(mod(n\,5)\,2)'," if self.timing == VARIABLE else ""
        source = ["-f", "lavfi", "-i", "testsrc2=s=96x72:r=25:d=0.6", "-vf", f"{chosen}scale={self.size}"]
        codec = ["-c:v", self.codec[1], *self.codec[2:], "-pix_fmt", self.pix_fmt]
        path = folder / self.name
        whole = folder / f"whole.{self.ending}" if self.timing in REMUXED else path
        _ffmpeg(*source, *TIMINGS[self.timing], *codec, whole)
        if self.timing in REMUXED:
            before, after = REMUXED[self.timing]
            _ffmpeg(*before, "-i", whole, "-c", "copy", *after, path)
        return path


def count_of_ffprobe(path: Path) -> int:
    """Frames that ffprobe decodes."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-of", "csv=p=0"]
    command += ["-show_entries", "stream=nb_read_frames", str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return int(answer.stdout.split()[0].strip(","))  # transport streams name theirs twice


def pixels_of_ffmpeg(path: Path, height: int, width: int) -> np.ndarray:
    """The frames that the ffmpeg command shows, turned as the file asks, uint8 THWC."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return np.frombuffer(answer.stdout, np.uint8).reshape(-1, height, width, 3)


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, capture_output=True, timeout=60)


def _all(endings: str, codec: tuple[str, ...], pix_fmts: str, timings: str = STEADY, **options) -> list[Case]:
    return [
        Case(ending, codec, pix_fmt, timing, **options)
        for ending in endings.split()
        for pix_fmt in pix_fmts.split()
        for timing in timings.split()
    ]


CASES = [
    *_all("mp4 mov mkv flv avi ts nut h264", X264, "yuv420p"),
    *_all("mp4 mov mkv flv avi ts nut h264", X264_B, "yuv420p"),
    *_all("mp4 mkv flv ts", X264_B, "yuv420p", f"{VARIABLE} {LATE}"),
    *_all("mp4 mkv", X264_B, "yuv420p", EARLY),
    *_all("mp4 mov", X264_B, "yuv420p", f"{EDITED} {TURNED}"),
    *_all("mp4 mkv", X264, "yuv422p yuv444p yuv420p10le gray yuvj420p nv12"),
    *_all("mkv", X264, "yuv444p", size="65x49"),
    *_all("mp4 mkv", ("-c:v", "libx264rgb", "-preset", "ultrafast"), "rgb24"),
    *_all("mp4 mkv ts hevc", X265, "yuv420p"),
    *_all("mp4", X265, "yuv420p10le yuv444p gray"),
    *_all("mp4", X265, "yuv420p", f"{VARIABLE} {LATE} {EDITED}"),
    *_all("webm mkv ivf avi", ("-c:v", "libvpx"), "yuv420p"),
    *_all("webm", ("-c:v", "libvpx", "-auto-alt-ref", "0"), "yuva420p"),
    *_all("webm mp4 ivf", VP9, "yuv420p", size="65x49"),
    *_all("webm", VP9, "yuv444p yuv420p10le", f"{STEADY} {VARIABLE}"),
    *_all("mp4 webm ivf", AV1, "yuv420p"),
    *_all("avi mp4 mkv m4v", MPEG4_B, "yuv420p", tolerance=2),
    *_all("avi mp4", ("-c:v", "mpeg4", "-q:v", "4"), "yuv420p", f"{STEADY} {VARIABLE}", tolerance=2),
    *_all("mpg ts mkv vob mxf", MPEG2_B, "yuv420p", tolerance=2),
    *_all("mkv ts", MPEG2_B, "yuv422p", tolerance=2),
    *_all("mpg", ("-c:v", "mpeg1video", "-q:v", "4"), "yuv420p", tolerance=2),
    *_all("avi mov mkv mjpeg", ("-c:v", "mjpeg", "-q:v", "3"), "yuvj420p yuvj444p", size="65x49", tolerance=2),
    *_all("mkv avi nut", ("-c:v", "ffv1"), "gray yuv420p bgr0 yuv444p10le", size="65x49"),
    *_all("mkv", ("-c:v", "ffv1"), "bgra yuva420p gray16le gbrp10le yuv411p", size="65x49"),
    *_all("mkv nut", ("-c:v", "ffv1"), "yuv444p bgra", VARIABLE, size="1x1"),
    *_all("mov mkv", ("-c:v", "png"), "rgb24 rgba gray rgb48be", size="33x1"),
    *_all("apng", ("-c:v", "apng"), "rgb24 rgba"),
    *_all("gif", ("-c:v", "gif"), "rgb8", f"{STEADY} {VARIABLE}"),
    *_all("avi mkv", ("-c:v", "huffyuv"), "yuv422p rgb24"),
    *_all("avi", ("-c:v", "utvideo"), "gbrp yuv422p"),
    *_all("mov mkv", ("-c:v", "prores_ks"), "yuv422p10le yuva444p10le", tolerance=2),
    *_all("mov mxf", DNXHR, "yuv422p", size="256x120", tolerance=2),
    *_all("avi nut", ("-c:v", "rawvideo"), "bgr24 yuyv422 yuv420p", size="66x48"),
    *_all("y4m", ("-c:v", "wrapped_avframe"), "yuv420p yuv444p", f"{STEADY}"),
    *_all("flv avi", ("-c:v", "flv"), "yuv420p", tolerance=2),
    *_all("ogv", ("-c:v", "libtheora", "-q:v", "8"), "yuv420p"),
    *_all("wmv avi", ("-c:v", "wmv2", "-q:v", "4"), "yuv420p", tolerance=2),
    *_all("3gp", ("-c:v", "h263", "-q:v", "4"), "yuv420p", size="176x144", tolerance=2),
    *_all("mov", ("-c:v", "qtrle"), "rgb24 argb gray"),
    *_all("rm", ("-c:v", "rv20", "-q:v", "4"), "yuv420p", tolerance=2),
    *_all("mkv mov", ("-c:v", "jpeg2000"), "rgb24 yuv420p", tolerance=2),
    *_all("dv", ("-c:v", "dvvideo"), "yuv420p", size="720x576", tolerance=2),
]
