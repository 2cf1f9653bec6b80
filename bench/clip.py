"""The clip that every contestant carries, and the byte traces that the floor sends.

One file format serves both: a header, then records of one message or frame each (little endian):
``PBT1, count, duration ms`` and ``time ms, kind (8 audio, 9 video), flags, segment size, length, bytes``.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.paths import BUILD

SECONDS = 16  # 480 pictures, 8 groups of pictures and exactly 750 AAC frames: the loop has no seam
FPS = 30
GOP = 60
# A stamp is one more small packet in its frame, so most frames go without; coprime with the GOP.
STAMP_EVERY = 7
STAMP_ID = b"penstock-delay-1"
# H.264 D.1.7, user data unregistered; hex digits need no emulation prevention.
STAMP = b"\x06\x05\x20" + STAMP_ID + b"0" * 16 + b"\x80"
CHUNK = 4096
MTU = 1400
GSO_PACKETS = 44  # 44 * 1400 stays below the 64 KiB of one datagram send; the kernel's own bound is 64

AUDIO, VIDEO = 8, 9
KEY, CONFIG = 1, 2
_HEAD = struct.Struct("<4sII")
_RECORD = struct.Struct("<IBBHI")


@dataclass(frozen=True)
class Record:
    """One message with its time in milliseconds; ``segment`` is the datagram size that GSO cuts at."""

    time: int
    kind: int
    flags: int
    data: bytes
    segment: int = 0


def write(path: Path, records: list[Record]) -> None:
    with path.open("wb") as out:
        out.write(_HEAD.pack(b"PBT1", len(records), SECONDS * 1000))
        for r in records:
            out.write(_RECORD.pack(r.time, r.kind, r.flags, r.segment, len(r.data)))
            out.write(r.data)


def read(path: Path) -> list[Record]:
    data = path.read_bytes()
    _, count, _ = _HEAD.unpack_from(data)
    found, at = [], _HEAD.size
    for _ in range(count):
        moment, kind, flags, segment, size = _RECORD.unpack_from(data, at)
        at += _RECORD.size + size
        found.append(Record(moment, kind, flags, data[at - size : at], segment))
    return found


def encode(ffmpeg: str, path: Path) -> None:
    """2.0 Mbit/s of H.264 constrained baseline and 128 kbit/s of AAC, as an FLV file."""
    picture = f"testsrc2=size=1280x720:rate={FPS},noise=alls=12:allf=t"
    sound = "anoisesrc=r=48000:color=pink:amplitude=0.4"
    command = [ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
    command += ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", str(SECONDS + 1)]
    command += ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-profile:v", "baseline", "-preset", "veryfast"]
    command += ["-b:v", "2000k", "-maxrate", "2000k", "-bufsize", "1000k", "-bf", "0", "-g", str(GOP)]
    command += ["-x264-params", "ipratio=1.0", "-keyint_min", str(GOP), "-sc_threshold", "0"]
    command += ["-ac", "2", "-c:a", "aac", "-b:a", "128k"]
    subprocess.run([*command, "-f", "flv", str(path)], check=True)


def flv_tags(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 13
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        time = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        yield data[at], time, data[at + 11 : at + 11 + size]
        at += 11 + size + 4


def nals(body: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 4 <= len(body):
        size = int.from_bytes(body[at : at + 4], "big")
        found.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def messages(data: bytes) -> list[Record]:
    """RTMP messages of one loop: slices and our stamps only; the two sequence headers come first."""
    configs: list[Record] = []
    frames: list[Record] = []
    pictures = sounds = 0
    for kind, time, body in flv_tags(data):
        if kind in (AUDIO, VIDEO) and body[1] == 0:
            configs.append(Record(0, kind, CONFIG, body))
        elif kind == VIDEO and body[1] == 1 and pictures < SECONDS * FPS:
            units = [n for n in nals(body[5:]) if n[0] & 31 in (1, 5)]
            if pictures % STAMP_EVERY == 0:
                units.insert(0, STAMP)
            key = body[0] >> 4 == 1
            payload = body[:5] + b"".join(len(n).to_bytes(4, "big") + n for n in units)
            frames.append(Record(time, kind, KEY if key else 0, payload))
            pictures += 1
        elif kind == AUDIO and sounds < SECONDS * 48000 // 1024:
            frames.append(Record(sounds * 1024 // 48, kind, 0, body))
            sounds += 1
    frames.sort(key=lambda r: r.time)
    return configs + frames


def with_opus() -> Path:
    """The clip with Opus in packets of 20 ms in place of AAC, as Enhanced RTMP has it; ``opus.tags`` beside the others."""
    target = prepare() / "opus.tags"
    if target.exists():
        return target
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        raise SystemExit("bench needs imageio-ffmpeg, whose FFmpeg writes Opus in FLV") from None
    sound = BUILD / "opus.flv"
    command = [get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-f", "lavfi"]
    command += ["-i", "anoisesrc=r=48000:color=pink:amplitude=0.4", "-t", str(SECONDS + 1), "-ac", "2"]
    subprocess.run([*command, "-c:a", "libopus", "-b:a", "96k", "-f", "flv", str(sound)], check=True)
    pictures = messages((BUILD / f"clip-{SECONDS}.flv").read_bytes())
    records = [r for r in pictures if r.kind == VIDEO]
    sounds = 0
    for kind, _, body in flv_tags(sound.read_bytes()):
        # Enhanced RTMP: 9 in the upper half says that a FourCC follows; packet type 0 is the config, 1 a frame.
        if kind == AUDIO and body[0] == 0x90:
            records.insert(0, Record(0, AUDIO, CONFIG, body))
        elif kind == AUDIO and body[0] == 0x91 and sounds < SECONDS * 50:
            records.append(Record(sounds * 20, AUDIO, 0, body))
            sounds += 1
    configs = [r for r in records if r.flags & CONFIG]
    write(target, configs + sorted((r for r in records if not r.flags & CONFIG), key=lambda r: r.time))
    return target


def rtmp_trace(records: list[Record]) -> list[Record]:
    """Each message as the chunks that a server writes (RTMP 5.3.1: one full header, then type 3)."""
    out = []
    for r in records:
        if r.flags & CONFIG:
            continue
        stream = 6 if r.kind == VIDEO else 4
        head = bytes([stream]) + r.time.to_bytes(3, "big") + len(r.data).to_bytes(3, "big")
        head += bytes([r.kind]) + (1).to_bytes(4, "little")
        parts = [r.data[i : i + CHUNK] for i in range(0, len(r.data), CHUNK)]
        out.append(Record(r.time, r.kind, r.flags, head + bytes([0xC0 | stream]).join(parts)))
    return out


def rtp_payloads(record: Record) -> list[bytes]:
    if record.kind == AUDIO:  # RFC 3640 3.3.6: one access unit with a 16-bit header
        unit = record.data[2:]
        return [struct.pack(">HH", 16, len(unit) << 3) + unit]
    payloads = []
    room = MTU - 12 - 2
    for nal in nals(record.data[5:]):
        if len(nal) <= MTU - 12:
            payloads.append(nal)
            continue
        indicator, kind = nal[0] & 0x60 | 28, nal[0] & 31
        body = nal[1:]
        for at in range(0, len(body), room):  # RFC 6184 5.8: FU-A
            bits = (0x80 if at == 0 else 0) | (0x40 if at + room >= len(body) else 0)
            payloads.append(bytes([indicator, bits | kind]) + body[at : at + room])
    return payloads


def rtp_trace(records: list[Record], interleaved: bool) -> list[Record]:
    """RTP packets by frame, with the interleaved header (RFC 2326 10.12) or bare, cut where sizes differ."""
    sequence = {AUDIO: 0, VIDEO: 0}
    out: list[Record] = []
    for r in records:
        if r.flags & CONFIG:
            continue
        clock, kind, channel = (90, 96, 0) if r.kind == VIDEO else (48, 97, 2)
        payloads = rtp_payloads(r)
        packets = []
        for i, payload in enumerate(payloads):
            last = 0x80 if i == len(payloads) - 1 else 0
            number = sequence[r.kind]
            sequence[r.kind] = (number + 1) & 0xFFFF
            ticks = r.time * clock & 0xFFFFFFFF
            head = struct.pack(">BBHII", 0x80, kind | last, number, ticks, 0x50454E00 + kind)
            packets.append(head + payload)
        if interleaved:
            data = b"".join(struct.pack(">BBH", 36, channel, len(p)) + p for p in packets)
            out.append(Record(r.time, r.kind, r.flags, data))
            continue
        group: list[bytes] = []
        for packet in packets:  # one GSO send: equal sizes, only the last may be shorter
            uneven = group and (len(packet) > len(group[0]) or len(group[-1]) < len(group[0]))
            if uneven or len(group) == GSO_PACKETS:
                out.append(Record(r.time, r.kind, r.flags, b"".join(group), len(group[0])))
                group = []
            group.append(packet)
        out.append(Record(r.time, r.kind, r.flags, b"".join(group), len(group[0])))
    return out


def prepare() -> Path:
    """Make what is not there yet; returns the folder of ``clip.tags`` and the ``*.trace`` files."""
    folder = BUILD / f"clip-{SECONDS}-{STAMP_EVERY}-{CHUNK}-{MTU}"
    if (folder / "udp.trace").exists():
        return folder
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise SystemExit("bench needs ffmpeg on PATH to make its clip once")
    folder.mkdir(parents=True, exist_ok=True)
    source = BUILD / f"clip-{SECONDS}.flv"
    if not source.exists():
        partial = source.with_suffix(".part")
        encode(ffmpeg, partial)
        partial.rename(source)
    records = messages(source.read_bytes())
    write(folder / "clip.tags", records)
    write(folder / "rtmp.trace", rtmp_trace(records))
    write(folder / "rtsp.trace", rtp_trace(records, interleaved=True))
    write(folder / "udp.trace", rtp_trace(records, interleaved=False))
    return folder
