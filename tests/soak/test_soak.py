"""The judge of the soak: each promise broken once on purpose; the short runs themselves are slow tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from soak import Report, main, show
from soaking import eyes, witness, world
from soaking.clock import BEGIN_NS, Clock
from soaking.hours import HoursReport, hours_run
from soaking.judge import (
    Invariant,
    Reading,
    ReceivedEvent,
    ReceivedOpen,
    StoredEvent,
    Violation,
    flatness,
    judge_end,
    judge_events,
    judge_flatness,
    judge_openings,
    judge_store,
)
from soaking.seams import replace
from soaking.world import FaultScript
from support.mqtt_brokers import an_event, needs_mosquitto

from edge.core.config import CameraConfig, OutboxConfig
from edge.core.errors import CameraError, CameraLostError
from edge.outbox.outbox import Outbox


def written(*seqs: int) -> list[StoredEvent]:
    return [StoredEvent(seq, f"id-{seq}") for seq in seqs]


def heard(*seqs: int) -> list[ReceivedEvent]:
    return [ReceivedEvent(seq, f"id-{seq}", f"body-{seq}") for seq in seqs]


def opened(seq: int, *, at_s: float = 10.0, retained: bool = False) -> ReceivedOpen:
    return ReceivedOpen(seq, f"id-{seq}", at_s, 12.0, retained)


def promises(breaches: list[Violation]) -> list[Invariant]:
    return [breach.promise for breach in breaches]


# Events.


def test_a_run_without_fault_breaks_nothing() -> None:
    assert judge_events(written(4, 5, 9), heard(4, 5, 9)) == []
    assert judge_openings(written(4, 5, 9), [opened(4), opened(9)]) == []
    assert judge_store(written(4, 9), written(4, 5, 9)) == []
    assert judge_end(0, 0) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=20))
def test_copies_after_a_reconnect_break_nothing(connections: list[tuple[int, int]]) -> None:
    """Each connection goes back by some events, never beyond the first, and goes on from there."""
    order: list[int] = []
    for back, count in connections:
        begin = max(max(order, default=0) - back, 0)
        order += range(begin + 1, begin + count + 1)
    assert judge_events(written(*range(1, max(order) + 1)), heard(*order)) == []


@given(st.integers(1, 20), st.data())
def test_any_one_event_that_never_comes_is_missed(count: int, data: st.DataObject) -> None:
    seqs = list(range(1, count + 1))
    lost = data.draw(st.sampled_from(seqs))
    (breach,) = judge_events(written(*seqs), heard(*(seq for seq in seqs if seq != lost)))
    assert breach.promise is Invariant.NOTHING_LOST
    assert f"the first is {lost}" in breach.how


def test_a_loss_that_the_door_owns_up_to_is_none() -> None:
    events = [*heard(3), ReceivedEvent(4, "id-4", "two were dropped", lost=2)]
    assert judge_events([*written(1, 2, 3), StoredEvent(4, "id-4", 2)], events) == []
    assert promises(judge_events([*written(0, 1, 2, 3), StoredEvent(4, "id-4", 2)], events)) == [Invariant.NOTHING_LOST]


def test_two_events_that_change_places_are_noticed() -> None:
    assert promises(judge_events(written(1, 2, 3), heard(1, 3, 2))) == [Invariant.IN_ORDER]


def test_a_copy_under_another_number_another_id_or_with_other_words_is_noticed() -> None:
    renumbered = [*heard(1, 2), ReceivedEvent(3, "id-2", "body-2")]
    renamed = [*heard(1, 2), ReceivedEvent(2, "id-2b", "body-2")]
    reworded = [*heard(1, 2), ReceivedEvent(2, "id-2", "something else")]
    assert promises(judge_events(written(1, 2), renumbered)) == [Invariant.COPIES_RECOGNISABLE]
    assert Invariant.COPIES_RECOGNISABLE in promises(judge_events(written(1, 2), renamed))
    assert promises(judge_events(written(1, 2), reworded)) == [Invariant.COPIES_RECOGNISABLE]


def test_numbers_that_do_not_rise_and_ids_given_twice_are_noticed() -> None:
    assert promises(judge_events(written(2, 1), heard(1, 2))) == [Invariant.NUMBERS_RISE]
    twice = [StoredEvent(1, "one"), StoredEvent(2, "one")]
    assert Invariant.COPIES_RECOGNISABLE in promises(judge_events(twice, [ReceivedEvent(1, "one", "")]))


def test_an_event_that_was_never_stored_is_noticed() -> None:
    assert promises(judge_events(written(1), heard(1, 2))) == [Invariant.NOTHING_INVENTED]


def test_a_stored_event_that_is_gone_or_has_another_number_is_noticed() -> None:
    assert promises(judge_store(written(1, 2), written(1))) == [Invariant.NOTHING_LOST]
    assert promises(judge_store(written(1), [StoredEvent(2, "id-1")])) == [Invariant.NOTHING_LOST]


def test_what_still_waits_at_the_end_or_could_not_be_read_is_noticed() -> None:
    assert promises(judge_end(3, 0)) == [Invariant.DRAINED]
    assert promises(judge_end(0, 1)) == [Invariant.READABLE]


# Openings.


def test_an_opening_that_is_late_by_a_millisecond_is_noticed() -> None:
    (breach,) = judge_openings(written(1), [opened(1, at_s=12.001)])
    assert breach.promise is Invariant.NEVER_LATE
    assert "1 ms too late" in breach.how


def test_an_opening_that_comes_twice_or_was_retained_is_noticed() -> None:
    assert promises(judge_openings(written(1), [opened(1), opened(1)])) == [Invariant.NEVER_TWICE]
    assert promises(judge_openings(written(1), [opened(1, retained=True)])) == [Invariant.NEVER_RETAINED]


def test_an_opening_without_a_stored_event_is_noticed() -> None:
    assert promises(judge_openings(written(1), [opened(2)])) == [Invariant.RECORDED_FIRST]


# Memory and handles.


def readings(memory_mb: list[float], handles: int = 20, threads: int = 5) -> list[Reading]:
    return [Reading(float(hour), each, handles, threads) for hour, each in enumerate(memory_mb)]


def test_growth_is_found_under_noise_and_spikes_and_the_warm_up_does_not_count() -> None:
    """Half a per mille an hour over 18 hours; a spike of half the memory on the way is not growth."""
    noise = np.random.default_rng(1).normal(0, 0.05, 24)
    rising = [100 + 0.05 * hour + noise[hour] for hour in range(24)]
    rising[:4] = [40.0, 70.0, 90.0, 98.0]
    rising[12] = 150.0
    assert flatness(readings(rising)).growth == pytest.approx(0.05 * 17 / 100, abs=0.002)


@pytest.mark.parametrize(("each_hour", "fails"), [(0.05, False), (0.2, True), (-0.2, False)])
def test_memory_may_grow_by_less_than_the_bound(each_hour: float, fails: bool) -> None:
    found = flatness(readings([100 + each_hour * hour for hour in range(24)]))
    assert (promises(judge_flatness(found, 0.02)) == [Invariant.MEMORY_FLAT]) is fails


def test_one_handle_or_thread_more_is_noticed() -> None:
    steady = readings([100.0] * 20)
    more_handles, more_threads = Reading(20.0, 100.0, 21, 5), Reading(20.0, 100.0, 20, 6)
    assert judge_flatness(flatness(steady), 0.02) == []
    assert promises(judge_flatness(flatness([*steady, more_handles]), 0.02)) == [Invariant.HANDLES_FLAT]
    assert promises(judge_flatness(flatness([*steady, more_threads]), 0.02)) == [Invariant.THREADS_FLAT]


def test_too_few_readings_say_nothing() -> None:
    with pytest.raises(ValueError, match="say nothing"):
        flatness(readings([100.0] * 3))


# What is made up for the runs.


def test_a_simulated_clock_goes_on_by_itself_and_leaps_for_every_process(tmp_path: Path) -> None:
    door, other = Clock(tmp_path / "clock"), Clock(tmp_path / "clock")
    door.set(1000 * 10**9, 5 * 10**9)
    before, wall = other.read()
    assert 1000 * 10**9 <= before < 1060 * 10**9
    assert wall - before == 5 * 10**9
    assert other.monotonic_ns() > before
    door.set(5000 * 10**9, 0)
    assert other.time() >= 5000


@pytest.fixture
def unwitnessed() -> Iterator[None]:
    import edge.runtime.event_recorder

    kept = edge.runtime.event_recorder.Outbox  # type: ignore[attr-defined]
    yield
    edge.runtime.event_recorder.Outbox = kept  # type: ignore[attr-defined]


@pytest.mark.usefixtures("unwitnessed")
def test_the_witness_notes_what_is_stored_and_survives_a_note_cut_short(tmp_path: Path) -> None:
    import edge.runtime.event_recorder

    notes = tmp_path / "notes"
    witness.install(notes)
    make = edge.runtime.event_recorder.Outbox  # type: ignore[attr-defined]
    with make(tmp_path / "o.sqlite", OutboxConfig(), announce=lambda _: an_event()) as outbox:
        assert isinstance(outbox, Outbox)
        event = an_event()
        seq = outbox.append(event)
    with notes.open("ab") as file:
        file.write(b'{"seq":9,"i')
    assert witness.notes_of(notes) == [StoredEvent(seq, event.id)]
    assert witness.count(notes) == 1


def test_people_made_up_are_far_from_each_other() -> None:
    vectors = np.stack([eyes.vector(number) for number in range(1, 256)])
    apart = 2 - 2 * vectors @ vectors.T + 4 * np.eye(len(vectors))
    assert apart.min() > 1.2


def test_a_door_that_no_longer_has_what_a_run_replaces_is_noticed() -> None:
    import edge.runtime.camera_supervisor

    with pytest.raises(AttributeError):
        replace(edge.runtime.camera_supervisor, open_the_camera=None)


def test_a_world_is_the_same_under_the_same_seed_and_its_time_only_rises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two periods of it, as fast as it goes; a camera that is lost is away for a while and opened again."""
    monkeypatch.setattr(world, "FASTEST", 1e9)
    monkeypatch.setattr(world, "FAULTS", ("camera-lost", "clock-jump", "release"))
    first, second = [live(tmp_path / name, seed=2) for name in ("first", "second")]
    assert first[0] == second[0]
    assert first[0] == ["camera-lost", "gone", "still away", "well"] * 2
    assert first[1] == sorted(set(first[1]))
    assert first[1][-1] >= BEGIN_NS + 360 * 10**9


def live(path: Path, seed: int) -> tuple[list[str], list[int]]:
    """What a world asks for and what becomes of its camera, and the times of its frames."""
    asked: list[str] = []
    outside = FaultScript(Clock(path), hours=0.1, periods=2, seed=seed, ask=lambda what: asked.append(what.split()[0]))
    times: list[int] = []
    for _ in range(10):
        try:
            with outside.open(CameraConfig()) as camera:
                times += [frame.captured_ns for frame in camera]
            return asked, times
        except CameraLostError:
            asked.append("gone")
        except CameraError:
            asked.append("still away")
    raise AssertionError("the camera is lost for good")


# The command.


def test_a_broken_promise_is_told_in_a_line_with_the_seed_that_repeats_it() -> None:
    late = judge_openings(written(1), [opened(1, at_s=12.5)])
    report = Report(None, HoursReport(7, 1.0, 2.0, {}, {}, 1, 1, 0, 1, -500.0, flatness(readings([1.0] * 8)), [], late))
    assert report.broken == ["no opening late: number 1 came 500 ms too late (seed 7)"]
    assert show(report).endswith("broken:\n" + report.broken[0])


@pytest.mark.parametrize("words", [["--hours", "0", "--kills", "0"], ["--seed", "-1"], ["--events", "0"]])
def test_nothing_to_do_and_nonsense_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


# The runs, short.


@needs_mosquitto
@pytest.mark.slow
def test_a_dozen_kills_break_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--hours", "0", "--kills", "12", "--events", "120", "--seed", "1", "--json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert report.kills is not None
    assert report.kills.door_kills + report.kills.broker_kills == 12
    assert report.kills.arrived == report.kills.stored >= 120


@needs_mosquitto
@pytest.mark.slow
def test_a_few_simulated_hours_break_no_promise(tmp_path: Path) -> None:
    """So short a run still warms up, so its memory may grow by more."""
    report = hours_run(tmp_path / "run", hours=5, periods=6, seed=1, most_growth=0.1, told=print)
    assert report.breaches == []
    assert len(report.readings) == 6
    assert report.openings >= 6
    assert sum(report.faults.values()) >= 6
    assert "every promise was kept" in show(Report(None, report))
