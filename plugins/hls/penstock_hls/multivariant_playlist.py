"""Multivariant playlists (RFC 8216bis 4.4.6): the variants of a presentation, and the renditions that they refer to."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from penstock_hls.attributes import quoted, tag


@frozen
class MediaRendition:
    """An alternative of one kind (EXT-X-MEDIA); one without `uri` is in the variants themselves."""

    type: str
    group: str
    name: str
    uri: str | None = None
    language: str | None = None
    default: bool = False
    autoselect: bool = False
    channels: str | None = None

    def write(self) -> str:
        return tag(
            "EXT-X-MEDIA",
            TYPE=self.type,
            GROUP_ID=quoted(self.group),
            NAME=quoted(self.name),
            LANGUAGE=_quoted(self.language),
            DEFAULT="YES" if self.default else None,
            AUTOSELECT="YES" if self.autoselect else None,
            CHANNELS=_quoted(self.channels),
            URI=_quoted(self.uri),
        )


@frozen
class Variant:
    """One way to play all of it (EXT-X-STREAM-INF). Bandwidths in bits per second; `frame_rate` in thousandths of Hz."""

    uri: str
    bandwidth: int
    average_bandwidth: int | None = None
    codecs: str | None = None
    resolution: tuple[int, int] | None = None
    frame_rate: int | None = None
    audio: str | None = None
    video_range: str | None = None

    def write(self) -> str:
        rate = self.frame_rate
        line = tag(
            "EXT-X-STREAM-INF",
            BANDWIDTH=str(self.bandwidth),
            AVERAGE_BANDWIDTH=None if self.average_bandwidth is None else str(self.average_bandwidth),
            CODECS=_quoted(self.codecs),
            RESOLUTION=None if self.resolution is None else "{}x{}".format(*self.resolution),
            FRAME_RATE=None if rate is None else f"{rate // 1000}.{rate % 1000:03d}",
            VIDEO_RANGE=self.video_range,
            AUDIO=_quoted(self.audio),
        )
        return f"{line}{self.uri}\n"


@frozen
class MultivariantPlaylist:
    """Variants, of which a player takes one, with renditions of the groups that it names."""

    variants: tuple[Variant, ...] = ()
    renditions: tuple[MediaRendition, ...] = ()
    version: int = 1
    independent_segments: bool = False

    def write(self) -> str:
        """The playlist as text. Raises `ValueError` for a URI or name that a playlist cannot hold."""
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield "#EXTM3U\n"
        if self.version > 1:
            yield f"#EXT-X-VERSION:{self.version}\n"
        if self.independent_segments:
            yield "#EXT-X-INDEPENDENT-SEGMENTS\n"
        for rendition in self.renditions:
            yield rendition.write()
        for variant in self.variants:
            yield variant.write()


def _quoted(text: str | None) -> str | None:
    return None if text is None else quoted(text)
