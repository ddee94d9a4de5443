"""Operations of the contract that are not served yet: known, authorized, and answered 501."""

from __future__ import annotations

from typing import Any

from api.errors import not_supported
from api.operations import Answer, Call, Operations
from models.scope import Role

__all__ = ["operations"]

_BUCKET = "/v1/buckets/{bucket_identifier}"
_CONNECTION = "/v1/organizations/connections/{connection_identifier}"

# method, path, operation id, role, namespaced, what it would do
NOT_YET: tuple[tuple[str, str, str, Role, bool, str], ...] = (
    ("PATCH", _BUCKET, "patch_bucket", Role.WRITE, True, "changing a bucket"),
    ("PUT", _BUCKET, "update_bucket", Role.WRITE, True, "changing a bucket"),
    ("DELETE", _BUCKET, "delete_bucket", Role.WRITE, True, "deleting a bucket"),
    ("POST", f"{_BUCKET}/objects", "create_object_buckets", Role.WRITE, True, "creating objects by hand"),
    ("POST", f"{_BUCKET}/batches", "create_batch_buckets_batches", Role.WRITE, True, "creating batches by hand"),
    ("DELETE", f"{_BUCKET}/batches/{{batch_id}}", "delete_batch_buckets_batches", Role.WRITE, True, "deleting a batch"),
    ("POST", f"{_BUCKET}/batches/{{batch_id}}/objects", "add_objects_to_batch_buckets_batches", Role.WRITE, True,
     "adding objects to a batch"),
    ("POST", f"{_BUCKET}/batches/{{batch_id}}/submit", "submit_batch_buckets_batches", Role.WRITE, True,
     "submitting a batch by hand"),
    ("POST", f"{_BUCKET}/batches/{{batch_id}}/cancel", "cancel_batch_buckets_batches", Role.WRITE, True,
     "cancelling a batch"),
    ("POST", "/v1/buckets/{bucket_id}/syncs/{sync_config_id}/dlq/bulk-mark-failed",
     "bulk_mark_dlq_permanently_failed_buckets_id_syncs_config", Role.WRITE, True, "marking dead letters"),
    ("GET", f"{_CONNECTION}/folders", "list_google_drive_folders_organizations_connections", Role.READ, False,
     "browsing Google Drive"),
    ("GET", f"{_CONNECTION}/files", "list_google_drive_files_organizations_connections", Role.READ, False,
     "browsing Google Drive"),
)  # fmt: skip


def _operations() -> Operations:
    made = Operations("NotYet", "", namespaced=True)
    for method, path, operation_id, role, namespaced, what in NOT_YET:
        made.namespaced = namespaced

        @made.add(method, path, operation_id, role=role)
        async def refuse(call: Call[Any, Any], what: str = what) -> Answer:
            """Not served yet."""
            del call
            raise not_supported(f"{what} is not supported yet")

    return made


operations = _operations()
