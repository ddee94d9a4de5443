"""A look into a Google Drive connection before there is a sync: its folders, its files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api.errors import conflict, invalid, not_found, unavailable
from api.operations import Call, NoBody, Operations
from models.paging import Query, QueryInt
from models.scope import Role
from providers import ProviderSettings
from providers.errors import ProviderError
from providers.google_drive import GoogleDriveProvider

__all__ = ["operations"]

_PREFIX = "/v1/organizations/connections/{connection_identifier}"
_FILES = 10
T = TypeVar("T")

operations = Operations("OrganizationConnectionsApi", _PREFIX, namespaced=False)


class FolderQuery(Query):
    """Where to look: a path of names, a folder's id, or nothing for the top."""

    path: str | None = None


class FileQuery(FolderQuery):
    """How many files are wanted."""

    max_results: Annotated[Annotated[int, Field(ge=1, le=100)], QueryInt] | None = None


class FolderItem(BaseModel):
    """A folder; `path` is what to give as source_path."""

    id: str
    name: str
    path: str
    mime_type: str


class ListFoldersResponse(BaseModel):
    """Folders directly in `parent_path`."""

    results: list[FolderItem]
    parent_path: str


class FilesResponse(BaseModel):
    """Some files directly in `parent_path`."""

    model_config = ConfigDict(extra="allow")

    parent_path: str


@operations.add(
    "GET", "/folders", "list_google_drive_folders_organizations_connections",
    role=Role.READ, query=FolderQuery, answers=ListFoldersResponse,
)  # fmt: skip
async def folders(call: Call[NoBody, FolderQuery]) -> ListFoldersResponse:
    """List the folders directly in a place; at the top also shared drives and folders shared with the account."""
    path = call.query.path or "/"
    found = await _look(call, lambda drive: drive.preview_folders(path))
    return ListFoldersResponse(results=[FolderItem(**one) for one in found], parent_path=path)


@operations.add(
    "GET", "/files", "list_google_drive_files_organizations_connections",
    role=Role.READ, query=FileQuery, answers=FilesResponse,
)  # fmt: skip
async def files(call: Call[NoBody, FileQuery]) -> FilesResponse:
    """List some files directly in a place."""
    path = call.query.path or "/"
    most = call.query.max_results or _FILES
    found = await _look(call, lambda drive: drive.preview_files(path, most))
    return FilesResponse(**found, parent_path=path)


async def _look(call: Call[Any, Any], ask: Callable[[GoogleDriveProvider], Awaitable[T]]) -> T:
    identifier = call.path["connection_identifier"]
    document = await call.services.connections.get(call.organization, identifier, secrets=True)
    if document is None:
        raise not_found("connection", identifier)
    if document["status"] == "ARCHIVED":
        raise conflict("the connection is archived: it cannot be used any more", code="archived")
    if document["provider_type"] != "google_drive":
        raise conflict(
            f"only google_drive connections can be browsed; this one is {document['provider_type']}",
            code="not_google_drive",
            details={"provider_type": document["provider_type"]},
        )
    credentials = await call.services.vault.decrypt(document["credentials"])
    settings = ProviderSettings.from_settings(call.services.settings)
    drive = GoogleDriveProvider(document["provider_config"], credentials, settings)
    try:
        return await ask(drive)
    except ProviderError as error:
        if error.retryable:
            raise unavailable(error.message, code=error.reason) from error
        raise invalid(error.message, code=error.reason, field="path") from error
    finally:
        await drive.close()
