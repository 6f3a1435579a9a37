"""Reading JSON values as the dataclasses of the replies, by their annotations."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from facet_client.errors import AnswerInvalid

T = TypeVar("T")


def read(kind: type[T], value: Any) -> T:
    """Read a JSON value as `kind`. Members that `kind` does not have are passed over.

    Raises:
        AnswerInvalid: The value is not what such an answer is made of.
    """
    result: T = _read(kind, value, kind.__name__)
    return result


def _read(kind: Any, value: Any, place: str) -> Any:  # noqa: PLR0911 - one for each kind of annotation
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _read(next(each for each in inner if each is not type(None)), value, place)
    if origin is Literal:
        return _read(str, value, place)  # a word that a later service may say is passed on
    if is_dataclass(kind if origin is None else origin):
        return _read_members(kind, value, place)
    if origin is tuple and isinstance(value, list):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(
                _read(each, item, f"{place}[{i}]") for i, (each, item) in enumerate(zip(kinds, value, strict=True))
            )
    if origin is dict and isinstance(value, dict):
        return {name: _read(inner[1], item, f"{place}.{name}") for name, item in value.items()}
    if kind is datetime and isinstance(value, str):
        return datetime.fromisoformat(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise AnswerInvalid(f"{place} is {type(value).__name__}, which this client does not expect there")


def _read_members(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise AnswerInvalid(f"{place} is {type(value).__name__} and no object")
    container = get_origin(kind) or kind
    members: dict[str, Any] = {}
    for field in fields(container):
        if field.name in value:
            hint = _hints(container)[field.name]
            members[field.name] = _read(_resolve(hint, kind), value[field.name], f"{place}.{field.name}")
        elif field.default is MISSING:
            raise AnswerInvalid(f"{place} lacks {field.name}")
    return container(**members)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _resolve(hint: Any, kind: Any) -> Any:
    """A hint of a generic dataclass with its type argument in place: the items of a page."""
    arguments = get_args(kind)
    return hint[arguments[0]] if arguments and getattr(hint, "__parameters__", ()) else hint
