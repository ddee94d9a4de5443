"""What can go wrong at a provider: the only exceptions a provider may raise.

Each class answers two questions: is a retry of use, and whose turn is it?

    ProviderError
    ├── Transient          retry with backoff              nobody's turn yet
    ├── Throttled          wait `retry_after` seconds      nobody's turn yet; spends no attempt
    ├── Changed            re-read once                    the source moved on under us (412)
    ├── Gone               no retry: it is a deletion      the source removed it (404 on an object)
    ├── Permanent          no retry: dead letter           whoever owns that one object
    ├── Denied             no retry: the run stops         whoever owns the credentials (401, 403)
    └── Misconfigured      no retry: the run stops         whoever owns the configuration

Foreign errors are translated once, at the edge of each provider. Messages never carry a secret,
a signed URL or a response header; they name provider, path and upstream code.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "Changed",
    "Denied",
    "Gone",
    "Misconfigured",
    "Permanent",
    "ProviderError",
    "Throttled",
    "Transient",
]


class ProviderError(Exception):
    """Base of all provider errors; never raised itself.

    `reason` is a stable snake_case word for dead letters and metrics; `status` is the HTTP status
    and `code` the upstream's own error code, where there were any.
    """

    retryable: ClassVar[bool] = False
    stops_run: ClassVar[bool] = False
    default_reason: ClassVar[str] = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        path: str = "",
        reason: str | None = None,
        code: str | None = None,
        status: int | None = None,
    ) -> None:
        self.message = message
        self.provider = provider
        self.path = path
        self.reason = reason or self.default_reason
        self.code = code
        self.status = status
        upstream = f" [{code or ''}{' ' if code and status else ''}{status or ''}]" if code or status else ""
        where = f" {path!r}" if path else ""
        super().__init__(f"{provider}{where}: {message}{upstream}")


class Transient(ProviderError):
    """Network trouble, 5xx, 408, a body cut short, a listing that is not a listing."""

    retryable = True
    default_reason = "transient"


class Throttled(ProviderError):
    """The provider asked us to slow down. `retry_after` is in seconds (None: the caller chooses)."""

    retryable = True
    default_reason = "throttled"

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        path: str = "",
        retry_after: float | None = None,
        code: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, provider=provider, path=path, code=code, status=status)
        self.retry_after = retry_after


class Changed(ProviderError):
    """The object is no longer the version that was listed."""

    default_reason = "changed"


class Gone(ProviderError):
    """The object no longer exists."""

    default_reason = "gone"


class Permanent(ProviderError):
    """This one object can never be fetched as it is; the others go on. `reason` says why."""

    default_reason = "permanent"


class Denied(ProviderError):
    """The credentials do not reach the source at all (401, or 403 on its root)."""

    stops_run = True
    default_reason = "denied"


class Misconfigured(ProviderError):
    """The configuration cannot work: unknown bucket, wrong region, refused endpoint."""

    stops_run = True
    default_reason = "misconfigured"
