"""Errors shown to users. Each is one line (or one line per problem): where, what is wrong, and how to fix it."""

from __future__ import annotations


class UserError(Exception):
    """An error in the user's input, or a state of the machine that the user must correct (exit code 1)."""


class SweepFileError(UserError):
    """One or more problems of a sweep file.

    Attributes:
        problems: One message per problem, in the order of the file's lines.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CheckpointError(Exception):
    """A checkpoint that is truncated, altered, or not a checkpoint of gansweep. The message names the file."""


class TakenOverError(Exception):
    """Another process has taken over the trial; this one must not write any more."""
