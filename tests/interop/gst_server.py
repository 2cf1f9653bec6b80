"""gst-rtsp-server as a client of the relay meets it: something that plays a file, and something that records."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from .binaries import SYSTEM_PYTHON
from .clients import GST_RECORD, Player, Publisher
from .clips import Clip
from .frames import FrameList, read_frames


@frozen
class GstServer(Publisher):
    """Plays a clip of H.264 and AAC in real time to its first client, and ends with it."""

    def container(self, clip: Clip) -> str:
        return "plain.mp4"

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        launch = f"( filesrc location={clip.file('plain.mp4')} ! qtdemux name=d"
        launch += " d. ! video/x-h264 ! queue ! h264parse ! rtph264pay name=pay0 pt=96"
        launch += " d. ! audio/mpeg ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
        return _argv(url, launch, *self.options)


@frozen
class GstRecorder(Player):
    """Takes what its first client publishes, and ends with it."""

    def argv(self, clip: Clip, url: str, work: Path) -> list[str]:
        launch = "( rtph264depay name=depay0 ! h264parse ! queue ! m."
        launch += " rtpmp4gdepay name=depay1 ! aacparse ! queue ! m. "
        launch += GST_RECORD.format(path=work / "gst.mkv") + " )"
        return _argv(url, launch, "record", *self.options)

    def frames(self, work: Path) -> FrameList:
        return read_frames(work / "gst.mkv", work, dts=False)


def _argv(url: str, launch: str, *manner: str) -> list[str]:
    port = url.partition("://")[2].partition("/")[0].rpartition(":")[2]
    return [SYSTEM_PYTHON, str(Path(__file__).with_name("reference_rtsp.py")), port, launch, "once", *manner]
