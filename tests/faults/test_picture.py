"""The picture is wrong, or parts of it are lost: what is wrong is said, what can be counted is."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.camera import Camera, address, camera
from tests.faults.clips import Clips
from tests.faults.conftest import Record
from tests.faults.figures import Fault
from tests.faults.proxy import Harm, Proxy
from tests.faults.town import Town

pytestmark = pytest.mark.slow

AWAY = "throng-faults"  # a network namespace, with a camera in it
HERE = "throng-here"  # the interface to it
HERE_IP, AWAY_IP = "10.77.0.1", "10.77.0.2"


def test_a_frozen_picture_is_called_frozen_until_it_moves(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("frozen picture", "equal pictures, frozen_after_s: 3", 6, 1, shown=("frozen",))
    with (
        camera(clips.plaza, clips.frozen) as server,
        shared.camera("frozen", address(server.port), frozen_after_s=3) as victim,
    ):
        victim.wait_live()
        record(victim.suffers(fault, begin=lambda: server.play(1), end=lambda: server.play(0)))


@pytest.mark.long
def test_a_black_picture_is_called_dark_until_there_is_light(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("black picture", "black pictures", 5, 2, shown=("dark",))
    with (
        camera(clips.plaza, clips.black) as server,
        shared.camera("dark", address(server.port)) as victim,
    ):
        victim.wait_live()
        record(victim.suffers(fault, begin=lambda: server.play(1), end=lambda: server.play(0)))


@pytest.mark.parametrize(
    "percent",
    [pytest.param(1, marks=pytest.mark.long), 5, pytest.param(20, marks=pytest.mark.long)],
)
def test_lost_packets_do_not_end_the_counting(
    shared: Town, steady: Camera, record: Record, percent: int
) -> None:
    fault = Fault(f"{percent} % of packets lost, TCP", "proxy drops RTP", recover_s=5, gap_s=5)
    with Proxy(steady.port) as proxy, shared.camera(f"loses-{percent}", address(proxy.port)) as one:
        one.wait_live()
        harm = Harm(drop=percent / 100)
        figure = one.endures(fault, begin=lambda: proxy.harm(harm), seconds=6, end=proxy.heal)
        record(figure)


def test_corrupt_packets_cost_pictures_and_no_more(
    shared: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("20 % of packets corrupt", "proxy, wrong bytes in RTP", recover_s=3, gap_s=5)
    with Proxy(steady.port) as proxy, shared.camera("corrupt", address(proxy.port)) as victim:
        victim.wait_live()
        harm = Harm(corrupt=0.2)
        figure = victim.endures(fault, begin=lambda: proxy.harm(harm), seconds=8, end=proxy.heal)
        record(figure)
        marked = shared.samples("corrupt")["throng_reading_invalid_total", "damaged"]
        assert marked > 0  # what decoders made up is no count


def test_a_change_of_resolution_is_followed_within_the_stream(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("resolution change", "512x288 to 1024x576 in the stream", recover_s=1, gap_s=1)
    with (
        camera(clips.plaza, clips.large) as server,
        shared.camera("resized", address(server.port)) as victim,
    ):
        victim.wait_live()
        assert shared.described(victim.name)["stream"]["width"] == 512
        record(victim.endures(fault, begin=lambda: server.play(1), seconds=4))
        assert shared.described(victim.name)["stream"]["width"] == 1024


@pytest.mark.parametrize("codec", ["hevc", pytest.param("mjpeg", marks=pytest.mark.long)])
def test_a_change_of_codec_is_followed(
    shared: Town, clips: Clips, record: Record, codec: str
) -> None:
    made = f"server cuts clients, serves {codec} instead of h264"
    fault = Fault(f"codec change to {codec}", made, 1, 5, shown=("down", "stalled", "connecting"))
    with (
        camera(clips.plaza, getattr(clips, codec)) as server,
        shared.camera(f"becomes-{codec}", address(server.port)) as victim,
    ):
        victim.wait_live()
        assert shared.described(victim.name)["stream"]["codec"] == "h264"
        record(victim.suffers(fault, begin=lambda: server.swap(1), end=lambda: None))
        assert shared.described(victim.name)["stream"]["codec"] == codec


@pytest.mark.long
@pytest.mark.parametrize("percent", [1, 5, 20])
def test_lost_udp_packets_do_not_end_the_counting(
    shared: Town, clips: Clips, record: Record, percent: int
) -> None:
    fault = Fault(f"{percent} % of packets lost, UDP", "nft in a namespace", recover_s=5, gap_s=10)
    within = ("ip", "netns", "exec", AWAY)
    with (
        network(),
        camera(clips.plaza, within=within, more=(f"--host={AWAY_IP}",)) as server,
        shared.camera(
            f"udp-{percent}", address(server.port, host=AWAY_IP), transport="udp"
        ) as victim,
    ):
        victim.wait_live()
        record(victim.endures(fault, begin=lambda: lose(percent), seconds=10, end=lambda: lose(0)))


@contextmanager
def network() -> Iterator[None]:
    """A network namespace behind a pair of interfaces. Skips where that is not to be had."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft"))):
        pytest.skip("no network namespace: needs root, ip and nft")
    inside = ("ip", "-n", AWAY)
    try:
        root("ip", "netns", "add", AWAY)
        root("ip", "link", "add", HERE, "type", "veth", "peer", "name", "camera", "netns", AWAY)
        root("ip", "address", "add", f"{HERE_IP}/24", "dev", HERE)
        root("ip", "link", "set", HERE, "up")
        root(*inside, "address", "add", f"{AWAY_IP}/24", "dev", "camera")
        root(*inside, "link", "set", "camera", "up")
        lose(0)
    except subprocess.CalledProcessError as error:
        gone()
        pytest.skip(f"no network namespace: {error.stderr.strip()}")
    try:
        yield
    finally:
        gone()


def gone() -> None:
    """The interfaces by name, because those of a namespace end some time after it."""
    for command in (("ip", "link", "del", HERE), ("ip", "netns", "del", AWAY)):
        subprocess.run(command, check=False, capture_output=True)


def lose(percent: int) -> None:
    """So many of the UDP packets that leave the camera are lost."""
    rules = (
        "add table inet faults\n"
        "flush table inet faults\n"
        "add chain inet faults out { type filter hook output priority 0; }\n"
        f"add rule inet faults out meta l4proto udp numgen random mod 100 < {percent} drop\n"
    )
    root("ip", "netns", "exec", AWAY, "nft", "-f", "-", text=rules)


def root(*command: str, text: str = "") -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, input=text)
