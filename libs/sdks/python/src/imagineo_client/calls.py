"""Descriptions of requests, which both transports send, and of lists of pages."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Generic, Protocol, TypeVar

from imagineo_client.files import Form
from imagineo_client.retries import Repeats

T = TypeVar("T")
Item = TypeVar("Item")
Query = Mapping[str, "str | int | date | Sequence[str] | None"]


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request and the shape of its answer."""

    method: str
    path: str
    shape: type[T]
    query: Query = field(default_factory=dict)
    body: Any = None
    form: Form | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeats: Repeats = Repeats.FREELY
    limit: str = ""
    """Of a large body: the field of `Limits` that bounds it."""

    @property
    def where(self) -> str:
        """The request in words."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some things, newest first, and where the next ones are; `next_cursor` is None at the end."""

    items: list[Item]
    next_cursor: str | None


class Paged(Protocol):
    """An answer that is a page."""

    next_cursor: str | None


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """A list that comes in pages."""

    path: str
    shape: type[Any]
    items: Callable[[Any], list[Item]]
    query: Query = field(default_factory=dict)

    def call(self, limit: int, cursor: str | None) -> Call[Any]:
        """The request of one page."""
        return Call("GET", self.path, self.shape, query={"limit": limit, **self.query, "cursor": cursor})

    def page(self, answer: Any) -> Page[Item]:
        """The page of its answer."""
        return Page(self.items(answer), answer.next_cursor)


def submit(
    path: str,
    shape: type[T],
    body: Any,
    *,
    idempotency_key: str | None,
    cancel_after_s: int | None,
    limit: str = "",
) -> Call[T]:
    """A request that draws: it has one idempotency key for all its sendings."""
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    if cancel_after_s is not None:
        headers["Cancel-After"] = str(cancel_after_s)
    return Call("POST", path, shape, body=body, headers=headers, limit=limit)


def once(path: str, shape: type[T], body: Any = None) -> Call[T]:
    """A POST that would make a second thing if it went twice."""
    return Call("POST", path, shape, body=body, repeats=Repeats.UNSENT)


def file_of(path: str, shape: type[T], form: Form, limit: str) -> Call[T]:
    """A POST with a file, of which there would be two if it went twice."""
    return Call("POST", path, shape, form=form, repeats=Repeats.UNSENT, limit=limit)


def spelled(query: Query) -> dict[str, str | list[str]]:
    """A query as it goes into the URL; what is None is left out."""
    found: dict[str, str | list[str]] = {}
    for name, value in query.items():
        if isinstance(value, datetime):
            found[name] = (value if value.tzinfo else value.astimezone()).isoformat()
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found[name] = list(value)
        elif value is not None:
            found[name] = str(value)
    return found
