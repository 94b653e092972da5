"""The note `published.json` in a trial's folder, which lists the records of the trial that a tracking store has.

The note only saves work; the store is authoritative.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from gansweep.errors import UserError
from gansweep.records.layout import TrialFolder, read_json, write_json


@dataclass
class Published:
    """Note of the records of a trial that one store has.

    Attributes:
        uri: URI of the store, as `places.as_recorded` gives it.
        run_id: Id of the trial's run; "" if it has none.
        offset: Number of bytes at the beginning of the journal whose metrics were sent.
        digest: Digest of these bytes; "" in notes of earlier versions.
        samples: File names of the sample grids that were sent.
        state: Last state of the trial that was sent; "" if none was.
        ended_s: Time of the last outcome that was sent, in seconds since the epoch; 0 if none was.
        checkpoint: File name of the last checkpoint that was sent; "" if none was.
        journal: Digest of the copy of the journal among the run's artifacts; "" if there is no copy, or if the trial
            has continued since the copy was sent.
        tags: Tags of the run in the store.
    """

    uri: str = ""
    run_id: str = ""
    offset: int = 0
    digest: str = ""
    samples: list[str] = field(default_factory=list)
    state: str = ""
    ended_s: float = 0.0
    checkpoint: str = ""
    journal: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: TrialFolder, uri: str) -> Published:
        """Read the note of a trial. It is empty if the trial was not published to this store or the file is damaged."""
        try:
            data = read_json(folder.published)
            return cls(**data) if data.get("uri") == uri else cls(uri=uri)
        except (UserError, TypeError):
            return cls(uri=uri)

    def forget(self, run_id: str) -> None:
        """Reset the note to that of a run without any records. `run_id`: Id of the run; "" if it is not created yet."""
        vars(self).update(vars(Published(self.uri, run_id)))

    def write(self, folder: TrialFolder) -> None:
        """Write the note to the trial's folder."""
        write_json(folder.published, asdict(self))
