"""Write the binary messages of a WebSocket to a file until it ends: URL FILE."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main(url: str, path: str) -> None:
    context = None
    if url.startswith("wss:"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    with (
        connect(url, ssl=context, proxy=None, compression=None, max_size=None) as socket,
        Path(path).open("wb") as out,
    ):
        try:
            for message in socket:
                if not isinstance(message, bytes):
                    raise SystemExit("a text message")
                out.write(message)
                out.flush()
        except ConnectionClosed as closed:
            print(closed, file=sys.stderr)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
