"""gst-rtsp-server with a shared factory, fed live: gst_server.py RTSP_PORT FEED_PORT.

The publisher sends bare FLV tags to FEED_PORT; a picture is stamped with the time at which it arrives here.
Runs under the system's Python, which has PyGObject.
"""

import socket
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

LAUNCH = (
    "( appsrc name=video is-live=true do-timestamp=true format=time block=false ! rtph264pay name=pay0 pt=96 "
    "appsrc name=audio is-live=true do-timestamp=true format=time block=false ! rtpmp4gpay name=pay1 pt=97 )"
)


class Feed:
    """The appsrc elements of the medium that plays now, and the codec data that came first."""

    def __init__(self) -> None:
        self.sources: dict[int, Gst.Element] = {}
        self.caps: dict[int, Gst.Caps] = {}
        self.ready = threading.Event()

    def configure(self, _factory: object, media: GstRtspServer.RTSPMedia) -> None:
        self.ready.wait(10)
        element = media.get_element()
        sources = {9: element.get_child_by_name("video"), 8: element.get_child_by_name("audio")}
        for kind, source in sources.items():
            source.set_property("caps", self.caps[kind])
        self.sources = sources

    def config(self, kind: int, data: bytes) -> None:
        if kind == 9:
            text = f"video/x-h264,stream-format=avc,alignment=au,codec_data=(buffer){data[5:].hex()}"
        else:
            text = f"audio/mpeg,mpegversion=4,stream-format=raw,codec_data=(buffer){data[2:].hex()}"
            text += ",rate=48000,channels=2,base-profile=lc,framed=true"
        self.caps[kind] = Gst.Caps.from_string(text)
        if len(self.caps) == 2:
            self.ready.set()

    def tag(self, kind: int, data: bytes) -> None:
        if kind in (8, 9) and data[1] == 0:
            self.config(kind, data)
            return
        source = self.sources.get(kind)
        if source is not None:
            buffer = Gst.Buffer.new_wrapped(data[5:] if kind == 9 else data[2:])
            if kind == 9 and data[0] >> 4 != 1:
                buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
            source.emit("push-buffer", buffer)

    def read(self, listener: socket.socket) -> None:
        peer, _ = listener.accept()
        stream = peer.makefile("rb")
        while len(head := stream.read(11)) == 11:
            data = stream.read(int.from_bytes(head[1:4], "big"))
            stream.read(4)
            self.tag(head[0], data)


def main() -> None:
    Gst.init(None)
    feed = Feed()
    listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    threading.Thread(target=feed.read, args=(listener,), daemon=True).start()
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH)
    factory.set_shared(True)
    factory.set_latency(0)
    factory.connect("media-configure", feed.configure)
    server.get_mount_points().add_factory("/live/stream", factory)
    server.attach(None)
    GLib.MainLoop().run()


main()
