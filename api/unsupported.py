"""Operations of the contract that are not served yet: known, authorized, and answered 501."""

from __future__ import annotations

from api.errors import not_supported
from api.operations import Answer, Call, NoBody, NoQuery, Operations
from models.scope import Role

__all__ = ["groups"]

_BUCKET = "/v1/buckets/{bucket_identifier}"

# tag, method, path, operation id, role, what it would do
NOT_YET: tuple[tuple[str, str, str, str, Role, str], ...] = (
    ("BucketObjectsApi", "POST", f"{_BUCKET}/objects", "create_object_buckets", Role.WRITE,
     "creating objects by hand"),
)  # fmt: skip


def _declare(operations: Operations, row: tuple[str, str, str, str, Role, str]) -> None:
    _, method, path, operation_id, role, what = row

    @operations.add(method, path, operation_id, role=role, served=False)
    async def refuse(call: Call[NoBody, NoQuery]) -> Answer:
        """Not served yet."""
        del call
        raise not_supported(f"{what} is not supported yet")


def _groups() -> list[Operations]:
    groups: dict[str, Operations] = {}
    for row in NOT_YET:
        tag = row[0]
        namespaced = tag != "OrganizationConnectionsApi"
        _declare(groups.setdefault(tag, Operations(tag, "", namespaced=namespaced)), row)
    return list(groups.values())


groups = _groups()
