"""The errors that users see: each is one line (or one line a problem) that says where, what and how to mend it."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what the user gave us, or a state of the machine that only the user can mend (exit 1)."""


class SweepFileError(UserError):
    """Every problem of one sweep file, in the order of its lines."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CheckpointError(Exception):
    """A checkpoint that cannot be trusted: truncated, altered, or not ours. The message names the file."""


class TakenOverError(Exception):
    """Another process trains the trial now; this one must not write any more."""
