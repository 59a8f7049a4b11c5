"""What a video file may make FFmpeg do: which containers it may be, and how large its frames may get."""

from __future__ import annotations

import os

from lsn.errors import ConfigError, VideoError

MAX_PIXELS = 100_000_000
"""Pixels of a frame, three times those of 8K, unless the environment says otherwise."""

MAX_PIXELS_VARIABLE = "LSN_MAX_PIXELS"
"""Variable of the environment that replaces `MAX_PIXELS`, for workers of a data loader as well."""

# FFmpeg recognises a container by its content, so that a file called .mp4 can be a playlist. These are all of its
# containers and bare streams of moving pictures that refer to no other file. What is left out: playlists and scripts
# (concat, hls, dash, sdp, webm_dash_manifest, sbg), images in files of their own (image2), a format that goes on in the
# files beside it (mlv), devices and filters, sound, subtitles, text, and pictures without a header (rawvideo, v210).
_DEMUXERS = """
    mov matroska avi flv live_flv kux mpegts mpegtsraw mpeg ogg asf asf_o rm ivr nut mxf gxf dv wtv swf
    gif apng jpegxl_anim yuv4mpegpipe mjpeg mjpeg_2000 mpjpeg smjpeg ingenient ivf
    h261 h263 h264 hevc vvc evc m4v mpegvideo av1 obu vc1 vc1test cavsvideo avs2 avs3 dirac dnxhd apv ipu
    jpeg_pipe jpegls_pipe jpegxl_pipe jpegxs_pipe j2k_pipe png_pipe webp_pipe bmp_pipe tiff_pipe dpx_pipe exr_pipe
    gif_pipe pam_pipe pbm_pipe pgm_pipe pgmyuv_pipe ppm_pipe qoi_pipe sgi_pipe
    cine ser nsv nuv pva pmp ty lxf mtv moflex mods vivo vividas
    dhav hxvs ifv iv8 luodat lvf msnwctcp mxg nc lmlm4 simbiosis_imx r3d
    4xm anm avs bethsoftvid bfi bink bmv c93 cdxl dfa dsicin dxa ea film_cpk filmstrip flic frm gdv hnm idcin iff
    ipmovie jv mgsts mm mv mvi paf pdv psxstr rl2 roq rpl sga siff smk smush thp tiertexseq tmv txd usm vmd wc3movie
    wsvqa xmv yop
"""
CONTAINERS = ",".join(_DEMUXERS.split())
"""Names of libavformat's demuxers that may open a file, as its option `format_whitelist` takes them."""


def max_pixels() -> int:
    """The largest number of pixels that a frame of a file, a folder or a stream may have.

    Raises:
        ConfigError: the environment has something that is no number above 0.
    """
    text = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or not 0 < int(text[:20]) < 2**31:  # what FFmpeg's option max_pixels takes
        raise ConfigError(
            f"{MAX_PIXELS_VARIABLE} is {text[:40]!r}; expected a number of pixels from 1 to {2**31 - 1:,}"
        )
    return int(text)


def decoder_options() -> dict[str, str]:
    """Options that keep FFmpeg's decoders from allocating frames far above `max_pixels`.

    The limit is twice that, and a million at least, since decoders count the borders that they add.
    """
    return {"max_pixels": str(min(2**31 - 1, max(2 * max_pixels(), 1_000_000)))}


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuses frames of a size that would take more memory than a video is worth.

    Raises:
        VideoError: there are more pixels than `max_pixels`.
    """
    if width * height > max_pixels():
        raise VideoError(
            f"{name}: frames of {width}x{height} have more than {max_pixels():,} pixels; if they are meant to, set "
            f"the environment variable {MAX_PIXELS_VARIABLE}={width * height}"
        )
