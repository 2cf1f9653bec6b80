"""The coded frames of a media file, or of a live URL, in the codec's normal form, as FFmpeg's hashing
muxers see them.
"""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

from attrs import define, evolve, field, frozen

from .binaries import path_of

MS = 1_000_000
"""Nanoseconds in a millisecond."""

NORMAL_FORM = {
    # DESIGN 2: NAL units without parameter sets, delimiters and filler; SEI stays. H.264 types 7 SPS, 8
    # PPS, 9 AUD,
    # 12 filler; H.265 types 32 VPS, 33 SPS, 34 PPS, 35 AUD, 38 filler. filter_units writes every start
    # code anew, so that
    # length-prefixed and Annex B sources give the same bytes.
    "h264": "h264_mp4toannexb,filter_units=remove_types=7|8|9|12",
    "hevc": "hevc_mp4toannexb,filter_units=remove_types=32|33|34|35|38",
    # AV1: no temporal delimiter (2), sequence header (1), padding (15).
    "av1": "filter_units=remove_types=1|2|15",
    # MPEG-TS carries AAC with ADTS headers; what has none passes unchanged.
    "aac": "aac_adtstoasc",
}
SAMPLED = frozenset({"pcm_alaw", "pcm_mulaw"})
"""Codecs whose packets may be cut anywhere by a carrier: their bytes are compared as one row."""


@frozen
class CodedFrame:
    """One packet: times in ns, None where the client knows none; `digest` is the MD5 of its normal form."""

    pts: int | None
    dts: int | None
    size: int
    digest: str
    key: bool = True


@frozen
class FrameTrack:
    """The frames of one stream in the order they came; `samples` holds the bytes of a codec in `SAMPLED`."""

    kind: str
    codec: str
    frames: tuple[CodedFrame, ...]
    samples: bytes = b""

    def without_dts(self) -> FrameTrack:
        return evolve(self, frames=tuple(evolve(frame, dts=None) for frame in self.frames))

    def without_first_pts(self) -> FrameTrack:
        first, *rest = self.frames
        return evolve(self, frames=(evolve(first, pts=None), *rest))


@frozen
class FrameList:
    """All tracks of one recording; at most one of a kind (the first)."""

    video: FrameTrack | None = None
    audio: FrameTrack | None = None

    @property
    def tracks(self) -> tuple[FrameTrack, ...]:
        return tuple(track for track in (self.video, self.audio) if track is not None)

    @property
    def codecs(self) -> str:
        return "+".join(track.codec for track in self.tracks)

    def head(self, count: int) -> FrameList:
        """The same with only the first `count` pictures, sound frames, or blocks of 160 samples."""
        video, audio = self.video, self.audio
        return FrameList(
            video and evolve(video, frames=video.frames[:count]),
            audio and evolve(audio, frames=audio.frames[:count], samples=audio.samples[: count * 160]),
        )

    def without_last(self) -> FrameList:
        """The same without the last frame of each track, for clients that leave it half written."""
        video, audio = self.video, self.audio
        return FrameList(
            video and evolve(video, frames=video.frames[:-1]),
            audio and evolve(audio, frames=audio.frames[:-1]),
        )

    def without_first_pts(self, *codecs: str) -> FrameList:
        """The same without the time of the first picture, and of the first sound of `codecs`, for who does not know it."""
        video, audio = self.video, self.audio
        return FrameList(
            video and video.without_first_pts(),
            audio.without_first_pts() if audio is not None and audio.codec in codecs else audio,
        )

    def without_dts(self) -> FrameList:
        """The same without decode times, for carriers that have none and clients that invent them."""
        video, audio = self.video, self.audio
        return FrameList(video and video.without_dts(), audio and audio.without_dts())


def dump_options(video: str | None, audio: str | None, stem: Path, *, flags: bool = False) -> list[str]:
    """FFmpeg output options that write hashes of the tracks to `stem`.{video,audio}.hash (and .crc, .raw).

    With `flags` a second listing tells key frames. One file for each track, so that a live input that ends
    in the
    middle of a line costs at most the last frame.
    """
    options: list[str] = []
    for kind, codec in (("video", video), ("audio", audio)):
        if codec is None:
            continue
        letter = kind[0]
        copy = ["-map", f"0:{letter}:0", "-c", "copy", "-copyinkf", "-flush_packets", "1"]
        if codec in NORMAL_FORM:
            copy += [f"-bsf:{letter}", NORMAL_FORM[codec]]
        options += [*copy, "-f", "framehash", "-hash", "md5", f"{stem}.{kind}.hash"]
        if flags:
            options += [*copy, "-f", "framecrc", f"{stem}.{kind}.crc"]
        if codec in SAMPLED:
            options += [*copy, "-f", "data", f"{stem}.{kind}.raw"]
    return options


def read_dump(stem: Path) -> FrameList:
    """What `dump_options` wrote."""
    return FrameList(_read_track(stem, "video"), _read_track(stem, "audio"))


def probe(path: Path) -> tuple[str | None, str | None]:
    """The codecs (FFmpeg's names) of the first video and the first audio track of a file."""
    command = [
        path_of("ffmpeg-new"),
        "-v",
        "error",
        "-i",
        str(path),
        "-map",
        "0",
        "-c",
        "copy",
        "-f",
        "framecrc",
        "-t",
        "0",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        number, _, value = rest.partition(": ")
        if word == "#media_type":
            kinds[number] = value.strip()
        elif word == "#codec_id" and number in kinds:
            found.setdefault(kinds[number], value.strip())
    return found.get("video"), found.get("audio")


def read_frames(path: Path, work: Path, *, dts: bool = True) -> FrameList:
    """The frames of a media file; `work` is a folder for intermediate listings, `dts` False drops decode
    times.
    """
    video, audio = probe(path)
    stem = work / (path.name + ".frames")
    command = [path_of("ffmpeg-new"), "-v", "error", "-y", "-copyts", "-i", str(path)]
    command += dump_options(video, audio, stem, flags=True)
    for old in work.glob(f"{stem.name}.*"):
        old.unlink()
    if video or audio:
        subprocess.run(command, capture_output=True, timeout=120, check=False)
    frames = read_dump(stem)
    return frames if dts else frames.without_dts()


@define
class _Listing:
    time_base: Fraction = Fraction(1, 1000)
    codec: str = ""
    rows: list[list[str]] = field(factory=list[list[str]])


def _read_listing(path: Path) -> _Listing:
    listing = _Listing()
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("#tb "):
            listing.time_base = Fraction(line.partition(": ")[2])
        elif line.startswith("#codec_id "):
            listing.codec = line.partition(": ")[2].strip()
        elif line and line[0] != "#":
            cells = [cell.strip() for cell in line.split(",")]
            if len(cells) >= 6:
                listing.rows.append(cells)
    return listing


def _read_track(stem: Path, kind: str) -> FrameTrack | None:
    hashes = Path(f"{stem}.{kind}.hash")
    if not hashes.exists():
        return None
    listing = _read_listing(hashes)
    rows = [row for row in listing.rows if len(row[5]) == 32]
    crc = Path(f"{stem}.{kind}.crc")
    if crc.exists():
        # framecrc names the flags only where they are not just "key" (bit 0).
        keys = [_is_key(row) for row in _read_listing(crc).rows]
    else:
        keys = [True] * len(rows)
    frames = tuple(
        CodedFrame(_ns(row[2], listing.time_base), _ns(row[1], listing.time_base), int(row[4]), row[5], key)
        for row, key in zip(rows, keys, strict=False)
    )
    if not frames:
        return None
    raw = Path(f"{stem}.{kind}.raw")
    return FrameTrack(kind, listing.codec, frames, raw.read_bytes() if raw.exists() else b"")


def _is_key(row: list[str]) -> bool:
    flags = [cell for cell in row[6:] if cell.startswith("F=")]
    return not flags or bool(int(flags[0][2:], 16) & 1)


def _ns(ticks: str, base: Fraction) -> int | None:
    if ticks in ("NOPTS", "-9223372036854775808"):
        return None
    return round(int(ticks) * base * 1_000_000_000)
