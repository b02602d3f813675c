"""Tests of the soak runs: each invariant is violated once on purpose; the short runs are slow tests."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mqtt_brokers import an_event, needs_mosquitto

from edge.core.config import CameraConfig, OutboxConfig
from edge.core.errors import CameraError, CameraLostError
from soak.fake_vision import vector
from soak.fault_script import FaultScript
from soak.invariants import (
    Invariant,
    Reading,
    ReceivedEvent,
    ReceivedOpen,
    StoredEvent,
    Violation,
    check_end,
    check_events,
    check_opens,
    check_store,
    check_trend,
    measure_trend,
)
from soak.long_run import LongRunReport, long_run
from soak.recording_outbox import RecordingOutbox, count_notes, read_notes
from soak.run import SoakReport, main, render
from soak.simulated_clock import BEGIN_NS, SimulatedClock


def stored(*seqs: int) -> list[StoredEvent]:
    return [StoredEvent(seq, f"id-{seq}") for seq in seqs]


def received(*seqs: int) -> list[ReceivedEvent]:
    return [ReceivedEvent(seq, f"id-{seq}", f"body-{seq}") for seq in seqs]


def opened(seq: int, *, at_s: float = 10.0, retained: bool = False) -> ReceivedOpen:
    return ReceivedOpen(seq, f"id-{seq}", at_s, 12.0, retained)


def invariants(violations: list[Violation]) -> list[Invariant]:
    return [violation.invariant for violation in violations]


# Events.


def test_run_without_fault() -> None:
    assert check_events(stored(4, 5, 9), received(4, 5, 9)) == []
    assert check_opens(stored(4, 5, 9), [opened(4), opened(9)]) == []
    assert check_store(stored(4, 9), stored(4, 5, 9)) == []
    assert check_end(0, 0) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=20))
def test_copies_after_a_reconnect_are_no_violation(connections: list[tuple[int, int]]) -> None:
    """Each connection repeats some events, at most from the first one, and continues."""
    order: list[int] = []
    for back, count in connections:
        begin = max(max(order, default=0) - back, 0)
        order += range(begin + 1, begin + count + 1)
    assert check_events(stored(*range(1, max(order) + 1)), received(*order)) == []


@given(st.integers(1, 20), st.data())
def test_any_missing_event_is_detected(count: int, data: st.DataObject) -> None:
    seqs = list(range(1, count + 1))
    lost = data.draw(st.sampled_from(seqs))
    (violation,) = check_events(stored(*seqs), received(*(seq for seq in seqs if seq != lost)))
    assert violation.invariant is Invariant.NOTHING_LOST
    assert f"the first is {lost}" in violation.detail


def test_loss_that_the_door_reports() -> None:
    events = [*received(3), ReceivedEvent(4, "id-4", "two were dropped", lost=2)]
    assert check_events([*stored(1, 2, 3), StoredEvent(4, "id-4", 2)], events) == []
    assert invariants(check_events([*stored(0, 1, 2, 3), StoredEvent(4, "id-4", 2)], events)) == [
        Invariant.NOTHING_LOST
    ]


def test_swapped_events_are_detected() -> None:
    assert invariants(check_events(stored(1, 2, 3), received(1, 3, 2))) == [Invariant.IN_ORDER]


def test_copy_with_another_number_id_or_body() -> None:
    renumbered = [*received(1, 2), ReceivedEvent(3, "id-2", "body-2")]
    renamed = [*received(1, 2), ReceivedEvent(2, "id-2b", "body-2")]
    reworded = [*received(1, 2), ReceivedEvent(2, "id-2", "something else")]
    assert invariants(check_events(stored(1, 2), renumbered)) == [Invariant.COPIES_RECOGNISABLE]
    assert Invariant.COPIES_RECOGNISABLE in invariants(check_events(stored(1, 2), renamed))
    assert invariants(check_events(stored(1, 2), reworded)) == [Invariant.COPIES_RECOGNISABLE]


def test_falling_numbers_and_repeated_ids() -> None:
    assert invariants(check_events(stored(2, 1), received(1, 2))) == [Invariant.NUMBERS_RISE]
    twice = [StoredEvent(1, "one"), StoredEvent(2, "one")]
    assert Invariant.COPIES_RECOGNISABLE in invariants(check_events(twice, [ReceivedEvent(1, "one", "")]))


def test_event_that_was_never_stored() -> None:
    assert invariants(check_events(stored(1), received(1, 2))) == [Invariant.NOTHING_INVENTED]


def test_missing_or_renumbered_stored_event() -> None:
    assert invariants(check_store(stored(1, 2), stored(1))) == [Invariant.NOTHING_LOST]
    assert invariants(check_store(stored(1), [StoredEvent(2, "id-1")])) == [Invariant.NOTHING_LOST]


def test_undelivered_and_unreadable_messages() -> None:
    assert invariants(check_end(3, 0)) == [Invariant.DRAINED]
    assert invariants(check_end(0, 1)) == [Invariant.READABLE]


# Open commands.


def test_open_command_late_by_a_millisecond() -> None:
    (violation,) = check_opens(stored(1), [opened(1, at_s=12.001)])
    assert violation.invariant is Invariant.NEVER_LATE
    assert "1 ms too late" in violation.detail


def test_open_command_twice_or_retained() -> None:
    assert invariants(check_opens(stored(1), [opened(1), opened(1)])) == [Invariant.NEVER_TWICE]
    assert invariants(check_opens(stored(1), [opened(1, retained=True)])) == [Invariant.NEVER_RETAINED]


def test_open_command_without_a_stored_event() -> None:
    assert invariants(check_opens(stored(1), [opened(2)])) == [Invariant.RECORDED_FIRST]


# Memory and handles.


def readings(memory_mb: list[float], handles: int = 20, threads: int = 5) -> list[Reading]:
    return [Reading(float(hour), each, handles, threads) for hour, each in enumerate(memory_mb)]


def test_growth_is_found_under_noise_and_spikes() -> None:
    """Growth of 0.05 % per hour over 18 hours; a single spike of 50 % is not growth."""
    noise = np.random.default_rng(1).normal(0, 0.05, 24)
    rising = [100 + 0.05 * hour + noise[hour] for hour in range(24)]
    rising[:4] = [40.0, 70.0, 90.0, 98.0]
    rising[12] = 150.0
    assert measure_trend(readings(rising)).growth == pytest.approx(0.05 * 17 / 100, abs=0.002)


@pytest.mark.parametrize(("each_hour", "fails"), [(0.05, False), (0.2, True), (-0.2, False)])
def test_memory_growth_bound(each_hour: float, fails: bool) -> None:
    found = measure_trend(readings([100 + each_hour * hour for hour in range(24)]))
    assert (invariants(check_trend(found, 0.02)) == [Invariant.MEMORY_FLAT]) is fails


def test_one_handle_or_thread_more() -> None:
    steady = readings([100.0] * 20)
    more_handles, more_threads = Reading(20.0, 100.0, 21, 5), Reading(20.0, 100.0, 20, 6)
    assert check_trend(measure_trend(steady), 0.02) == []
    assert invariants(check_trend(measure_trend([*steady, more_handles]), 0.02)) == [Invariant.HANDLES_FLAT]
    assert invariants(check_trend(measure_trend([*steady, more_threads]), 0.02)) == [Invariant.THREADS_FLAT]


def test_too_few_readings() -> None:
    with pytest.raises(ValueError, match="too few"):
        measure_trend(readings([100.0] * 3))


# The fakes.


def test_simulated_clock_runs_on_and_leaps_for_every_process(tmp_path: Path) -> None:
    door, other = SimulatedClock(tmp_path / "clock"), SimulatedClock(tmp_path / "clock")
    door.set(1000 * 10**9, 5 * 10**9)
    before, wall = other.read()
    assert 1000 * 10**9 <= before < 1060 * 10**9
    assert wall - before == 5 * 10**9
    assert other.monotonic_ns() > before
    door.set(5000 * 10**9, 0)
    assert other.unix_ns() >= 5000 * 10**9


def test_recording_outbox_notes_what_is_stored(tmp_path: Path) -> None:
    """An incomplete note is ignored."""
    notes = tmp_path / "notes"
    with RecordingOutbox(notes, tmp_path / "o.sqlite", OutboxConfig(), announce=lambda _: an_event()) as outbox:
        event = an_event()
        seq = outbox.append(event)
    with notes.open("ab") as file:
        file.write(b'{"seq":9,"i')
    assert read_notes(notes) == [StoredEvent(seq, event.id)]
    assert count_notes(notes) == 1


def test_fake_people_are_far_apart() -> None:
    vectors = np.stack([vector(number) for number in range(1, 256)])
    apart = 2 - 2 * vectors @ vectors.T + 4 * np.eye(len(vectors))
    assert apart.min() > 1.2


def test_fault_script_repeats_under_the_same_seed(tmp_path: Path) -> None:
    """Two periods, as fast as possible: time only rises, and a lost camera is reopened later."""
    first, second = [play(tmp_path / name, seed=2) for name in ("first", "second")]
    assert first[0] == second[0]
    assert first[0] == ["camera-lost", "gone", "still away", "well"] * 2
    assert first[1] == sorted(set(first[1]))
    assert first[1][-1] >= BEGIN_NS + 360 * 10**9


def play(path: Path, seed: int) -> tuple[list[str], list[int]]:
    """Return the requests of a script with the states of its camera, and the times of its frames."""
    requested: list[str] = []
    script = FaultScript(
        SimulatedClock(path),
        hours=0.1,
        periods=2,
        seed=seed,
        request=lambda action: requested.append(action.split()[0]),
        fastest=1e9,
        faults=("camera-lost", "clock-jump", "release"),
    )
    times: list[int] = []
    for _ in range(10):
        try:
            with script.open_camera(CameraConfig()) as camera:
                times += [frame.captured_ns for frame in camera]
            return requested, times
        except CameraLostError:
            requested.append("gone")
        except CameraError:
            requested.append("still away")
    raise AssertionError("the camera never came back")


# The command.


def test_violation_line_carries_the_seed() -> None:
    late = check_opens(stored(1), [opened(1, at_s=12.5)])
    report = SoakReport(
        None, LongRunReport(7, 1.0, 2.0, {}, {}, 1, 1, 0, 1, -500.0, measure_trend(readings([1.0] * 8)), [], late)
    )
    assert report.violations == ["no open command late: number 1 came 500 ms too late (seed 7)"]
    assert render(report).endswith("violated:\n" + report.violations[0])


@pytest.mark.parametrize("words", [["--hours", "0", "--kills", "0"], ["--seed", "-1"], ["--events", "0"]])
def test_invalid_arguments(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


# The runs, short.


@needs_mosquitto
@pytest.mark.slow
def test_a_dozen_kills(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--hours", "0", "--kills", "12", "--events", "120", "--seed", "1", "--json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=SoakReport)
    assert report.kills is not None
    assert report.kills.door_kills + report.kills.broker_kills == 12
    assert report.kills.arrived == report.kills.stored >= 120


@needs_mosquitto
@pytest.mark.slow
def test_a_few_simulated_hours(tmp_path: Path) -> None:
    """The limit of growth is larger, because a short run is still warming up."""
    report = long_run(tmp_path / "run", hours=5, periods=6, seed=1, max_growth=0.1, progress=print)
    assert report.violations == []
    assert len(report.readings) == 6
    assert report.opens >= 6
    assert sum(report.faults.values()) >= 6
    assert "every invariant held" in render(SoakReport(None, report))
