"""Composition of a report from its sections, and conversion to PDF by typst."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gansweep.report import sections, style
from gansweep.report.appendix import appendix
from gansweep.report.failures import failures
from gansweep.report.overview import differences, nothing_yet, overview
from gansweep.report.states import states
from gansweep.report.study import Study
from gansweep.report.terms import terms
from gansweep.report.words import counted, listed

STANDARD: Literal["ua-1"] = "ua-1"  # PDF/UA-1, for screen readers; typst raises an error for a violation


def compose(study: Study) -> dict[str, Any]:
    """Return the title and sections of a report as report.typ reads them. Adds the pictures in it to study.files."""
    names = listed(study.tables.sweeps["sweep"])
    about = {"title": names, "about": _about(study), "description": f"Report of {names}, made by gansweep"}
    if study.trials.empty:
        return {**about, "sections": [nothing_yet(study)]}
    middle = [differences(study), sections.whole_grid(study), sections.over_steps(study), sections.samples(study)]
    parts = [*middle, *failures(study), *states(study), sections.cost(study), terms(study), *appendix(study)]
    # The overview is composed last, because it reports missing samples.
    return {**about, "sections": [overview(study), *(part for part in parts if part)]}


def _about(study: Study) -> str:
    """Return the subtitle, which is also the header of each page: the number of trials and the date of the first."""
    what = f"sweep report · {counted(len(study.trials), 'trial')}"
    began = study.trials["started"].min() if len(study.trials) else pd.NaT
    return what if pd.isna(began) else f"{what} · {began:%-d %B %Y}"


def typeset(document: dict[str, Any], files: dict[str, bytes]) -> bytes:
    """Return a composed report as PDF.

    The bytes depend only on the arguments: the PDF has no date, and fonts of the system are not used.

    Args:
        document: As returned by `compose`.
        files: Name → content of the pictures that the document shows.
    """
    from importlib import resources

    import typst

    with tempfile.TemporaryDirectory(prefix="gansweep-") as scratch:
        folder = Path(scratch)
        for name, content in files.items():
            drawn = name.endswith(".svg")
            (folder / name).write_bytes(style.displayable(content.decode()).encode() if drawn else content)
        (folder / "report.json").write_text(json.dumps(_displayable(document)))
        main = folder / "report.typ"
        main.write_text(resources.files("gansweep.report").joinpath("report.typ").read_text(encoding="utf-8"))
        for name in ("Regular", "Semibold", "Bold", "It"):
            file = f"SourceSansPro-{name}.ttf"
            (folder / file).symlink_to(style.fonts() / file)
        pdf: bytes = typst.compile(
            main, root=folder, font_paths=[folder], ignore_system_fonts=True, pdf_standards=[STANDARD]
        )
    return pdf


def _displayable(part: Any) -> Any:
    """Replace the characters that the fonts do not have by �, in all texts of a nested structure."""
    if isinstance(part, str):
        return style.displayable(part)
    if isinstance(part, dict):
        return {key: _displayable(value) for key, value in part.items()}
    return [_displayable(value) for value in part] if isinstance(part, list | tuple) else part
