"""The commented sweep file that `gansweep init` writes."""

from __future__ import annotations

from importlib import resources

from gansweep.datasets import forms
from gansweep.losses.registry import LOSSES, options
from gansweep.networks.registry import ARCHITECTURES


def template() -> str:
    """Return template.yaml with its placeholders replaced by the names of registered parts."""
    text = resources.files("gansweep.sweepfile").joinpath("template.yaml").read_text(encoding="utf-8")
    lines = [f"{f'# {name}: {option.default:g}':<28}# {option.help}" for name, option in options().items()]
    for placeholder, filling in (
        ("<data sets>", " | ".join(forms())),
        ("<architectures>", " | ".join(ARCHITECTURES)),
        ("<losses>", " | ".join(LOSSES)),
        ("# <loss options>", "\n  ".join(lines)),
    ):
        text = text.replace(placeholder, filling)
    return text
