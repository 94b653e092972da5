"""Note in a trial's folder of the records that a tracking store has. It saves work; the store is authoritative."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from gansweep.errors import UserError
from gansweep.records.layout import TrialFolder, read_json, write_json


@dataclass
class Published:
    """Records of a trial that one store has.

    Attributes:
        uri: The store.
        run_id: Id of the trial's run.
        offset: Bytes of the journal whose metrics were sent.
        digest: Digest of these bytes; "" in notes of earlier versions.
        samples: Names of the sample grids sent.
        state: Last state sent; "" for none.
        ended_s: Time of the outcome in seconds since the epoch; 0 for none.
        checkpoint: Name of the last checkpoint sent.
        journal: Digest of the stored copy of the journal; "" for none, or one of an earlier end.
        tags: Tags in the store.
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
        """Return the note; an empty one if the trial was published to another store or the file is damaged."""
        try:
            data = read_json(folder.published)
            return cls(**data) if data.get("uri") == uri else cls(uri=uri)
        except (UserError, TypeError):
            return cls(uri=uri)

    def forget(self, run_id: str) -> None:
        """Start again with another run without any records. `run_id`: "" for a run to be created."""
        vars(self).update(vars(Published(self.uri, run_id)))

    def write(self, folder: TrialFolder) -> None:
        """Write the note."""
        write_json(folder.published, asdict(self))
