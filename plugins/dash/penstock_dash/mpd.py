"""The Media Presentation Description (ISO/IEC 23009-1 5.3): what a presentation is, written as XML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from xml.etree import ElementTree as ET

from attrs import frozen

from penstock_dash.number import format_date, format_duration, format_seconds

NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"
LIVE_PROFILE = "urn:mpeg:dash:profile:isoff-live:2011"
CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
ROLE = "urn:mpeg:dash:role:2011"
UTC_DIRECT = "urn:mpeg:dash:utc:direct:2014"

PACE = 0.04
"""By how much players may be slower or faster to come back to the latency asked for: nobody hears that."""

_LAYOUTS = {7: 11, 8: 7}
"""ChannelConfiguration (ISO/IEC 23001-8) of channel counts that are not their own: 6.1 and 7.1."""


@frozen
class SegmentTemplate:
    """How segments are named, and which there are (5.3.9): `timeline` has start and duration of each in ticks.

    `time_offset` are the ticks at the period's start; `early` the ns by which a segment can be asked for before its
    end, where it is sent while it is made.
    """

    timescale: int
    time_offset: int
    initialization: str
    media: str
    timeline: tuple[tuple[int, int], ...]
    early: int = 0

    def element(self) -> ET.Element:
        found = ET.Element(
            "SegmentTemplate",
            timescale=str(self.timescale),
            presentationTimeOffset=str(self.time_offset),
            initialization=self.initialization,
            media=self.media,
        )
        if self.early:
            found.set("availabilityTimeOffset", format_seconds(self.early))
            found.set("availabilityTimeComplete", "false")
        timeline = ET.SubElement(found, "SegmentTimeline")
        for start, duration, more in self._runs():
            entry = ET.SubElement(timeline, "S", t=str(start), d=str(duration))
            if more:
                entry.set("r", str(more))
        return found

    def _runs(self) -> Iterator[tuple[int, int, int]]:
        """Start and duration of each run of segments of equal length without a gap, and how many follow the first."""
        run: tuple[int, int, int] | None = None
        for start, duration in self.timeline:
            if run is not None and duration == run[1] and start == run[0] + duration * (run[2] + 1):
                run = (run[0], duration, run[2] + 1)
                continue
            if run is not None:
                yield run
            run = (start, duration, 0)
        if run is not None:
            yield run


@frozen
class AdaptationSet:
    """One track (5.3.3), in one representation. `frame_rate` as ``25`` or ``30000/1001``.

    `produced` says that the time of so many ticks was made at a wall time in ns, for players that tell latency.
    """

    id: int
    kind: Literal["video", "audio"]
    representation: str
    codecs: str
    bandwidth: int
    template: SegmentTemplate
    main: bool = True
    starts_with_key: bool = True
    language: str | None = None
    width: int = 0
    height: int = 0
    frame_rate: str = ""
    sample_rate: int = 0
    channels: int = 0
    produced: tuple[int, int] | None = None

    def element(self) -> ET.Element:
        found = ET.Element(
            "AdaptationSet",
            id=str(self.id),
            contentType=self.kind,
            mimeType=f"{self.kind}/mp4",
            segmentAlignment="true",
        )
        if self.starts_with_key:
            found.set("startWithSAP", "1")
        if self.language:
            found.set("lang", self.language)
        if self.produced is not None:
            wall, time = self.produced
            reference = ET.SubElement(
                found,
                "ProducerReferenceTime",
                id="0",
                inband="true",
                type="encoder",
                wallClockTime=format_date(wall),
                presentationTime=str(time),
            )
            ET.SubElement(reference, "UTCTiming", schemeIdUri=UTC_DIRECT, value=format_date(wall))
        ET.SubElement(found, "Role", schemeIdUri=ROLE, value="main" if self.main else "alternate")
        found.append(self.template.element())
        found.append(self._representation())
        return found

    def _representation(self) -> ET.Element:
        found = ET.Element(
            "Representation", id=self.representation, bandwidth=str(self.bandwidth), codecs=self.codecs
        )
        if self.width and self.height:
            found.set("width", str(self.width))
            found.set("height", str(self.height))
        if self.frame_rate:
            found.set("frameRate", self.frame_rate)
        if self.sample_rate:
            found.set("audioSamplingRate", str(self.sample_rate))
        if self.channels:
            layout = _LAYOUTS.get(self.channels, self.channels)
            ET.SubElement(found, "AudioChannelConfiguration", schemeIdUri=CHANNELS, value=str(layout))
        return found


@frozen
class Period:
    """A stretch in which nothing about the tracks changes (5.3.2); `start` in ns of the presentation."""

    id: str
    start: int
    sets: tuple[AdaptationSet, ...]

    def element(self) -> ET.Element:
        # No @duration: FFmpeg plays the one period that has the longest, for ever, and else the last.
        found = ET.Element("Period", id=self.id, start=format_duration(self.start))
        found.extend(one.element() for one in self.sets)
        return found


@frozen
class Latency:
    """How far behind live players of low latency are to be (Annex K.3.2), in ns."""

    target: int
    least: int
    most: int

    def element(self) -> ET.Element:
        found = ET.Element("ServiceDescription", id="0")
        ET.SubElement(
            found,
            "Latency",
            referenceId="0",
            target=str(self.target // 1_000_000),
            min=str(self.least // 1_000_000),
            max=str(self.most // 1_000_000),
        )
        ET.SubElement(found, "PlaybackRate", min=f"{1 - PACE:g}", max=f"{1 + PACE:g}")
        return found


@frozen
class Mpd:
    """A presentation (5.3.1): one that goes on, or with `duration` one that is over.

    Times in ns: `start` is the wall time of the presentation's zero, `published` that of this description, and
    `clock` what stands for the wall time of the answer.
    """

    start: int
    published: int
    periods: tuple[Period, ...]
    longest: int
    min_buffer: int
    window: int = 0
    update: int = 0
    delay: int = 0
    latency: Latency | None = None
    duration: int | None = None
    location: str = ""
    clock: str = ""

    def element(self) -> ET.Element:
        live = self.duration is None
        found = ET.Element(
            "MPD",
            xmlns=NAMESPACE,
            profiles=LIVE_PROFILE,
            type="dynamic" if live else "static",
            availabilityStartTime=format_date(self.start),
            publishTime=format_date(self.published),
            minBufferTime=format_duration(self.min_buffer),
            maxSegmentDuration=format_duration(self.longest),
        )
        if self.duration is not None:
            found.set("mediaPresentationDuration", format_duration(self.duration))
        else:
            found.set("minimumUpdatePeriod", format_duration(self.update))
            found.set("timeShiftBufferDepth", format_duration(self.window))
            found.set("suggestedPresentationDelay", format_duration(self.delay))
            if self.location:
                ET.SubElement(found, "Location").text = self.location
            if self.latency is not None:
                found.append(self.latency.element())
        found.extend(period.element() for period in self.periods)
        if live and self.clock:
            ET.SubElement(found, "UTCTiming", schemeIdUri=UTC_DIRECT, value=self.clock)
        return found

    def write(self) -> bytes:
        """The document, in UTF-8."""
        body: bytes = ET.tostring(self.element(), "utf-8", xml_declaration=True)
        return body
