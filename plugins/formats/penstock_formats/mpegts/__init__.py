"""MPEG-TS (ITU-T H.222.0, ISO/IEC 13818-1): what codecs bind to be carried, a demuxer and a muxer."""

from penstock_formats.mpegts.binding import (
    MPEGTS,
    MpegTsBinding,
    PesReader,
    TsFormat,
    TsUnit,
    mpegts_reader,
)
from penstock_formats.mpegts.demuxer import Demuxer
from penstock_formats.mpegts.event import Fault, Program, StreamConfig, TsEvent, TsFrame, TsStream
from penstock_formats.mpegts.ingest import Ingest
from penstock_formats.mpegts.live_muxer import LiveMuxer
from penstock_formats.mpegts.muxer import Muxer
from penstock_formats.mpegts.packetizer import datagrams
from penstock_formats.mpegts.private import PRIVATE, PrivateConfig

__all__ = [
    "MPEGTS",
    "PRIVATE",
    "Demuxer",
    "Fault",
    "Ingest",
    "LiveMuxer",
    "MpegTsBinding",
    "Muxer",
    "PesReader",
    "PrivateConfig",
    "Program",
    "StreamConfig",
    "TsEvent",
    "TsFormat",
    "TsFrame",
    "TsStream",
    "TsUnit",
    "datagrams",
    "mpegts_reader",
]
