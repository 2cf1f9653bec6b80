"""A file over RTSP by gst-rtsp-server, run by the system's Python: ``reference_rtsp.py PORT LAUNCH``; what proves the players.

It prints ``ready`` once it listens. Every client gets a pipeline of its own, from the file's first frame on.
"""
# Not type-checked: Debian's GObject bindings have no types and are not importable where the tests run.

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def main(port: str, launch: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_service(port)
    server.set_address("127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(launch)
    server.get_mount_points().add_factory("/live/file", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
