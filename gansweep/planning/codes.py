"""The user's code in a plan: found and copied before any of it runs."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from gansweep.section import Section, import_paths
from gansweep.sweepfile.schema import Sweep, TrialConfig
from gansweep.sweepfile.trials import configurations
from gansweep.usercode.code import Code, write
from gansweep.usercode.find import find


class Codes:
    """The user's code as it was when it was first asked for: an edit during a sweep does not change its trials.

    Args:
        beside: Folder of the sweep file.
        copies: Folder that the code is copied to.
    """

    def __init__(self, beside: Path = Path(), copies: Path = Path()) -> None:
        self._beside, self._copies = beside, copies
        self._known: dict[str, Code] = {}  # by the modules that import paths name

    @property
    def known(self) -> tuple[Code, ...]:
        """The codes that were asked for."""
        return tuple(self._known.values())

    def of(self, config: Section, prefix: str = "") -> Code:
        """Return the code that a configuration, or a section of one, imports: empty if it names no import path.

        Args:
            config: The configuration or section.
            prefix: Dotted key of the section, with a dot at its end.

        Raises:
            UserError: A module is missing, is not valid Python, or has the name of an installed one.
        """
        paths = {str(path): (path, key) for key, path in import_paths(config, prefix)}
        if not paths:
            return Code()
        name = json.dumps(sorted({path.module for path, _ in paths.values()}))
        if name not in self._known:
            files: dict[str, bytes] = {}
            for path, key in paths.values():
                files |= find(path, self._beside, key)
            self._known[name] = write(files, self._copies)
        return self._known[name]


def modules_of(sweep: Sweep) -> dict[str, bytes]:
    """Return relative name → content of every file that a sweep's trials import. Raises UserError as `Codes.of`."""
    with TemporaryDirectory() as folder:
        codes = Codes(sweep.folder, Path(folder))
        found = [codes.of(TrialConfig.model_validate(settings)).files() for settings, _ in configurations(sweep)]
    return {name: content for files in found for name, content in files.items()}
