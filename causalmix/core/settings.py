"""Declared settings: what a file gives by names, read through a model of pydantic and refused in one sentence."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from causalmix.core.errors import InputError
from causalmix.core.parameters import check_name

M = TypeVar("M")
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # what pydantic calls a name that a model lacks


class Settings(BaseModel):
    """Base of models of settings: no unknown names, no value that is quietly turned into another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def validated(model: type[M], given: Mapping[str, Any], what: str) -> M:
    """Settings, as a file or a caller gives them, as an instance of their model; ``what`` says whose they are.

    The model is one of pydantic or a dataclass (not a strict one); its validators may raise InputError, which is also
    raised for the first name that is not known (with the nearest one), is missing, or has a value that is not allowed.
    """
    try:
        return TypeAdapter(model).validate_python(given)
    except ValidationError as error:
        # A mistyped name explains why another is missing, so it is told first.
        first = min(error.errors(), key=lambda e: e["type"] not in UNKNOWN)
        raise _refusal(model, first, what) from error


def _refusal(model: type, error: Mapping[str, Any], what: str) -> InputError:
    *place, name = error["loc"] or ("",)
    inside = f"{'.'.join(map(str, place))} of {what}" if place else what
    if isinstance(raised := error.get("ctx", {}).get("error"), InputError):
        return raised
    if error["type"] in UNKNOWN:
        try:
            check_name(name, _names(model, place), f"setting of {inside}")
        except InputError as refusal:
            return refusal
    if error["type"] == "missing":
        return InputError(f"Expected {name} among the settings of {inside}, found none; give it.")
    if not error["loc"]:
        return InputError(f"Expected {what} as names with values, found {error['input']!r}; correct it.")
    wanted = re.sub(r"^(Value error, )?(.*?\bshould )?", "", error["msg"])
    for theirs, ours in (("a valid tuple", "a valid list"), ("a valid dictionary", "names with values")):
        wanted = wanted.replace(theirs, ours)
    told = getattr(model, "model_fields", {}).get(error["loc"][0])
    if told and told.description:  # in words of our own, of the whole value
        name, inside, wanted = error["loc"][0], what, f"be {told.description}"
    return InputError(f"Expected {name} of {inside} to {wanted}, found {error['input']!r}; correct it.")


def _names(model: type, place: Iterable[str | int]) -> list[str]:
    """Names that are known at a place within a model; list positions and keys of dicts lie on the way."""
    for step in place:
        if step in (known := _fields(model)):
            kinds = (known[step], *get_args(known[step]))
            model = next((kind for kind in kinds if _fields(kind)), model)
    return list(_fields(model))


def _fields(model: type) -> dict[str, Any]:
    """Annotations of a model's or a dataclass' fields by name; none for another type."""
    if is_dataclass(model):
        return {field.name: field.type for field in fields(model)}
    return {name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}
