"""RTSP by gst-rtsp-server, run by the system's Python: ``reference_rtsp.py PORT LAUNCH [once] [record] [tcp]``.

It prints ``ready`` once it listens. Every client gets a pipeline of its own, from the file's first frame on; with
``once`` the server ends with the first one, with ``record`` clients publish into LAUNCH, with ``tcp`` it takes no UDP.
"""
# Imported by name: Debian's GObject bindings are neither typed nor importable where the tests run.

import importlib
import sys
from typing import Any

gi: Any = importlib.import_module("gi")

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
gst: Any = importlib.import_module("gi.repository.Gst")
glib: Any = importlib.import_module("gi.repository.GLib")
rtsp_library: Any = importlib.import_module("gi.repository.GstRtsp")
server_library: Any = importlib.import_module("gi.repository.GstRtspServer")

# Before the class: its base has signals with types of GStreamer.
gst.init(None)


class Exact(server_library.RTSPMedia):  # type: ignore[misc]
    """Media whose times are those of RTP alone, not smoothed by their arrival: 0 is GstRTPJitterBufferMode's none."""

    def do_setup_rtpbin(self, rtpbin: Any) -> bool:
        rtpbin.set_property("buffer-mode", 0)
        return True


def main(port: str, launch: str, *manner: str) -> None:
    server = server_library.RTSPServer.new()
    server.set_service(port)
    server.set_address("127.0.0.1")
    factory = server_library.RTSPMediaFactory.new()
    factory.set_launch(launch)
    loop = glib.MainLoop()
    if "record" in manner:
        factory.set_transport_mode(server_library.RTSPTransportMode.RECORD)
        factory.set_media_gtype(Exact.__gtype__)
        # The pipeline is only stopped once the file is whole.
        factory.set_eos_shutdown(True)
    if "tcp" in manner:
        factory.set_protocols(rtsp_library.RTSPLowerTrans.TCP)
    if "once" in manner:

        def over(_media: Any) -> None:
            loop.quit()

        def configured(_factory: Any, media: Any) -> None:
            media.connect("unprepared", over)

        factory.connect("media-configure", configured)
    server.get_mount_points().add_factory("/live/file", factory)
    server.attach(None)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
