"""What schemathesis does not know by itself: things that are there, and why a valid request may be refused.

Loaded by `schemathesis run` (SCHEMATHESIS_HOOKS); `test_api_fuzz.py` sets FUZZ_SEED to what it has made.
"""

from __future__ import annotations

import itertools
import json
import os
import zlib
from typing import Any

import schemathesis

SEED: dict[str, Any] = json.loads(os.environ["FUZZ_SEED"])
# 422 for a request that its schema allows is right only for what no schema says.
REFUSALS = {
    "bad_cursor",  # a cursor is any text to a schema
    "page_too_deep",
    "bad_filter",
    "not_supported",
    "provider_not_served",
    "connection_test_failed",
    "source_unfit",
    "fetch_failed",
    "checksum_mismatch",
    "schema_mismatch",
    "unknown_objects",
    "nul_character",  # MongoDB's limits
    "integer_too_large",
    "int_type",  # 1.0 is an integer to a schema, and not to the contract
    "source_type_missing",  # a `key` alone could be a tag, metadata or a property
    "invalid_value",
    "value_error",
    "missing",  # a blob has `data` or `upload_id`
    "extra_forbidden",  # keys of provider_config, which is a free object to the contract
    "validation_error",  # values of it
}


_UNSERVED = {"destination", "ingest_filter", "source_adapter"}
_numbers = itertools.count(1)


def _new_name() -> str:
    """A name that nothing has yet."""
    return f"made by fuzzing {next(_numbers)}"


def _often(value: Any) -> bool:
    """Two times of three, the same way every time."""
    return zlib.crc32(repr(value).encode("utf-8", "replace")) % 3 > 0


@schemathesis.hook
def map_path_parameters(ctx: Any, path_parameters: Any) -> Any:
    """Addresses of things that are there; what is deleted is reached by links, and is another thing."""
    if ctx.operation.method.lower() == "delete" or not isinstance(path_parameters, dict) or not _often(path_parameters):
        return path_parameters
    return {**path_parameters, **{name: SEED[name] for name in path_parameters if name in SEED}}


@schemathesis.hook
def map_body(ctx: Any, body: Any) -> Any:
    """Buckets and connections of a new name that work, syncs that use one, batches of objects that are there."""
    operation = ctx.operation.definition.raw["operationId"]
    if not isinstance(body, dict) or not _often(body):
        return body
    if operation == "create_bucket" and "bucket_name" in body:
        kept = {name: value for name, value in body.items() if name not in _UNSERVED}
        return {**kept, "bucket_name": _new_name()}
    if operation == "create_storage_connection_organizations" and "provider_config" in body:
        return {**body, "name": _new_name(), "provider_type": "s3", "provider_config": SEED["provider_config"]}
    if operation == "create_sync_configuration_buckets" and "connection_id" in body:
        kept = {name: value for name, value in body.items() if name not in {*_UNSERVED, "schema_mapping"}}
        return {**kept, "connection_id": SEED["connection_identifier"], "source_path": SEED["source_path"]}
    if operation in {"create_batch_buckets_batches", "add_objects_to_batch_buckets_batches"} and "object_ids" in body:
        return {**body, "object_ids": [SEED["object_identifier"]]}
    return body


@schemathesis.check
def refused_for_a_reason(ctx: Any, response: Any, case: Any) -> None:
    """A request its schema allows is refused with 422 only for a reason that no schema can say."""
    del ctx
    generated = case.meta.generation.mode.value if case.meta else ""
    if response.status_code != 422 or generated != "positive":
        return
    code = response.json()["error"].get("code")
    if code not in REFUSALS:
        raise AssertionError(f"422 {code} for a request that the document allows: {response.text[:300]}")
