"""GStreamer's webrtcbin, for Debian's python3: ``publish URL FILE``, or ``play URL FOLDER`` until SIGINT.

It publishes H.264 and Opus of a file as they are. What it plays it keeps: pictures as they are, of sound size and MD5.
"""

# Debian's bindings are not where types are checked.
# mypy: ignore-errors
# pyright: basic, reportMissingImports=false

import hashlib
import signal
import sys
import urllib.parse
import urllib.request
from pathlib import Path

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
RECORD = {
    "H264": "rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au",
    "OPUS": "rtpopusdepay",
}
SINK = "fakesink name=sink sync=false signal-handoffs=true"
AFTER_MS = 500


class Peer:
    """One connection to the server."""

    def __init__(self, url, pipeline):
        self.url = url
        self.resource = None
        self.loop = GLib.MainLoop()
        self.pipeline = pipeline
        self.peer = pipeline.get_by_name("peer")
        self.ice = self.peer.get_property("ice-agent")  # which lives as long as this
        # Its own list leaves the loopback out.
        self.ice.emit("add-local-ip-address", "127.0.0.1")
        self.peer.connect("on-negotiation-needed", self.negotiate)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.failed)
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGINT, self.loop.quit)

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


class Publisher(Peer):
    """It sends all of a file."""

    def __init__(self, url, file):
        super().__init__(f"{url}/whip", Gst.parse_launch(PUBLISH.format(file=file, **CAPS)))
        # webrtcbin posts no message of it.
        self.left = len(self.peer.sinkpads)
        for pad in self.peer.sinkpads:
            pad.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, self.passed)

    def passed(self, _pad, info):
        if info.get_event().type != Gst.EventType.EOS:
            return Gst.PadProbeReturn.OK
        self.left -= 1
        if not self.left:
            GLib.timeout_add(AFTER_MS, self.loop.quit)
        # It sends nothing more of the other track once one has ended, which were one to three packets of sound.
        return Gst.PadProbeReturn.DROP


class Player(Peer):
    """It receives one picture and one sound, and records them."""

    def __init__(self, url, folder):
        peer = Gst.ElementFactory.make("webrtcbin", "peer")
        peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        pipeline = Gst.Pipeline()
        pipeline.add(peer)
        super().__init__(f"{url}/whep", pipeline)
        self.video = (folder / "video.h264").open("wb", 0)
        self.audio = (folder / "audio.txt").open("w", 1)
        self.peer.connect("pad-added", self.added)
        for caps in CAPS.values():
            self.peer.emit(
                "add-transceiver",
                GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY,
                Gst.Caps.from_string(caps),
            )

    def added(self, _peer, pad):
        coding = pad.get_current_caps().get_structure(0).get_string("encoding-name")
        record = Gst.parse_bin_from_description(f"{RECORD[coding]} ! {SINK}", True)
        record.get_by_name("sink").connect("handoff", self.picture if coding == "H264" else self.sound)
        self.pipeline.add(record)
        record.sync_state_with_parent()
        pad.link(record.sinkpads[0])

    def picture(self, _sink, buffer, _pad):
        self.video.write(buffer.extract_dup(0, buffer.get_size()))

    def sound(self, _sink, buffer, _pad):
        data = buffer.extract_dup(0, buffer.get_size())
        print(len(data), hashlib.md5(data).hexdigest(), file=self.audio)


def main(what, url, place):
    Gst.init(None)
    if what == "publish":
        Publisher(url, place).run()
    else:
        Player(url, Path(place)).run()


main(*sys.argv[1:4])
