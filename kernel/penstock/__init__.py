"""Penstock: a media server framework. Embed it, extend it, read it.

async with penstock.Server(config) as server:
    stream = await server.streams.wait("live/stream")
    async for event in stream.read(): ...
"""

from penstock.alternatives import Alternatives
from penstock.config import Config
from penstock.datagram import DatagramSink, StampSink
from penstock.derived import Derivation, DerivedTrack
from penstock.errors import (
    AlreadyPublished,
    Closed,
    Denied,
    NotFound,
    PenstockError,
    ProtocolViolation,
    StreamError,
    UserError,
)
from penstock.feed import Cursor, Feed, Reader
from penstock.fixed_tracks import FixedTracks
from penstock.hooks import API_VERSION, Action, Endpoint, Plugin, Scheme, Service, hookimpl, hookspec, option
from penstock.listener import TcpService
from penstock.media import (
    NS,
    Codec,
    CodecConfig,
    Epoch,
    Event,
    Frame,
    Kind,
    Track,
    TrackAdded,
    TrackChanged,
    TrackRemoved,
    to_ns,
    to_ticks,
)
from penstock.muxer import Muxer
from penstock.net import Connection, open_listener, open_udp
from penstock.path import StreamPath
from penstock.plugins import PluginSet
from penstock.publisher import Publisher
from penstock.registry import INFO, AudioInfo, Capability, CodecInfo, Registry, VideoInfo
from penstock.rendition import Rendition
from penstock.ring import Unit
from penstock.segment import Init, Part, Segment, SegmentBounds, SegmentFormat, SegmentWriter
from penstock.segments import SegmentStore
from penstock.server import Server
from penstock.session import Credentials, Session
from penstock.settings import is_listen, parse_listen
from penstock.sink import ByteSink, SendSink, TlsSink
from penstock.stream import Stream

__all__ = [
    "API_VERSION",
    "INFO",
    "NS",
    "Action",
    "AlreadyPublished",
    "Alternatives",
    "AudioInfo",
    "ByteSink",
    "Capability",
    "Closed",
    "Codec",
    "CodecConfig",
    "CodecInfo",
    "Config",
    "Connection",
    "Credentials",
    "Cursor",
    "DatagramSink",
    "Denied",
    "Derivation",
    "DerivedTrack",
    "Endpoint",
    "Epoch",
    "Event",
    "Feed",
    "FixedTracks",
    "Frame",
    "Init",
    "Kind",
    "Muxer",
    "NotFound",
    "Part",
    "PenstockError",
    "Plugin",
    "PluginSet",
    "ProtocolViolation",
    "Publisher",
    "Reader",
    "Registry",
    "Rendition",
    "Scheme",
    "Segment",
    "SegmentBounds",
    "SegmentFormat",
    "SegmentStore",
    "SegmentWriter",
    "SendSink",
    "Server",
    "Service",
    "Session",
    "StampSink",
    "Stream",
    "StreamError",
    "StreamPath",
    "TcpService",
    "TlsSink",
    "Track",
    "TrackAdded",
    "TrackChanged",
    "TrackRemoved",
    "Unit",
    "UserError",
    "VideoInfo",
    "hookimpl",
    "hookspec",
    "is_listen",
    "open_listener",
    "open_udp",
    "option",
    "parse_listen",
    "to_ns",
    "to_ticks",
]
