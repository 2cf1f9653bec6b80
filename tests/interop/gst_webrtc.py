"""GStreamer's webrtcbin publishes H.264 and Opus of a file as they are, for Debian's python3: ``URL FILE``."""

# Debian's bindings are not where types are checked.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false

import sys
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

CAPS = {
    "video": "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,packetization-mode=(string)1,payload=96",
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=97",
}
PUBLISH = (
    "webrtcbin name=peer bundle-policy=max-bundle filesrc location={file} ! qtdemux name=d "
    "d.video_0 ! queue ! h264parse config-interval=-1 ! clocksync ! rtph264pay pt=96 ! {video} ! peer. "
    "d.audio_0 ! queue ! opusparse ! clocksync ! rtpopuspay pt=97 ! {audio} ! peer."
)
AFTER_SECONDS = 1


class Peer:
    """One connection to the server."""

    def __init__(self, url, file):
        self.url = f"{url}/whip"
        self.resource = None
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.parse_launch(PUBLISH.format(file=file, **CAPS))
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("on-negotiation-needed", self.negotiate)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::eos", lambda *_: GLib.timeout_add_seconds(AFTER_SECONDS, self.loop.quit))
        bus.connect("message::error", self.failed)

    def failed(self, _bus, message):
        print(message.parse_error(), file=sys.stderr)
        self.loop.quit()

    def negotiate(self, _peer):
        self.peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered))

    def offered(self, promise):
        promise.wait()
        reply = promise.get_reply()
        offer = reply.get_value("offer")  # which lives as long as its reply
        self.peer.emit("set-local-description", offer, Gst.Promise.new())
        body = offer.sdp.as_text().encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/sdp"}, method="POST")
        with urllib.request.urlopen(request, timeout=5) as response:
            self.resource = urllib.parse.urljoin(self.url, response.headers["location"])
            _, sdp = GstSdp.SDPMessage.new_from_text(response.read().decode())
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.peer.emit("set-remote-description", answer, Gst.Promise.new())

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.resource is not None:
            urllib.request.urlopen(urllib.request.Request(self.resource, method="DELETE"), timeout=5).close()
        self.pipeline.set_state(Gst.State.NULL)


Gst.init(None)
Peer(*sys.argv[1:3]).run()
