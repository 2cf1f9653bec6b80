"""The addresses of this machine's interfaces, which are candidates where no other is configured."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_SIOCGIFCONF = 0x8912
_ENTRY = 40
"""sizeof(struct ifreq) on 64-bit Linux."""


def local_addresses() -> list[str]:
    """The addresses of this machine's interfaces, IPv4 first, without those that only it itself or its link can reach."""
    found = [a for a in _ipv4() if not a.startswith(("127.", "169.254."))]
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        words = line.split()
        if len(words) >= 4 and words[3] == "00":  # global scope
            found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0])))
    return found


def _ipv4() -> list[str]:
    try:
        import fcntl
    except ImportError:
        return [str(i[4][0]) for i in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    import array

    buffer = array.array("B", bytes(128 * _ENTRY))
    where, size = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, _SIOCGIFCONF, struct.pack("iL", size, where))
    used: int = struct.unpack("iL", answer)[0]
    raw = buffer.tobytes()
    return list(dict.fromkeys(socket.inet_ntoa(raw[i + 20 : i + 24]) for i in range(0, used, _ENTRY)))
