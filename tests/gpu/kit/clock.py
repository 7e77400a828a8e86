"""The time of a run: a limit for the whole, and a budget for each step within it.

A step may also use what the steps before it left.
"""

import time


class OutOfTime(Exception):
    """A step used up its budget, or the run its limit."""


class Clock:
    """Counts down from a limit in seconds. `now` is a monotonic clock."""

    def __init__(self, limit, now=time.monotonic):
        self.now, self.begin, self.limit = now, now(), limit
        self.step_end = self.end = self.begin + limit

    def begin_step(self, reserved):
        """Begins a step that must leave `reserved` seconds to the steps after it."""
        self.step_end = self.end - reserved

    def used(self):
        return self.now() - self.begin

    def left(self):
        """Seconds until the step must end; raises when there are none."""
        left = self.step_end - self.now()
        if left <= 0:
            raise OutOfTime("the step's budget is used up")
        return left

    def pause(self, seconds):
        time.sleep(min(seconds, self.left()))
