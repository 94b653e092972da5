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
    """Copies of the user's code for the trials of a plan.

    Modules are copied when `of` is first asked for them, and the copy is used from then on. An edit during a sweep
    therefore does not change its trials.

    Args:
        beside: Folder of the sweep file, in which modules are looked up first.
        copies: Folder that the code is copied to.
    """

    def __init__(self, beside: Path = Path(), copies: Path = Path()) -> None:
        self._beside, self._copies = beside, copies
        self._known: dict[str, Code] = {}  # by the modules that import paths name

    @property
    def known(self) -> tuple[Code, ...]:
        """Copies of the user's code that the method `of` has made so far."""
        return tuple(self._known.values())

    def of(self, config: Section, prefix: str = "") -> Code:
        """Return the copy of the code that a configuration or section imports; an empty `Code` if it imports none.

        Args:
            config: The configuration or section.
            prefix: Dotted key of the section, with a dot at its end; empty for a configuration.

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
    """Return relative name → content of every file of the user that a sweep's trials import.

    Raises:
        UserError: A module cannot be found or read: see `Codes.of`.
    """
    with TemporaryDirectory() as folder:
        codes = Codes(sweep.folder, Path(folder))
        found = [codes.of(TrialConfig.model_validate(settings)).files() for settings, _ in configurations(sweep)]
    return {name: content for files in found for name, content in files.items()}
