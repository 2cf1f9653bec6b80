"""Sessions and credentials: who a peer is, how it proves that, and how it is sent away."""

from __future__ import annotations

from hashlib import md5
from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.session import KICKS, Credentials, Session, Sessions, kick_in_turns
from tests.kernel.stage import session


def ha1(user: str, realm: str, password: str) -> str:
    return md5(f"{user}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest()


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_a_password_is_known_or_not(user: str, given_password: str, asked: str) -> None:
    """As itself (Basic), and as its hash (Digest), of which the server may know either."""
    basic = Credentials(user, given_password)
    assert basic.verify(password=asked) == (asked == given_password)
    assert not basic.verify(ha1=ha1(user, "r", given_password)), (
        "Basic cannot be checked by the hash of another realm"
    )
    digest = Credentials(user, verify_ha1=ha1(user, "r", given_password).__eq__, realm="r")
    assert digest.verify(password=asked) == (asked == given_password)
    assert digest.verify(ha1=ha1(user, "r", asked)) == (asked == given_password)
    assert not digest.verify()


def test_nothing_given_is_never_right() -> None:
    assert not Credentials().verify(password="")
    assert not Credentials().verify()
    assert not Credentials("user").verify(password="")
    assert Credentials().anonymous
    assert not Credentials("user").anonymous
    assert not Credentials(password="x").anonymous
    assert not Credentials(query={"token": "x"}).anonymous


def test_sessions_have_names_of_their_own() -> None:
    sessions = Sessions()
    one, two = sessions.add("rtmp", "::1"), sessions.add("rtsp", "::1")
    assert one.id != two.id
    assert one.id.startswith("rtmp-")
    assert (len(sessions), list(sessions), sessions.get(two.id)) == (2, [one, two], two)
    for found in sessions:
        sessions.remove(found)  # while they are looked at
    sessions.remove(one)
    assert (len(sessions), sessions.get(one.id)) == (0, None)


def test_bytes_out_are_whatever_counts_them() -> None:
    one = session()
    assert one.bytes_out == 0
    one.count_out = lambda: 7
    assert one.bytes_out == 7


@pytest.mark.anyio
@pytest.mark.parametrize("early", [False, True])
async def test_a_kick_ends_its_work(early: bool) -> None:
    """Also where it comes before the work began."""
    one = Session("1", "test", "::1")
    ended = False

    async def work() -> None:
        nonlocal ended
        with one.scope():
            try:
                await anyio.sleep_forever()
            finally:
                ended = True

    if early:
        one.kick("early")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        one.kick("late")
    assert ended
    assert one.reason == ("early" if early else "late")
    one.kick("after the end")


def test_a_track_that_is_left_out_is_told_with_its_reason() -> None:
    one = session()
    one.leave_out(1, "its config never came")
    one.leave_out(2, "no such codec here")
    assert one.info["left_out"] == {1: "its config never came", 2: "no such codec here"}


@pytest.mark.anyio
async def test_many_are_kicked_in_turns() -> None:
    sessions = [Session(str(n), "test", "") for n in range(5 * KICKS)]
    seen: set[int] = set()

    async def look() -> None:
        while True:
            seen.add(sum(bool(session.reason) for session in sessions))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await anyio.lowlevel.checkpoint()
        await kick_in_turns(sessions, "enough")
        tasks.cancel_scope.cancel()
    assert {session.reason for session in sessions} == {"enough"}
    kicked = sorted(seen)
    # Trio lets tasks take their turns in any order.
    assert max(after - before for before, after in pairwise(kicked)) <= 2 * KICKS
