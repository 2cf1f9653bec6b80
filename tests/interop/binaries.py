"""Where the real clients are, and what happens when one is missing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

REQUIRE_ALL = "PENSTOCK_REQUIRE_ALL"
"""Set to 1 where every client must be there (the project's own CI): a missing one fails instead of
skipping.
"""

PACKAGES = {
    "ffmpeg": "ffmpeg",
    "gst-launch-1.0": "gstreamer1.0-tools and gstreamer1.0-plugins-{base,good,bad,ugly}",
    "gst-rtspclientsink": "gstreamer1.0-rtsp",
    "gst-rtsp-server": "gir1.2-gst-rtsp-server-1.0 and python3-gi",
    "gst-webrtc": "gstreamer1.0-nice, gir1.2-gst-plugins-bad-1.0 and python3-gi",
    "aiortc": "aiortc (from PyPI)",
    "cvlc": "vlc-bin and vlc-plugin-base",
    "ffprobe": "ffmpeg",
    "tshark": "tshark",
    "rtmpdump": "rtmpdump",
    "nginx-rtmp": "nginx and libnginx-mod-rtmp",
    "ffmpeg-new": "imageio-ffmpeg (from PyPI)",
    "chromium": "chromium",
    "srt-live-transmit": "srt-tools",
    "npm": "npm",
}
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's GObject bindings are only there."""
NGINX_RTMP = "/usr/lib/nginx/modules/ngx_rtmp_module.so"


@cache
def find(name: str) -> str | None:
    """The path of a client, or None; ``ffmpeg-new`` is the one that imageio-ffmpeg ships."""
    match name:
        case "ffmpeg-new":
            try:
                module: Any = importlib.import_module("imageio_ffmpeg")
            except ImportError:
                return None
            return str(module.get_ffmpeg_exe())
        case "nginx-rtmp":
            nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
            return nginx if nginx and os.path.exists(NGINX_RTMP) else None
        case "gst-rtsp-server":
            return _system_python("import gi; gi.require_version('GstRtspServer', '1.0')")
        case "gst-webrtc":
            return _system_python(
                "import gi; gi.require_version('GstWebRTC', '1.0'); gi.require_version('Gst', '1.0')\n"
                "from gi.repository import Gst, GstWebRTC; Gst.init()\n"
                "assert Gst.ElementFactory.make('webrtcbin') and Gst.ElementFactory.make('nicesrc')"
            )
        case "aiortc":
            return sys.executable if importlib.util.find_spec("aiortc") else None
        case "gst-rtspclientsink":
            folder = "/usr/lib/{}/gstreamer-1.0/libgstrtspclientsink.so"
            arches = ("x86_64-linux-gnu", "aarch64-linux-gnu")
            there = any(os.path.exists(folder.format(arch)) for arch in arches)
            return shutil.which("gst-launch-1.0") if there else None
        case _:
            return shutil.which(name)


def _system_python(probe: str) -> str | None:
    """Debian's Python, where `probe` runs in it."""
    found = shutil.which(SYSTEM_PYTHON)
    if found and subprocess.run([found, "-c", probe], capture_output=True, check=False).returncode:
        return None
    return found


def missing(*names: str) -> str | None:
    """A plain reason why a test that needs `names` cannot run here, or None."""
    absent = [name for name in names if find(name) is None]
    if not absent:
        return None
    return "not installed: " + "; ".join(f"{name} (package {PACKAGES.get(name, name)})" for name in absent)


def require(*names: str) -> None:
    """Skip the running test when one of `names` is missing, or fail it under `REQUIRE_ALL`."""
    reason = missing(*names)
    if reason is None:
        return
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def path_of(name: str) -> str:
    """The path of a client that is known to be there."""
    found = find(name)
    if found is None:
        raise FileNotFoundError(missing(name))
    return found
