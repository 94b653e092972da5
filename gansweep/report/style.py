"""Style of figures (one font, few sizes, thin axes), and their reproducible conversion to SVG."""

from __future__ import annotations

import importlib.util
import io
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.report.palette import GREY, INK, PALE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FACE = "Source Sans Pro"
WIDTH = 6.7  # inches between the margins of the page
SMALL = 7.0  # points: labels in figures, and the small print of the page
RC: Any = {
    "font.family": FACE, "font.size": SMALL, "text.color": INK,
    "axes.titlesize": SMALL, "axes.titleweight": "semibold", "axes.titlelocation": "left", "axes.titlecolor": INK,
    "axes.labelsize": SMALL, "axes.labelcolor": GREY, "axes.edgecolor": PALE, "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlepad": 3.0, "axes.labelpad": 2.0,
    "xtick.labelsize": SMALL - 0.5, "ytick.labelsize": SMALL - 0.5, "xtick.color": PALE, "ytick.color": PALE,
    "xtick.labelcolor": GREY, "ytick.labelcolor": GREY, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "xtick.major.size": 2.5, "ytick.major.size": 2.5, "xtick.minor.size": 0, "ytick.minor.size": 0,
    "legend.frameon": False, "legend.fontsize": SMALL, "lines.linewidth": 1.0, "lines.solid_capstyle": "round",
    "text.parse_math": False,  # names of classes and files are not formulas
    "svg.fonttype": "none",  # text stays text: it can be searched, and typst sets it in the page's face
    "svg.hashsalt": "gansweep",  # ids in the SVG; without it they differ from run to run
}  # fmt: skip


def fonts() -> Path:
    """Return the folder of the font files, used by matplotlib and typst."""
    spec = importlib.util.find_spec("font_source_sans_pro")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "files"


def displayable(text: str) -> str:
    """Replace characters that neither our font nor typst's monospaced font has by �, as PDF/UA requires."""
    unknown = {ord(one) for one in set(text)} - _characters()
    return text.translate(dict.fromkeys(unknown, "\ufffd"))


@cache
def _characters() -> frozenset[int]:
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    files = (fonts() / "SourceSansPro-Regular.ttf", font_manager.findfont("DejaVu Sans Mono"))  # matplotlib has it too
    found = frozenset(code for file in files for code in FT2Font(str(file)).get_charmap())
    return (found | set(b"\t\n\r")) - {0xFEFF}  # a byte order mark is no text


@cache
def prepare() -> None:
    """Set up matplotlib's fonts and style. `canvas` calls it; only the first call has an effect."""
    import matplotlib
    from matplotlib import font_manager

    for weight in ("Regular", "Semibold", "Bold", "It"):
        font_manager.fontManager.addfont(fonts() / f"SourceSansPro-{weight}.ttf")
    matplotlib.rcParams.update(RC)


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches. It is not registered with pyplot, so it need not be closed."""
    from matplotlib.figure import Figure

    prepare()
    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure) -> bytes:
    """Return the figure as SVG, transparent and without a date."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.BytesIO()
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set(facecolor="none", edgecolor="none")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing")  # `displayable` is for those
        # Not `savefig`, which draws twice: once for the layout alone, which drawing computes as well.
        drawn: Any = FigureCanvasSVG(figure)
        drawn.print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()
