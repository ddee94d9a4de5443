"""The way from the API to the workflows: start them, send them commands, wait for their answer.

Workflows are addressed by name; what crosses is in `activities/contracts.py`. A command is an
Update with start, conflict policy USE_EXISTING: it reaches the running workflow or starts it, and
answers with the state after it. Nothing here decides anything; the workflow does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.contracts import (
    BatchInput,
    BucketDeletionInput,
    CommandArgs,
    CommandResult,
    ConnectionInput,
    DraftInput,
    SyncInput,
)
from api.errors import ApiError, conflict, unavailable
from models.settings import Settings

__all__ = ["Commands", "connect"]

log = structlog.get_logger("api.commands")

_SUMMARY_LIMIT = 200
# So that a worker that is silent and a server that is silent are told apart.
_SPARE_SECONDS = 1.0
# A cancelled batch is settled within one activity; a worker that is away must not hold the answer up.
_SETTLING_SECONDS = 5.0
_NOT_REACHABLE = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED}
# The workflow ended between being found and being asked; asking once more starts it.
_LOST_RACE = {RPCStatusCode.NOT_FOUND, RPCStatusCode.ABORTED, RPCStatusCode.ALREADY_EXISTS}


async def connect() -> Client:
    """A client by the SDK's own configuration (profiles, TLS, API key). Connects when first used."""
    return await Client.connect(**ClientConfig.load_client_connect_config(), lazy=True)


class Commands:
    """Commands to the workflows that own the state."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def start_sync(self, sync: Mapping[str, Any], *, bucket_name: str | None = None) -> None:
        """Have a workflow for this sync config; one that runs is left alone. Raises ApiError 503."""
        async with self._reaching_temporal():
            await self._client.start_workflow(
                "SyncWorkflow", _sync_input(sync), **self._start_options(sync, bucket_name)
            )

    async def sync(self, sync: Mapping[str, Any], command: str, args: Any) -> CommandResult:
        """Send a command to a sync's workflow and wait for its answer. Raises ApiError 409, 503."""
        try:
            async with self._reaching_temporal(), asyncio.timeout(self._settings.api_request_timeout_seconds):
                try:
                    return await self._update(sync, command, args)
                except RPCError as error:
                    if error.status not in _LOST_RACE:
                        raise
                    return await self._update(sync, command, args)
        except WorkflowUpdateFailedError as error:
            raise _refused(error, command) from error
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as error:
            raise self._no_worker() from error

    async def signal_sync(self, sync_config_id: str, command: str, args: CommandArgs) -> None:
        """Tell a running workflow something without waiting; one that does not run need not know."""
        handle = self._client.get_workflow_handle(f"sync/{sync_config_id}")
        async with self._reaching_temporal():
            try:
                await handle.signal(command, args)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise

    async def start_connection(self, connection_id: str) -> None:
        """Have a health workflow for this connection. Raises ApiError 503."""
        await self._start(
            "ConnectionWorkflow", ConnectionInput(connection_id=connection_id), f"connection/{connection_id}"
        )

    async def start_connection_soon(self, connection_id: str) -> None:
        """The same when Temporal can be reached; else the next start of the API does it."""
        try:
            await self.start_connection(connection_id)
        except ApiError as error:
            log.warning("connection_workflow_not_started", connection_id=connection_id, error=error.message)

    async def start_batch(self, batch_id: str, objects: int, bucket_id: str) -> None:
        """Have a batch processed; one that ended before is processed again. Raises ApiError 503."""
        await self._start(
            "BatchWorkflow",
            BatchInput(batch_id=batch_id),
            f"batch/{batch_id}",
            static_summary=f"{objects} objects of {bucket_id}",
        )

    async def cancel_batch(self, batch_id: str) -> None:
        """Cancel a batch and wait a little for it to settle; one that has ended is left alone. Raises ApiError 503."""
        handle = self._client.get_workflow_handle(f"batch/{batch_id}")
        async with self._reaching_temporal():
            try:
                await handle.cancel()
                async with asyncio.timeout(_SETTLING_SECONDS):
                    await handle.result()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
            except (TimeoutError, WorkflowFailureError):
                return  # still on its way, or ended as a cancelled batch ends

    async def start_draft_soon(self, batch_id: str) -> None:
        """Have a draft removed when its time is over; without Temporal it stays until someone deletes it."""
        args = DraftInput(batch_id=batch_id, keep_seconds=self._settings.draft_keep_seconds)
        try:
            await self._start("DraftWorkflow", args, f"draft/{batch_id}")
        except ApiError as error:
            log.warning("draft_workflow_not_started", batch_id=batch_id, error=error.message)

    async def start_bucket_deletion(self, bucket_id: str, *, at_once: bool) -> None:
        """Have a bucket deleted; a deletion that runs is left alone. Raises ApiError 503."""
        args = BucketDeletionInput(bucket_id=bucket_id, at_once=at_once)
        await self._start("BucketDeletionWorkflow", args, f"bucket-deletion/{bucket_id}")

    async def _start(self, workflow: str, args: Any, workflow_id: str, **more: Any) -> None:
        async with self._reaching_temporal():
            await self._client.start_workflow(
                workflow,
                args,
                id=workflow_id,
                task_queue=self._settings.workflow_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                **more,
            )

    async def reachable(self) -> bool:
        """Whether the Temporal server answers."""
        try:
            async with asyncio.timeout(2):
                return await self._client.service_client.check_health()
        except (RPCError, TimeoutError, RuntimeError):
            return False

    async def _update(self, sync: Mapping[str, Any], command: str, args: Any) -> CommandResult:
        start: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
            "SyncWorkflow", _sync_input(sync), **self._start_options(sync, None)
        )
        answer = await self._client.execute_update_with_start_workflow(
            command, args, start_workflow_operation=start, result_type=CommandResult
        )
        return answer if isinstance(answer, CommandResult) else CommandResult()

    def _start_options(self, sync: Mapping[str, Any], bucket_name: str | None) -> dict[str, Any]:
        return {
            "id": f"sync/{sync['_id']}",
            "task_queue": self._settings.workflow_queue,
            "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
            "id_reuse_policy": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            "search_attributes": _search_attributes(sync),
            "static_summary": _summary(sync, bucket_name),
        }

    @asynccontextmanager
    async def _reaching_temporal(self) -> AsyncIterator[None]:
        """A server that does not take the call is 503, whichever way the SDK says it."""
        try:
            async with asyncio.timeout(self._settings.api_request_timeout_seconds + _SPARE_SECONDS):
                yield
        except RPCError as error:
            if error.status in _NOT_REACHABLE or error.status in _LOST_RACE:
                raise _unreachable(error.status.name) from error
            raise
        except TimeoutError as error:
            raise _unreachable("no answer") from error
        except RuntimeError as error:
            # How the SDK reports a first connection that cannot be opened.
            if not str(error).startswith("Failed client connect"):
                raise
            raise _unreachable("no connection") from error

    def _no_worker(self) -> ApiError:
        return unavailable(
            f"no worker answered within {self._settings.api_request_timeout_seconds:g} seconds. Check that worker.py "
            f"runs and polls the task queue '{self._settings.workflow_queue}'; the command may still be carried out "
            "when it does",
            code="no_worker",
        )


def _unreachable(why: str) -> ApiError:
    return unavailable(
        f"the Temporal server does not take the command ({why}). Check TEMPORAL_ADDRESS and that the server is up",
        code="temporal_unavailable",
    )


def _sync_input(sync: Mapping[str, Any]) -> SyncInput:
    return SyncInput(
        sync_config_id=sync["_id"],
        organization_id=sync["internal_id"],
        bucket_id=sync["bucket_id"],
        connection_id=sync["connection_id"],
        provider=sync.get("source_type") or "",
    )


def _search_attributes(sync: Mapping[str, Any]) -> TypedSearchAttributes:
    values = {
        "SyncState": "pending",
        "SyncProvider": sync.get("source_type") or "",
        "SyncBucketId": sync["bucket_id"],
        "SyncConnectionId": sync["connection_id"],
        "SyncOrganization": sync["internal_id"],
    }
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items()]
    )


def _summary(sync: Mapping[str, Any], bucket_name: str | None) -> str:
    text = f"{sync.get('source_type')} {sync.get('source_path')} → {bucket_name or sync['bucket_id']}"
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable.encode()[:_SUMMARY_LIMIT].decode(errors="ignore")


def _refused(error: WorkflowUpdateFailedError, command: str) -> ApiError:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        if cause.type == "AcceptedUpdateCompletedWorkflow":
            return unavailable(f"the workflow ended while it carried out '{command}'; ask again", code="workflow_ended")
        return conflict(cause.message, code=cause.type or "refused")
    return conflict(f"the workflow refused '{command}'", code="refused")
