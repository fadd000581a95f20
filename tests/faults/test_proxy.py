"""The proxy does what it says to a stream, and nothing else."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.faults.proxy import TICKS, WRAP, Harm, Proxy

PACKETS = 200
ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\nv=0$"  # a `$` that starts nothing


def packet(number: int) -> bytes:
    rtp = struct.pack(">BBHII", 0x80, 96, number, number * TICKS // 10, 7) + bytes(range(64))
    return b"$\0" + len(rtp).to_bytes(2, "big") + rtp


SENT = ANSWER + b"".join(map(packet, range(PACKETS)))


@pytest.fixture
def camera() -> Iterator[int]:
    """Sends an answer and two hundred packets to whoever asks; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    if client.recv(1):
                        client.sendall(SENT)
                        client.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@contextmanager
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as one:
        one.sendall(b"?")
        yield one


def received(one: socket.socket, most: int = len(SENT), *, quiet_s: float = 0.5) -> bytes:
    """All that comes until it is quiet."""
    one.settimeout(quiet_s)
    data = b""
    try:
        while len(data) < most and (more := one.recv(65_536)):
            data += more
    except TimeoutError:
        pass
    return data


def packets(data: bytes) -> list[bytes]:
    assert data.startswith(ANSWER)
    size = len(packet(0))
    return [data[at : at + size] for at in range(len(ANSWER), len(data), size)]


def stamps(data: bytes) -> list[int]:
    return [struct.unpack_from(">I", one, 8)[0] for one in packets(data)]


def through(camera: int, harm: Harm) -> bytes:
    with Proxy(camera) as proxy:
        proxy.harm(harm)
        with client(proxy) as one:
            return received(one)


def test_without_harm_every_byte_passes(camera: int) -> None:
    assert through(camera, Harm()) == SENT


def test_a_stall_holds_everything_back_until_it_ends(camera: int) -> None:
    with Proxy(camera) as proxy:
        proxy.harm(Harm(stall=True))
        with client(proxy) as one:
            assert received(one, quiet_s=0.3) == b""
            proxy.heal()
            assert received(one) == SENT


def test_a_reset_is_a_reset(camera: int) -> None:
    with Proxy(camera) as proxy, client(proxy) as one:
        assert received(one) == SENT
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            one.recv(1)


def test_refused_connections_are_held_and_closed_and_counted(camera: int) -> None:
    with Proxy(camera) as proxy:
        proxy.harm(Harm(refuse=True, hold_s=0.2))
        began_s = time.monotonic()
        with client(proxy) as one, client(proxy) as other:
            for each in (one, other):
                with suppress(ConnectionResetError):  # closed before it had read our question
                    assert each.recv(1) == b""
        assert time.monotonic() - began_s > 0.15
        assert (proxy.accepted, proxy.most_at_once) == (2, 2)


def test_a_cut_connection_had_its_packets_for_a_moment(camera: int) -> None:
    with Proxy(camera) as proxy:
        proxy.harm(Harm(cut_s=0.3))
        with client(proxy) as one:
            began_s = time.monotonic()
            one.settimeout(5)
            data = b""
            with suppress(ConnectionResetError):
                while more := one.recv(65_536):
                    data += more
            assert time.monotonic() - began_s > 0.25
            assert data == SENT


def test_a_dropped_share_is_lost_and_the_rest_is_whole(camera: int) -> None:
    left = packets(through(camera, Harm(drop=0.2)))
    assert 0.7 * PACKETS < len(left) < 0.9 * PACKETS
    assert set(left) <= set(map(packet, range(PACKETS)))


def test_a_corrupt_share_keeps_its_headers(camera: int) -> None:
    came = packets(through(camera, Harm(corrupt=0.2)))
    wrong = [(one, packet(number)) for number, one in enumerate(came) if one != packet(number)]
    assert 0.1 * PACKETS < len(wrong) < 0.3 * PACKETS
    assert all(one[:18] == whole[:18] for one, whole in wrong)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_jump_moves_all_time_stamps(camera: int, seconds: float) -> None:
    moved = stamps(through(camera, Harm(jump_s=seconds)))
    assert moved == [(one + round(seconds * TICKS)) % WRAP for one in stamps(SENT)]


def test_time_stamps_wrap_when_asked(camera: int) -> None:
    moved = stamps(through(camera, Harm(wrap_in_s=2.0)))
    assert [number for number in range(1, PACKETS) if moved[number] < moved[number - 1]] == [20]


def test_a_delay_is_a_delay_and_not_a_slowdown(camera: int) -> None:
    began_s = time.monotonic()
    assert through(camera, Harm(delay_s=0.3)) == SENT
    assert 0.3 < time.monotonic() - began_s < 2
