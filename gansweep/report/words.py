"""Numbers, settings and lists as text for reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gansweep.words import counted as counted

if TYPE_CHECKING:
    import pandas as pd


def number(value: Any) -> str:
    """Return the value of a setting as short text, such as 1e-4, 0.5 or 100; – if it is None or an empty list."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()  # as YAML has it
    if isinstance(value, float):
        if value and (abs(value) < 1e-2 or abs(value) >= 1e6):
            mantissa, exponent = f"{value:.6e}".split("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{value:g}"
    if isinstance(value, list):
        return "+".join(map(number, value)) or "–"
    return str(value)


def short(value: Any) -> str:
    """Return the value of a setting as text like `number`. Floats are rounded to three significant digits."""
    return number(float(f"{value:.3g}") if isinstance(value, float) else value)


def measured(value: float | None, digits: int = 3) -> str:
    """Return a measured value as text with `digits` significant digits, such as 0.123; – if it is None or NaN."""
    if value is None or math.isnan(value):
        return "–"
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 10**digits - 0.5:  # `g` would round up to a power of ten: 1e+03
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


def percent(share: float) -> str:
    """Return a share in percent, 40 %, with a non-breaking space; – if it is NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.0f}\u00a0%"


def duration(seconds: float) -> str:
    """Return a duration: 47 s, 3 min 20 s, 2 h 5 min; – if it is not finite."""
    if not math.isfinite(seconds):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(items: Iterable[str], last: str = "and") -> str:
    """Join items to one text: a; a and b; a, b and c. `last` is the word before the last item."""
    found = list(items)
    return f" {last} ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def item(value: Any) -> Any:
    """Convert NumPy's numbers to Python's. Does not import NumPy, because the command line uses this module."""
    return value.item() if hasattr(value, "item") else value


def distinct(values: pd.Series) -> list[Any]:
    """Return the distinct values of a setting, sorted by type and value, as Python's types. NaN is left out."""
    return sorted((item(value) for value in values.dropna().unique()), key=lambda value: (str(type(value)), value))


VAGUE = ("at", "adds")  # parts of a dotted key that need the part before
NETWORKS = ("generator", "discriminator")  # parts of a dotted key that are never left out


def titles(keys: Sequence[str]) -> dict[str, str]:
    """Return dotted key → title, with enough parts to distinguish it from the other keys."""
    return {
        key: " ".join(parts).replace("latent_dim", "latent dimension").replace("_", " ")
        for key, parts in telling_parts(keys).items()
    }


def telling_parts(keys: Sequence[str]) -> dict[str, list[str]]:
    """Return dotted key → the fewest of its last parts that distinguish it from the other keys.

    They include the name of the network, if the key has one, and the part before a part that is VAGUE.
    """
    found: dict[str, list[str]] = {}
    for key in keys:
        parts = key.split(".")
        named = [len(parts) - at for at, part in enumerate(parts) if part in NETWORKS]
        for count in range(max([2 if parts[-1] in VAGUE else 1, *named]), len(parts) + 1):
            tail = parts[-count:]
            if all(other == key or other.split(".")[-count:] != tail for other in keys):
                break
        found[key] = tail
    return found


def setting(varied: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return settings as text, such as `learning rate 2e-4, beta1 0.5`. names: dotted key → title."""
    return ", ".join(f"{names[key]} {short(value)}" for key, value in varied.items())
