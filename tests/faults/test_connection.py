"""The connection to a camera fails: it is seen in time, it is said, and it is made again."""

import signal
import time

import pytest

from tests.faults.camera import PASSWORD, USER, Camera, address, camera
from tests.faults.clips import Clips
from tests.faults.conftest import Record
from tests.faults.figures import Fault, Figure
from tests.faults.proxy import Harm, Proxy
from tests.faults.town import Town
from tests.running import free_port, wait_until

pytestmark = pytest.mark.slow

GONE = ("down", "stalled", "connecting")


def test_a_camera_that_is_down_at_the_start_is_counted_once_it_is_there(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("down at the start", "no server at its port", 6, 31, shown=("connecting",))
    port = free_port()
    with shared.camera("down-at-start", address(port)) as victim:
        noticed_s, shown = victim.explained()
        with camera(clips.plaza, port=port):
            began_s = time.monotonic()
            back_s = victim.recovered(fault, since_s=began_s)
            steady = shared.steady(victim.put_s, back_s)
        record(Figure(fault, shown, noticed_s - victim.put_s, back_s - began_s, steady=steady))


def test_a_reset_connection_is_seen_at_once_and_made_again(
    shared: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("TCP reset", "proxy, SO_LINGER 0", 1, 5, shown=GONE)
    with Proxy(steady.port) as proxy, shared.camera("reset", address(proxy.port)) as victim:
        victim.wait_live()
        record(victim.suffers(fault, begin=proxy.reset, end=lambda: None))


@pytest.mark.long
def test_a_killed_camera_is_seen_at_once_and_counted_when_it_is_back(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("server killed", "SIGKILL of the server, then a new one", 1, 31, shown=GONE)
    port = free_port()
    with shared.camera("killed", address(port)) as victim:
        with camera(clips.plaza, port=port) as server:
            victim.wait_live(seconds=40)
            start_s = time.monotonic()
            server.process.kill()
            noticed_s, shown = victim.detected(fault, since_s=start_s)
        with camera(clips.plaza, port=port):
            began_s = time.monotonic()
            back_s = victim.recovered(fault, since_s=began_s)
            figure = Figure(
                fault,
                shown,
                detected_s=noticed_s - start_s,
                recovered_s=back_s - began_s,
                steady=shared.steady(start_s, back_s),
            )
        record(figure)


def test_a_network_that_falls_silent_is_seen_and_the_count_comes_back_with_it(
    shared: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("silent stall", "proxy forwards nothing, keeps the sockets", 10, 31, shown=GONE)
    with Proxy(steady.port) as proxy, shared.camera("silent", address(proxy.port)) as victim:
        victim.wait_live()
        record(
            victim.suffers(fault, begin=lambda: proxy.harm(Harm(stall=True)), end=proxy.heal),
        )


def test_a_network_that_delays_the_stream_makes_counts_old_and_stops_none(
    shared: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("1 s of delay", "proxy forwards everything 1 s later", recover_s=2, gap_s=2.5)
    with Proxy(steady.port) as proxy, shared.camera("late", address(proxy.port)) as victim:
        victim.wait_live()
        began_s = time.monotonic()
        figure = victim.endures(fault, begin=lambda: proxy.harm(Harm(delay_s=1)), seconds=6)
        late = [
            one.message["age_ms"]
            for one in shared.diary.fresh(victim.name, since_s=began_s + 3)
            if one.at_s < began_s + 6
        ]
        assert len(late) > 5
        assert min(late) > 900
        record(figure)


@pytest.mark.long
def test_a_camera_that_stops_sending_is_seen_and_counted_when_it_goes_on(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("server frozen", "SIGSTOP of the server, SIGCONT", 10, 31, shown=GONE)
    with (
        camera(clips.plaza) as server,
        shared.camera("stopped", address(server.port)) as victim,
    ):
        victim.wait_live()
        record(
            victim.suffers(
                fault,
                begin=lambda: server.process.send_signal(signal.SIGSTOP),
                end=lambda: server.process.send_signal(signal.SIGCONT),
            )
        )


@pytest.mark.long
def test_a_camera_that_accepts_and_says_nothing_is_given_up_and_tried_again(
    shared: Town, steady: Camera, record: Record
) -> None:
    fault = Fault("stall in open", "proxy accepts, forwards nothing", 10, 31, shown=GONE)
    with Proxy(steady.port) as proxy:
        proxy.harm(Harm(stall=True))
        with shared.camera("mute", address(proxy.port)) as victim:
            wait_until(lambda: proxy.accepted > 1, seconds=30, what="a second try")
            noticed_s, shown = victim.explained()
            end_s = time.monotonic()
            proxy.heal()
            back_s = victim.recovered(fault, since_s=end_s)
            record(
                Figure(
                    fault,
                    shown,
                    detected_s=noticed_s - victim.put_s,
                    recovered_s=back_s - end_s,
                    steady=shared.steady(victim.put_s, back_s),
                )
            )


def test_a_name_that_nobody_knows_is_said_within_seconds(shared: Town, record: Record) -> None:
    fault = Fault("DNS failure", "a name under .invalid", 5, shown=("connecting", "down"))
    source = f"rtsp://{USER}:{PASSWORD}@camera.throng.invalid/camera"
    with shared.camera("nameless", source) as victim:
        told_s, shown = victim.explained()
        steady = shared.steady(victim.put_s, told_s)
        record(Figure(fault, shown, detected_s=told_s - victim.put_s, steady=steady))


def test_a_refused_login_is_tried_three_times_and_then_left_alone(
    shared: Town, clips: Clips, record: Record
) -> None:
    fault = Fault("401", "digest login, wrong password", 1, 5, shown=("auth_failed",))
    login = (f"--user={USER}", f"--password={PASSWORD}")
    with camera(clips.plaza, more=login) as server, Proxy(server.port) as proxy:
        wrong, right = (address(proxy.port, password=one) for one in (f"no-{PASSWORD}", PASSWORD))
        with shared.camera("locked", wrong) as victim:
            noticed_s, shown = victim.detected(fault, since_s=victim.put_s)
            wait_until(lambda: proxy.accepted == 3, seconds=15, what="three tries")
            quiet_s = time.monotonic()
            wait_until(lambda: time.monotonic() > quiet_s + 6, seconds=7, what="time to pass")
            assert proxy.accepted == 3
            end_s = time.monotonic()
            shared.put(victim.name, right)
            back_s = victim.recovered(fault, since_s=end_s)
            record(
                Figure(
                    fault,
                    shown,
                    detected_s=noticed_s - victim.put_s,
                    recovered_s=back_s - end_s,
                    steady=shared.steady(victim.put_s, back_s),
                    note="3 tries, then none for 6 s; recovered: after the right password",
                )
            )
