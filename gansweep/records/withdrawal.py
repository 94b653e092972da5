"""Withdrawal of what a trial recorded since its GPU may have been in an undefined state."""

from __future__ import annotations

import os

from gansweep.records import journal, lock
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import TrialFolder, write_atomically

LOCK_WAIT_S = 20.0  # the trial's process has been killed, and may still be ending


def withdraw(folder: TrialFolder, since: float) -> None:
    """Withdraw what a trial has recorded since a time: checkpoints, sample grids, fid.json and records.

    The outcome is removed whatever its time. The trial then resumes from an older checkpoint, or from the start, as
    after any death.

    Withdrawn records move to `folder.doubted`. When the trial reaches their steps again, a record that equals a
    withdrawn one gets the time of the withdrawn one, so that a tracking store that has received it does not get a
    second value. If a record differs, the trial's run in the tracking store is replaced
    (`tracking.sender.is_superseded`).

    Args:
        folder: Folder of the trial. No process trains it.
        since: Time in seconds since the epoch.

    Raises:
        Locked: A process still trains the trial.
        UserError: The journal is damaged.
    """
    with lock.acquire(folder.lock, wait_s=LOCK_WAIT_S):
        folder.outcome.unlink(missing_ok=True)
        for path in (*folder.all_checkpoints(), *folder.all_samples(), folder.fid):
            if path.exists() and path.stat().st_mtime >= since:
                path.unlink()
        _withdraw_records(folder, since)


def _withdraw_records(folder: TrialFolder, since: float) -> None:
    """Move the records since a time from the journal to `folder.doubted`.

    Records of an earlier withdrawal stay in `folder.doubted` if the trial has not reached their steps again.
    """
    Journal(folder.journal).close()  # drops a torn line
    kept = 0
    tail: list[Record] = []
    for record, end in journal.read_from(folder.journal, 0):
        if tail or record.time >= since:
            tail.append(record)
        else:
            kept = end
    if tail:
        earlier = [record for record in journal.read(folder.doubted) if record.step > tail[-1].step]
        write_atomically(folder.doubted, b"".join(map(journal.line_of, [*tail, *earlier])), durable=True)
        os.truncate(folder.journal, kept)
