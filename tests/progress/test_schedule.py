"""Time left is what was measured of the same kind, or is said to be unknown."""

import pytest

from distmatch.progress import Phase
from distmatch.progress.schedule import Schedule

UNITS = ["asking"] * 5 + ["training", "asking"] * 2
"""Of an experiment: told units and the base come first, and train nothing."""


class Walk:
    """A schedule that is gone through second by second."""

    def __init__(self, clock, kinds):
        self.clock, self.schedule = clock, Schedule("all of it", kinds)

    def begin(self, name, total=None, **given):
        phase = Phase(name, total, on_change=lambda: None, **given)
        self.schedule.begin(phase)
        return phase

    def moved(self, phase, seconds, by=1):
        self.clock.now += seconds
        phase.advance(by)

    def lasting(self, name, seconds, **given):
        phase = self.begin(name, **given)
        self.clock.now += seconds
        self.schedule.end(phase)

    @property
    def times(self):
        return self.schedule.standing().times


@pytest.fixture
def walk(clock):
    return lambda *kinds: Walk(clock, kinds)


def test_a_phase_alone_takes_as_long_as_its_counts_say(walk):
    one = walk("writing")
    writing = one.begin("writing", 12)
    assert one.times == "00:00"
    one.moved(writing, 6, by=3)
    assert one.times == "00:06, 00:18 left"
    assert one.schedule.standing().text == "writing 3/12"
    assert one.schedule.standing().share == 0.25


def test_units_that_train_nothing_say_nothing_of_how_long_training_takes(walk):
    one = walk(*UNITS)
    for number in range(5):
        one.lasting(f"told-{number} is asked", 10, kind="asking")
        assert "left" not in one.times
    training = one.begin("trained-0 is trained", kind="training")
    assert one.times == "00:50"
    steps = one.begin("training", 100)
    one.moved(steps, 20, by=10)
    assert one.times == "01:10, 06:40 left"  # 180 + 10 + 200 + 10
    one.moved(steps, 180, by=90)
    one.schedule.end(steps)
    one.schedule.end(training)
    assert one.times == "04:10, 03:40 left"
    assert one.schedule.standing().share == pytest.approx(250 / 470)


def test_until_all_kinds_are_seen_time_left_is_that_of_what_is_counted(walk):
    one = walk("measuring given", "measuring knowledge")
    one.begin("measuring given")
    asked = one.begin("given", 4)
    one.moved(asked, 5)
    standing = one.schedule.standing()
    assert standing.times == "00:05, 00:15 left of this"
    assert standing.share == 0.25
    assert standing.text == "[1/2] measuring given 1/4"


def test_what_comes_before_the_first_step_is_no_part_of_every_step(walk):
    one = walk("training")
    one.begin("trained-0 is trained", kind="training")
    one.clock.now = 60.0  # a large model is loaded
    one.moved(one.begin("training", 100), 1)
    assert one.times == "01:01, 01:39 left"


def test_it_is_part_of_every_training_that_is_over(walk):
    one = walk("training", "training")
    training = one.begin("trained-0 is trained", kind="training")
    one.clock.now = 60.0
    steps = one.begin("training", 10)
    one.moved(steps, 40, by=10)
    one.schedule.end(steps)
    one.schedule.end(training)
    assert one.times == "01:40, 01:40 left"


def test_steps_of_before_a_kill_say_nothing_of_the_speed(walk):
    one = walk("training")
    steps = one.begin("training", 100, done=90)
    assert one.times == "00:00"
    one.moved(steps, 2)
    assert one.times == "00:02, 00:18 left"


def test_reports_that_are_there_already_are_neither_to_come_nor_typical(walk):
    one = walk("asking", "asking", "asking")
    kept = one.begin("told-0 is asked", kind="asking")
    kept.is_typical = False
    one.clock.now += 0.01
    one.schedule.end(kept)
    assert "left" not in one.times
    one.schedule.leave_out("asking")
    one.lasting("base is asked", 30, kind="asking")
    assert one.times == "00:30, 00:00 left"


def test_an_evaluation_between_steps_brings_the_end_no_nearer_than_a_step_does(walk):
    one = walk("training")
    steps = one.begin("training", 100)
    one.moved(steps, 10, by=10)
    evaluating = one.begin("evaluating", 3)
    one.moved(evaluating, 40)
    assert one.times == "00:50, 01:29 left"
    assert one.schedule.standing().text == "training 10/100, evaluating 1/3"


def test_a_phase_that_takes_longer_than_its_kind_has_nothing_left(walk):
    one = walk("asking", "asking")
    one.lasting("told-0 is asked", 10, kind="asking")
    one.begin("base is asked", kind="asking")
    one.clock.now = 25.0
    assert one.times == "00:25, 00:00 left"


def test_what_was_not_planned_has_no_number_and_no_share(walk):
    one = walk("training", "measuring")
    one.begin("what users ask", 6)
    assert one.schedule.standing().text == "what users ask 0/6"


def test_only_whole_numbers_are_counts(walk):
    one = walk("cells")
    cells = one.begin("1/5 mlp@3", 7.5, kind="cells")
    cells.told = "loss=0.3"
    one.moved(cells, 2, by=2.5)
    assert one.schedule.standing().text == "1/5 mlp@3"
    assert one.times == "00:02, 00:04 left, loss=0.3"
