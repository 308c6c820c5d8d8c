"""What a frame may spend, with a clock of the test's."""

from __future__ import annotations

import time

import pytest

from gscodec.encode.budget import (
    DEADLINE_SHARE,
    FIT_MARGIN_DB,
    SHORTEST_S,
    Budget,
    StopRule,
    begin_frame,
    fit_schedule,
    stop_rule,
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time now, seconds, as the only item."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_without_a_deadline_there_is_no_limit(clock: list[float]) -> None:
    budget = begin_frame(None)
    clock[0] += 1000
    assert budget.seconds_left() == 0  # as FitSchedule and Effort have it
    assert budget.allows(1e9)
    assert budget.seconds_spent() == 1000


def test_the_time_left_is_a_share_of_the_deadline_less_what_was_spent(clock: list[float]) -> None:
    budget = begin_frame(40.0)
    clock[0] += 0.010
    left = DEADLINE_SHARE * 0.040 - 0.010
    assert budget.seconds_left() == pytest.approx(left)
    assert budget.allows(left - 1e-6)
    assert not budget.allows(left + 1e-6)


def test_a_late_step_gets_a_moment_and_never_no_limit(clock: list[float]) -> None:
    budget = begin_frame(40.0)
    clock[0] += 0.039
    assert budget.seconds_left() == SHORTEST_S > 0
    assert not budget.allows(0.001)


def test_a_fit_gets_its_share_of_what_is_left(clock: list[float]) -> None:
    schedule = fit_schedule(7, StopRule(1e-3, 0.01), Budget(clock[0] - 0.010, 0.040), share=0.2)
    assert schedule.iterations == 7
    assert schedule.deadline_s == pytest.approx(0.2 * (DEADLINE_SHARE * 0.040 - 0.010))
    assert (schedule.target_mse, schedule.plateau) == (1e-3, 0.01)


def test_a_fit_goes_on_until_it_is_above_the_target() -> None:
    assert stop_rule(30.0, 0.5).target_mse == pytest.approx(10 ** (-(30 + FIT_MARGIN_DB) / 10))
    assert stop_rule(None, 0.5) == StopRule(0.0, 0.5)
