"""ISO media files (ISO/IEC 14496-12), fragmented: what codecs bind to be carried, boxes, muxer and demuxer."""

from penstock_formats.isobmff.binding import ISOBMFF, IsobmffBinding, IsobmffUnit
from penstock_formats.isobmff.demuxer import Demuxer
from penstock_formats.isobmff.event_message import EventMessage
from penstock_formats.isobmff.file import MovieFile
from penstock_formats.isobmff.ingest import Ingest
from penstock_formats.isobmff.movie import Movie
from penstock_formats.isobmff.muxer import FragmentMuxer
from penstock_formats.isobmff.producer_time import ProducerTime
from penstock_formats.isobmff.sample import Sample
from penstock_formats.isobmff.sample_entry import AudioEntry, SampleEntry, VisualEntry
from penstock_formats.isobmff.track import MovieTrack

__all__ = [
    "ISOBMFF",
    "AudioEntry",
    "Demuxer",
    "EventMessage",
    "FragmentMuxer",
    "Ingest",
    "IsobmffBinding",
    "IsobmffUnit",
    "Movie",
    "MovieFile",
    "MovieTrack",
    "ProducerTime",
    "Sample",
    "SampleEntry",
    "VisualEntry",
]
