"""What an operation is: its address, who may call it, what it takes and what it answers.

The routes of a resource are a list of these, made by decorating handlers. Dispatch, authorization,
validation and the OpenAPI document all read the same list.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from api.errors import bad_request, forbidden
from api.services import Services
from models.common import DegradedEntry, Request
from models.paging import Query
from models.scope import Role, Scope
from stores.organizations import Caller

__all__ = ["CALLER", "REQUEST_ID", "Answer", "Call", "NoBody", "NoQuery", "Operation", "Operations"]

BodyT = TypeVar("BodyT", bound=BaseModel)
QueryT = TypeVar("QueryT", bound=BaseModel)
# What is known about a request while it is handled, for its log line.
REQUEST_ID = web.RequestKey("request_id", str)
CALLER = web.RequestKey("caller", Caller)

Answer = BaseModel | Mapping[str, Any] | web.StreamResponse


class NoBody(Request):
    """An operation without a body: whatever comes is ignored."""


class NoQuery(Query):
    """An operation without query parameters."""


@dataclass(slots=True)
class Call(Generic[BodyT, QueryT]):
    """One authorized, validated request."""

    request: web.Request
    services: Services
    path: Mapping[str, str]
    body: BodyT
    query: QueryT
    caller: Caller
    namespace_id: str | None
    asked_namespace: str | None = None
    reply_headers: dict[str, str] = field(default_factory=dict)

    @property
    def scope(self) -> Scope:
        """The caller's organization and namespace."""
        return Scope(self.caller.internal_id, self.namespace_id)

    @property
    def organization(self) -> Scope:
        """The caller's organization, whatever the namespace."""
        return Scope(self.caller.internal_id)

    def need(self, role: Role) -> None:
        """Refuse a caller whose role does not reach."""
        if self.caller.role < role:
            raise forbidden(
                f"this needs a key with the role {role.name}; yours is {self.caller.role.name}",
                code="role_too_low",
                details={"needed": role.name, "role": self.caller.role.name},
            )

    async def audit(self, action: str, resource: str, resource_id: str, **facts: Any) -> None:
        """Record what was done."""
        await self.services.audit.record(
            self.caller.internal_id,
            actor=self.caller.user_id,
            action=action,
            resource=resource,
            resource_id=resource_id,
            **facts,
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the contract. `role` None: no key needed. `path` in the contract's `{name}` notation."""

    method: str
    path: str
    operation_id: str
    handler: Callable[[Call[Any, Any]], Awaitable[Answer]]
    role: Role | None
    namespaced: bool
    body: type[BaseModel]
    query: type[BaseModel]
    answers: type[BaseModel] | None
    status: int = 200
    tag: str = ""
    lenient_namespace: bool = False
    streams: bool = False

    @property
    def summary(self) -> str:
        """First sentence of the description."""
        return self.description.partition("\n")[0].partition(". ")[0].rstrip(".")

    @property
    def description(self) -> str:
        """The handler's docstring."""
        return inspect.getdoc(self.handler) or ""


class Operations:
    """The operations of one resource, in order."""

    def __init__(self, tag: str, prefix: str, *, namespaced: bool) -> None:
        self.tag = tag
        self.prefix = prefix
        self.namespaced = namespaced
        self.all: list[Operation] = []

    def add(
        self,
        method: str,
        path: str,
        operation_id: str,
        *,
        role: Role | None,
        body: type[BodyT] = NoBody,  # type: ignore[assignment]
        query: type[QueryT] = NoQuery,  # type: ignore[assignment]
        answers: type[BaseModel] | None = None,
        **more: Any,
    ) -> Callable[
        [Callable[[Call[BodyT, QueryT]], Awaitable[Answer]]], Callable[[Call[BodyT, QueryT]], Awaitable[Answer]]
    ]:
        """Declare the decorated coroutine as an operation."""

        def declare(
            handler: Callable[[Call[BodyT, QueryT]], Awaitable[Answer]],
        ) -> Callable[[Call[BodyT, QueryT]], Awaitable[Answer]]:
            self.all.append(
                Operation(
                    method, self.prefix + path, operation_id, handler, role, self.namespaced, body, query, answers,
                    tag=self.tag, **more,
                )
            )  # fmt: skip
            return handler

        return declare


def ignored_keys(body: BaseModel) -> list[dict[str, Any]]:
    """Warnings for undeclared keys of a body that may carry them."""
    if getattr(type(body), "keeps_extra", False):
        return []
    declared = ", ".join(sorted(type(body).model_fields))
    return [
        DegradedEntry(
            resource="field",
            id=key,
            reason="not an accepted key; it was ignored",
            next_step=f"accepted keys are {declared}",
        ).model_dump()
        for key in body.model_extra or {}
    ]


def namespace_needed() -> Exception:
    """400 for a namespaced operation without `X-Namespace`."""
    return bad_request(
        "name a namespace by id or name in the header X-Namespace",
        code="namespace_missing",
        details={"header": "X-Namespace"},
    )
