"""The section `dataset` of a sweep file: the real images, and how they are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from gansweep.config import Augment
from gansweep.datasets import DATA_SETS, OWN_KEYS, data_set, is_own, users_of
from gansweep.section import OwnName, Section, Since, one_of

COLOURS = {"white": "255,255,255", "black": "0,0,0"}


def _as_text(classes: Any) -> Any:
    """Return the classes in a file as a list of texts; None for None.

    A file may contain a single class, and numbers instead of texts, as in [3, 8] for digits.
    """
    if classes is None:
        return None
    listed = classes if isinstance(classes, list) else [classes]
    return [str(c) if isinstance(c, int) and not isinstance(c, bool) else c for c in listed]


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour in a sweep file, 0 to 255 each. Raises ValueError if it is no colour."""
    parts = COLOURS.get(colour, colour).split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) <= 255 for part in parts):
        raise ValueError(f"must be white, black or R,G,B of 0 to 255 each, got {colour!r}")
    red, green, blue = map(int, parts)
    return red, green, blue


def _as_colour(given: Any) -> Any:
    """Return a list [R, G, B] as text, the form of colours in a sweep file."""
    return ",".join(map(str, given)) if isinstance(given, list) else given


def _known(name: str) -> str:
    """Return the name unchanged if it is that of a data set. Raises ValueError if it is not."""
    data_set(name)
    return name


def _names_in_schema() -> dict[str, Any]:
    """Return the JSON schema of names: a list of those without an argument, and a pattern for each of the others."""
    plain = [name for name, kind in DATA_SETS.items() if not kind.argument]
    named = [{"type": "string", "pattern": f"^{name}:."} for name, kind in DATA_SETS.items() if kind.argument]
    own = {"type": "string", "pattern": r"^[\w.]+:[\w.]+$"}
    return {"anyOf": [{"type": "string", "enum": plain}, *named, own]}


class Dataset(Section):
    """The real images."""

    name: Annotated[str, AfterValidator(_known), WithJsonSchema(_names_in_schema()), OwnName(is_own)] = "digits"
    image_size: Annotated[
        int, Field(ge=8, le=512, description="side in pixels: one that the networks make (docs/networks.md)")
    ] = 32
    channels: Annotated[
        Literal[1, 3] | None, Field(description="1 greyscale, 3 RGB; default: as the set is stored")
    ] = None
    path: Annotated[
        str | None,
        Field(min_length=1, description=f"{', '.join(users_of('path'))}: the folder or file; ~ and $VAR are expanded"),
    ] = None
    subfolders: Annotated[
        Literal["classes", "ignore"] | None,
        Since("0.2.0"),
        Field(description="meaning of subfolders of images; needed if there are images next to them"),
    ] = None
    background: Annotated[
        str | None,
        Since("0.2.0"),
        Field(description="below transparent pixels and around fitted images: white (default), black, or R,G,B"),
        BeforeValidator(_as_colour, json_schema_input_type=str | list[int] | None),
    ] = None
    crop: Annotated[
        Literal["square", "none", "fit"],
        Since("0.2.0"),
        Field(description="images that are not square: central square, stretched, or whole with background"),
    ] = "square"
    classes: Annotated[
        list[str] | None,
        Field(min_length=1, description="only these classes; image_folder: names of subfolders"),
        BeforeValidator(_as_text, json_schema_input_type=list[str | int] | str | int | None),
    ] = None
    per_class: Annotated[int | None, Field(ge=1, le=10_000, description="glyphs: images per letter; default: 640")] = (
        None
    )
    data_dir: Annotated[
        str | None, Field(min_length=1, description="folder of mnist, fashion_mnist or cifar10, or to download them to")
    ] = None
    options: Annotated[
        dict[str, Any] | None,
        Since("0.2.0"),
        Field(description=f"{', '.join(users_of('options'))}: settings of the set (docs/sweep-files.md)"),
    ] = None
    augment: Augment = Augment()
    validation: Annotated[
        float, Field(ge=0, le=0.5, description="share of the images held out for validation losses")
    ] = 0.0

    @field_validator("background")
    @classmethod
    def _is_a_colour(cls, background: str | None) -> str | None:
        if background is not None:
            rgb(background)
        return background

    @model_validator(mode="after")
    def _keys_fit_name(self) -> Self:
        kind = data_set(self.name)
        if kind.path and self.path is None:
            raise ValueError(f"{self.name} needs dataset.path, {kind.path}")
        for key in OWN_KEYS:
            if key in kind.keys or getattr(self, key) is None or (key == "background" and self.crop == "fit"):
                continue
            raise ValueError(f"dataset.{key} goes with name: {one_of(users_of(key))}, not {self.name}")
        if self.subfolders == "ignore" and self.classes is not None:
            raise ValueError("dataset.classes names subfolders, which dataset.subfolders: ignore excludes")
        if kind.options is not None and (unknown := set(self.options or ()) - set(kind.options)):
            raise ValueError(f"dataset.options.{min(unknown)}: unknown; {self.name} has {one_of(kind.options)}")
        return self
