"""Loading of sweep files: YAML text to a validated `Sweep`, or a list of problems with file, line and column."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gansweep.errors import SweepFileError, UserError
from gansweep.health.metrics import HELD_OUT, is_evaluation
from gansweep.sweepfile.conflicts import conflicts
from gansweep.sweepfile.document import Document, Path_, dotted, parse, read
from gansweep.sweepfile.messages import hint, message_of
from gansweep.sweepfile.schema import Sweep, TrialConfig
from gansweep.sweepfile.searches.method import AdaptiveSearch
from gansweep.sweepfile.searches.registry import method_of, places
from gansweep.sweepfile.thresholds import Thresholds
from gansweep.sweepfile.trials import alike, assign, configurations, count

MAX_TRIALS = 10_000
THRESHOLDS_FILE = "thresholds file"
VARIABLE = ("dataset", "model", "training")  # sections whose keys a search may vary
BY_METHOD = ("search", "scheduler")  # sections whose keys depend on their key `method`
ARGUMENTS = "options"  # end of the keys of mappings whose names are the user's
LENGTHS = ("training.steps", "training.epochs")  # a larger number continues the trials


def load(path: Path, overrides: tuple[str, ...] = (), max_trials: int = MAX_TRIALS) -> Sweep:
    """Read a sweep file, apply overrides, and return the validated sweep.

    Args:
        path: The sweep file.
        overrides: Values of --set options, as `key=value`.
        max_trials: Maximum number of trials.

    Raises:
        SweepFileError: The file has problems; all that were found are listed.
        UserError: The file cannot be read, or an override is malformed.
    """
    return sweep_of(read(path), str(path), overrides, max_trials)


def sweep_of(text: str, name: str, overrides: tuple[str, ...] = (), max_trials: int = MAX_TRIALS) -> Sweep:
    """Apply overrides to the text of a sweep file, and return the validated sweep, as `load` does for a file.

    Args:
        text: The text.
        name: Name of the file in messages. Import paths are looked up beside it, or in the working directory if it is
            not a file.
        overrides: Values of --set options, as `key=value`.
        max_trials: Maximum number of trials.
    """
    document = parse(text, name)
    for override in overrides:
        _override(document, override)
    sweep = _validate(document, overrides)
    if (n := count(sweep)) > max_trials:
        what = f"{n:,} trials exceed the limit of {max_trials:,}; raise it with --max-trials {n}"
        raise SweepFileError([document.problem(("search",), what)])
    problems = _combination_problems(document, sweep) or _repeated_cases(document, sweep)
    problems += _objective_problems(document, sweep)
    if problems:
        raise SweepFileError(sorted(problems, key=_line_order))
    places = {dotted(path): place for path, place in document.values.items()}
    return sweep.found_in(Path(name).parent if Path(name).is_file() else Path(), places)


def thresholds_of(text: str, name: str) -> Thresholds:
    """Return the validated thresholds of a thresholds file, whose content is that of the section `thresholds`.

    Args:
        text: Text of the file.
        name: Name of the file in messages.

    Raises:
        SweepFileError: The file has problems; all that were found are listed.
    """
    document = parse(text, name, THRESHOLDS_FILE)
    try:
        return Thresholds.model_validate(document.data)
    except ValidationError as error:
        problems = [_describe(document, e, Thresholds) for e in error.errors()]
        raise SweepFileError(sorted(problems, key=_line_order)) from None


def known_keys(model: type[BaseModel] = Sweep, prefix: str = "") -> list[str]:
    """Return every dotted key of the schema, sections included."""
    keys = []
    for name, info in model.model_fields.items():
        keys.append(prefix + name)
        for part in _sections(info.annotation):
            keys += known_keys(part, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def _override(document: Document, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override}: write it as key=value, as in --set training.steps=1200")
    value = parse(f"value: {text}", f"--set {key}").data["value"]
    # Below search.over the remainder of a dotted key is a single key: search.over.training.beta1
    head, over, rest = key.partition("search.over.")
    path: tuple[str, ...] = ("search", "over", rest) if over and not head else tuple(key.split("."))
    target = document.data
    for part in path[:-1]:
        if not isinstance(target.get(part), dict):
            target[part] = {}
        target = target[part]
    target[path[-1]] = value
    for marks in (document.values, document.keys):
        for old in [p for p in marks if p[: len(path)] == path]:
            del marks[old]
        marks[path] = f"--set {key}"


def _validate(document: Document, overrides: Sequence[str]) -> Sweep:
    problems: list[str] = []
    sweep: Sweep | None = None
    try:
        sweep = Sweep.model_validate(document.data)
    except ValidationError as error:
        problems += [_describe(document, e) for e in error.errors()]
    problems += _search_problems(document)
    problems += _without_effect(document, overrides)
    if problems or sweep is None:
        raise SweepFileError(sorted(dict.fromkeys(problems), key=_line_order))
    return sweep


def _line_order(problem: str) -> tuple[int, int]:
    parts = problem.split(":", 3)
    return (int(parts[1]), int(parts[2])) if parts[1].isdigit() and parts[2].isdigit() else (0, 0)


def _real_path(data: Any, loc: Path_) -> Path_:
    """Return the path in the file of pydantic's location of an error.

    Parts that are not in the file are left out, such as the method after `search` or `scheduler`.
    """
    path: list[str | int] = []
    for i, part in enumerate(loc):
        if i == 1 and loc[0] in BY_METHOD:
            continue
        if isinstance(data, dict):
            data = data.get(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif i < len(loc) - 1:
            continue
        path.append(part)
    return tuple(path)


def _describe(document: Document, error: ErrorDetails, model: type[BaseModel] = Sweep) -> str:
    """Return the message for one validation error.

    Args:
        document: The document.
        error: The error.
        model: Schema that the document was validated with.
    """
    path = _real_path(document.data, error["loc"])
    if error["type"] == "extra_forbidden":
        return document.problem(
            path,
            "unknown key" + hint(dotted(path), _fields_at(error["loc"][:-1], model), known_keys(model)),
            key=True,
        )
    return document.problem(path, message_of(error))


def _fields_at(loc: Path_, model: type[BaseModel]) -> list[str]:
    """Return the names of the fields of the section at pydantic's location.

    The list is empty below a list or a mapping with user-defined keys.
    """
    sections: list[type[BaseModel]] = [model]
    for i, part in enumerate(loc):
        if i == 1 and loc[0] in BY_METHOD:
            sections = [s for s in sections if part in typing.get_args(s.model_fields["method"].annotation)]
        else:
            fields = [f for s in sections for name, f in s.model_fields.items() if name == part]
            sections = [s for f in fields for s in _sections(f.annotation)]
    return [name for s in sections for name in s.model_fields]


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """Return the schema classes in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [s for a in typing.get_args(annotation) for s in _sections(a)]
    return []


def _leaf_keys() -> list[str]:
    keys = [k for k in known_keys(TrialConfig) if k.split(".")[0] in VARIABLE]
    return [k for k in keys if not any(other.startswith(f"{k}.") for other in keys)]


def _is_argument(key: str, leaves: list[str]) -> bool:
    """Whether a key names a single entry of a mapping of options, as in model.generator.options.width."""
    section, _, name = key.rpartition(".")
    return section in leaves and section.endswith(ARGUMENTS) and name.isidentifier()


def _search_problems(document: Document) -> list[str]:
    """Return problems of the search: keys that cannot be varied, and single values that are invalid for their key."""
    search = document.data.get("search")
    if not isinstance(search, dict):
        return []
    problems, leaves = [], _leaf_keys()
    base = {k: document.data[k] for k in VARIABLE if isinstance(document.data.get(k), dict)}
    method = method_of(search)
    for path, candidates in places(search):
        key = str(path[-1])
        if key in LENGTHS:
            what = "cannot be varied; to continue the trials, raise it and run again"
            problems.append(document.problem(path, what, key=True))
            continue
        if key.endswith(ARGUMENTS) or not (key in leaves or _is_argument(key, leaves)):
            problems.append(document.problem(path, _unvariable(key, leaves), key=True))
            continue
        seen: dict[str, Path_] = {}
        for at, value in candidates:
            found = _messages(assign(base, key, value))
            problems += [document.problem(at, message) for loc, message in found.items() if loc == key]
            normal = _normal(base, key, value)
            if method and method.distinct and normal in seen:
                problems.append(document.problem(at, f"repeats {dotted(seen[normal])}; give each value once"))
            seen.setdefault(normal, at)
    return problems


def _normal(base: dict[str, Any], key: str, value: Any) -> str:
    """Return a text that is equal for equivalent values: 0 and 0.0 for a number, 3 and ["3"] for classes."""
    try:
        found: Any = TrialConfig.model_validate(assign(base, key, value))
    except ValidationError:
        return repr(value)
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part)
    return repr(found + 0.0 if isinstance(found, float) else found)  # -0.0 is 0.0


def _without_effect(document: Document, overrides: Sequence[str]) -> list[str]:
    """Return a problem for each override of a key that the search varies. Such an override would have no effect."""
    search = document.data.get("search")
    if not isinstance(search, dict):
        return []
    varied = {str(path[-1]): path for path, _ in places(search)}
    problems = []
    for name in dict.fromkeys(override.partition("=")[0] for override in overrides):
        for key in varied:
            if key == name or (key.startswith(f"{name}.") and _holds(document.data, key)):
                place = dotted(varied[key][:2])
                problems.append(
                    f"--set {name}: {key if key != name else 'it'} is varied by {place}, which takes precedence;"
                    f" change its values{_change_of(key, search)}, or remove the search with --set search=null"
                )
                break
    return problems


def _holds(data: Any, key: str) -> bool:
    """Whether nested data contain a dotted key."""
    for part in key.split("."):
        if not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return True


def _change_of(key: str, search: Mapping[str, Any]) -> str:
    """Return the part of a message that says how the user can change the values of a varied key."""
    method = method_of(search)
    example = method.axis_example if method else ""
    return f" with --set 'search.over.{key}={example}'" if example else " in the file"


def _unvariable(key: str, leaves: list[str]) -> str:
    if key in leaves and key.endswith(ARGUMENTS):
        return f"is a mapping; name one of the arguments, as in {key}.width"
    if inner := [leaf for leaf in leaves if leaf.startswith(f"{key}.") and leaf not in LENGTHS]:
        return f"is a section; name one of its keys, as in {inner[0]}"
    if key.rpartition(".")[2] in ("seed", "seeds"):
        return "seeds cannot be varied; set replicates, the number of seeds per configuration"
    what = "only keys of dataset, model and training can be varied" if key in known_keys() else "no such key"
    return what + hint(key, leaves if "." in key else [], leaves)


def _messages(config: dict[str, Any]) -> dict[str, str]:
    """Return dotted key → message of the invalid values of one configuration."""
    try:
        TrialConfig.model_validate(config)
    except ValidationError as error:
        return _invalid(config, error)
    return {}


def _invalid(config: dict[str, Any], error: ValidationError) -> dict[str, str]:
    return {dotted(_real_path(config, e["loc"])): message_of(e) for e in error.errors()}


def _combination_problems(document: Document, sweep: Sweep) -> list[str]:
    """Return the problems of settings that are valid one by one but not in combination.

    If each configuration has a place of its own in the file, the problems of all configurations are returned, otherwise
    only those of the first configuration that has any.
    """
    method = sweep.method
    possible = [*method.extreme_values(), *method.stand_ins()] if isinstance(method, AdaptiveSearch) else []
    metric = sweep.objective.metric if sweep.needs_objective else None
    own = _faults(sweep.model_dump(include={"dataset", "model", "training", "evaluation"}), metric)
    problems: list[str] = []
    for number, (config, varied) in enumerate(configurations(sweep, possible)):
        given = method.given(number, varied)
        for key, message in _faults(config, metric).items():
            if key.startswith("search.") or (key not in given and own.get(key) == message):  # not due to what varies
                problems.append(document.problem(tuple(key.split(".")), message))
            elif method.own_places:
                place = method.place(number, key)
                problems.append(document.problem(place, message if place[-1] == key else f"{key}: {message}"))
            else:
                values = ", ".join(f"{k}={v}" for k, v in given.items())
                problems.append(document.problem(method.place(number, key), f"with {values}: {key}: {message}"))
        if problems and not method.own_places:
            break
    return list(dict.fromkeys(problems))


def _faults(config: dict[str, Any], metric: str | None) -> dict[str, str]:
    """Return dotted key → message of the invalid values of a configuration, or, if there are none, of its conflicts."""
    try:
        valid = TrialConfig.model_validate(config)
    except ValidationError as error:
        return _invalid(config, error)
    return {dotted(path): message for path, message in conflicts(valid, metric)}


def _repeated_cases(document: Document, sweep: Sweep) -> list[str]:
    """Return a problem for each configuration with a place of its own that equals an earlier one.

    All configurations must be valid.
    """
    if not sweep.method.own_places:
        return []
    problems: list[str] = []
    first: dict[str, int] = {}  # settings → number
    for number, (config, _) in enumerate(configurations(sweep)):
        before = first.setdefault(alike(TrialConfig.model_validate(config)), number)
        if before < number:
            place = dotted(sweep.method.place(before))
            problems.append(document.problem(sweep.method.place(number), f"repeats {place}"))
    return problems


def _objective_problems(document: Document, sweep: Sweep) -> list[str]:
    """Return a problem if no trial of the sweep records the objective, as far as the file determines it."""
    if sweep.search is None or not sweep.needs_objective:
        return []
    metric, path = sweep.objective.metric, ("search", "objective", "metric")
    if is_evaluation(metric) and not sweep.evaluation.per_run:
        return [document.problem(path, f"no run records {metric} while evaluation.per_run is 0")]
    if metric in HELD_OUT and not sweep.dataset.validation and "dataset.validation" not in sweep.search.varied_keys():
        return [document.problem(path, f"no run records {metric} without held-out images: set dataset.validation")]
    return []
