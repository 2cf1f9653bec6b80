"""A file over RTSP by gst-rtsp-server, run by the system's Python: ``reference_rtsp.py PORT LAUNCH``; what
proves the players.

It prints ``ready`` once it listens. Every client gets a pipeline of its own, from the file's first frame on.
"""
# Imported by name: Debian's GObject bindings are neither typed nor importable where the tests run.

import importlib
import sys
from typing import Any

gi: Any = importlib.import_module("gi")

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
gst: Any = importlib.import_module("gi.repository.Gst")
glib: Any = importlib.import_module("gi.repository.GLib")
server_library: Any = importlib.import_module("gi.repository.GstRtspServer")


def main(port: str, launch: str) -> None:
    gst.init(None)
    server = server_library.RTSPServer.new()
    server.set_service(port)
    server.set_address("127.0.0.1")
    factory = server_library.RTSPMediaFactory.new()
    factory.set_launch(launch)
    server.get_mount_points().add_factory("/live/file", factory)
    server.attach(None)
    print("ready", flush=True)
    glib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
