"""What SRT costs without I/O: us a packet in and out, at 50 Mbit/s, by how many packets come at once.

``python -m bench.srt_core``: two connections in one process, in virtual time, acknowledgements included; the least of some runs.
"""

from __future__ import annotations

import os
from random import Random
from time import perf_counter

from penstock_srt.cipher import Mode
from penstock_srt.connection import Connection, Terms
from penstock_srt.key_material import KeyMaterial
from penstock_srt.keyring import Keyring
from penstock_srt.settings import Settings

PACKETS_A_SECOND = 4750
PAYLOAD = os.urandom(1316)
SECONDS, RUNS = 1.5, 8
PASSPHRASE = "a long passphrase"


def pair(mode: Mode | None) -> tuple[Connection, Connection]:
    keys: tuple[Keyring | None, Keyring | None] = (None, None)
    if mode is not None:
        ring, material = Keyring.generate(PASSPHRASE, mode, 16, Random(2))
        keys = ring, Keyring.receive(PASSPHRASE, KeyMaterial.parse(material))

    def end(id: int, peer_id: int, ring: Keyring | None) -> Connection:
        terms = Terms(id, peer_id, 1000, 1000, 120, 120, 1500, 8192, 0, 0, ring)
        return Connection(terms, Settings(), ("192.0.2.1", 9000), b"", Random(1), 0)

    return end(7, 9, keys[0]), end(9, 7, keys[1])


def run(mode: Mode | None, batch: int) -> tuple[float, float]:
    """Us a packet of who receives, and of who sends."""
    sender, receiver = pair(mode)
    payloads = [PAYLOAD] * batch
    now, incoming, outgoing = 0, 0.0, 0.0
    count = int(PACKETS_A_SECOND * SECONDS / batch)
    for _ in range(count):
        now += int(batch / PACKETS_A_SECOND * 1e9)
        began = perf_counter()
        datagrams = sender.send(payloads, now)
        sent = perf_counter()
        receiver.receive_datagrams(datagrams, now)
        answers = receiver.datagrams_to_send(now)
        received = perf_counter()
        sender.receive_datagrams(answers, now)
        answers = sender.datagrams_to_send(now)
        sender.next_timeout()
        answered = perf_counter()
        receiver.receive_datagrams(answers, now)
        receiver.next_timeout()
        while receiver.next_event() is not None:
            pass
        incoming += received - sent + perf_counter() - answered
        outgoing += sent - began + answered - received
    packets = count * batch
    return incoming / packets * 1e6, outgoing / packets * 1e6


def main() -> None:
    print("| packets at once | cipher | in, us a packet | out, us a packet |\n|---|---|---|---|")
    for mode in (None, *Mode):
        for batch in (1, 7, 32):
            runs = [run(mode, batch) for _ in range(RUNS)]
            least = min(i for i, _ in runs), min(o for _, o in runs)
            name = "-" if mode is None else f"AES-128-{mode.name}"
            print(f"| {batch} | {name} | {least[0]:.1f} | {least[1]:.1f} |")


if __name__ == "__main__":
    main()
