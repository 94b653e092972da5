"""The note beside a trial of how much of it a tracking store has. It saves work; the store itself decides."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from gansweep.errors import UserError
from gansweep.records.layout import TrialFolder, read_json, write_json


@dataclass
class Published:
    """How much of a trial one store has.

    offset: bytes of the journal whose metrics were sent. state: the last one sent, "" for none. ended_s: time of its
    outcome in seconds since the epoch, 0 for none. checkpoint: name of the one sent last. journal: digest of the copy
    of its journal; empty for none, or one of an earlier end. tags: as the store has them.
    """

    uri: str = ""
    run_id: str = ""
    offset: int = 0
    samples: list[str] = field(default_factory=list)
    state: str = ""
    ended_s: float = 0.0
    checkpoint: str = ""
    journal: str = ""
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: TrialFolder, uri: str) -> Published:
        """Return the note; an empty one where the trial was published to another store or the file is damaged."""
        try:
            data = read_json(folder.published)
            return cls(**data) if data.get("uri") == uri else cls(uri=uri)
        except (UserError, TypeError):
            return cls(uri=uri)

    def forget(self, run_id: str) -> None:
        """Begin again with another run, which has nothing of the trial. run_id: "" for one to be made."""
        vars(self).update(vars(Published(self.uri, run_id)))

    def write(self, folder: TrialFolder) -> None:
        """Replace the note."""
        write_json(folder.published, asdict(self))
