"""When a player is told of its tracks' times: at once, soon again, and seldom after that."""

from __future__ import annotations

import anyio
import pytest

from penstock import NS
from penstock_formats.rtcp import SenderReport, ntp_to_ns
from penstock_webrtc import sender
from tests.webrtc.client import Client, rig
from tests.webrtc.test_whep import INTER, KEY, PICTURE, SOUND, playing, write

pytestmark = pytest.mark.anyio


async def test_sender_reports_are_frequent_at_the_beginning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_REPORTS_NS", NS // 10)
    monkeypatch.setattr(sender, "REPORT_NS", NS)
    async with rig() as served:
        publisher, (picture, sound) = await served.publish("live/one", PICTURE, SOUND)
        client = Client()
        await playing(served, client)
        came: list[tuple[float, SenderReport]] = []

        def read(at: float) -> None:
            while client.receive():
                pass
            found = [r for r in client.reports if isinstance(r, SenderReport)]
            came.extend((at, report) for report in found[len(came) :])

        for number in range(80):
            await write(publisher, picture, INTER if number else KEY, number / 25)
            await write(publisher, sound, b"\xfc\x01", number / 25)
            await anyio.sleep(0.04)
            read(number / 25)
        for kind, rate in ((96, 90_000), (98, 48_000)):
            of = [(at, r) for at, r in came if r.ssrc == client.of(kind)[0].ssrc]
            assert of[0][0] == 0
            # They are looked after each quarter of a second.
            assert 4 <= sum(at < 1.1 for at, _ in of) <= 7
            assert 1 <= sum(at > 1.5 for at, _ in of) <= 3
            (_, first), (_, last) = of[0], of[-1]
            span = (ntp_to_ns(last.ntp) - ntp_to_ns(first.ntp)) / NS
            assert (last.rtp_time - first.rtp_time) & 0xFFFFFFFF == pytest.approx(
                span * rate, abs=rate / 1000
            )
            assert first.packets < last.packets <= len(client.of(kind))
        # What has nothing to tell is silent.
        await anyio.sleep(0.4)
        read(4)
        count = len(came)
        await anyio.sleep(1.5)
        read(6)
        assert len(came) <= count + 2
        assert len({(r.ssrc, r.rtp_time) for _, r in came}) == len(came)


async def test_a_track_that_begins_late_is_told_of_as_often_at_its_own_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its sound would be seconds out of step with pictures that have been there for long."""
    monkeypatch.setattr(sender, "FIRST_REPORTS_NS", NS // 10)
    monkeypatch.setattr(sender, "REPORT_NS", NS // 10)
    async with rig() as served:
        publisher, (picture, sound) = await served.publish("live/one", PICTURE, SOUND)
        client = Client()
        await playing(served, client)
        for number in range(75):
            if number == 15:
                # By now they come seldom, and the next one is not due while this test lasts.
                monkeypatch.setattr(sender, "REPORT_NS", 60 * NS)
            await write(publisher, picture, INTER if number else KEY, number / 25)
            if number >= 40:
                await write(publisher, sound, b"\xfc\x01", number / 25)
            await anyio.sleep(0.02)
        await client.rest()
        ssrc = client.of(98)[0].ssrc
        assert sum(isinstance(r, SenderReport) and r.ssrc == ssrc for r in client.reports) >= 2
