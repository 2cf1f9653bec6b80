"""AAC in MPEG-TS: ADTS (stream type 0x0F) both ways, LATM (0x11) inwards."""

from __future__ import annotations

from penstock.media import Frame, Track
from penstock_codecs.aac import adts
from penstock_codecs.aac.config import AacConfig
from penstock_codecs.aac.loas import Loas
from penstock_formats.mpegts.audio import AudioReader
from penstock_formats.mpegts.binding import TsFormat
from penstock_formats.mpegts.pes import AUDIO

ADTS_TYPE = 0x0F
LATM_TYPE = 0x11


class AacTs:
    """MPEG-TS binding of AAC."""

    def accepts(self, fmt: TsFormat) -> bool:
        return fmt.stream_type in (ADTS_TYPE, LATM_TYPE)

    def reader(self, fmt: TsFormat) -> AudioReader:
        return AudioReader(adts.Adts() if fmt.stream_type == ADTS_TYPE else Loas())

    def describe(self, track: Track) -> TsFormat:
        adts.check(AacConfig.of(track.config))
        return TsFormat(ADTS_TYPE, stream_id=AUDIO)

    def encode(self, frame: Frame, fresh: bool) -> bytes:
        return adts.encode(AacConfig.of(frame.track.config), frame.units[0])
