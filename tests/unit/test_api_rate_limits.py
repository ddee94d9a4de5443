"""How often a key may ask."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api.errors import ApiError
from api.rate_limits import RateLimiter, rate_class
from api.server import OPERATIONS
from models.settings import Settings


def test_a_minutes_worth_at_once_then_as_fast_as_it_refills() -> None:
    now = [100.0]
    limiter = RateLimiter({"data": 30}, clock=lambda: now[0])
    for _ in range(30):
        limiter.take("key_1", "data")
    with pytest.raises(ApiError) as refused:
        limiter.take("key_1", "data")
    assert refused.value.status == 429 and refused.value.headers == {"Retry-After": "2"}
    assert refused.value.details is not None and refused.value.details["retry_after_seconds"] == 2
    limiter.take("key_2", "data")
    limiter.take("key_1", "search")
    now[0] += 2
    limiter.take("key_1", "data")
    with pytest.raises(ApiError):
        limiter.take("key_1", "data")
    now[0] += 3600
    for _ in range(30):
        limiter.take("key_1", "data")
    with pytest.raises(ApiError):
        limiter.take("key_1", "data")


def test_keys_that_do_not_ask_any_more_are_forgotten() -> None:
    now = [0.0]
    limiter = RateLimiter({"data": 1}, clock=lambda: now[0])
    for number in range(10_000):
        limiter.take(f"key_{number}", "data")
    now[0] = 61
    limiter.take("key_new", "data")
    assert len(limiter._counted) == 1


def test_classes_of_the_contract() -> None:
    classes = {one.operation_id: rate_class(one.operation_id, one.tag) for one in OPERATIONS}
    assert set(classes.values()) == {"metadata", "data", "search", "upload", "compute"}
    compute = {name for name, kind in classes.items() if kind == "compute"}
    assert len(compute) == 5 and any(name.startswith("trigger_") for name in compute)
    assert classes["list_objects_buckets"] == "search" and classes["get_object_buckets"] == "data"


def test_the_setting_is_read_or_refused() -> None:
    assert Settings(api_rate_limits="off").rate_limits == {}
    assert Settings(api_rate_limits="data=5, compute=1").rate_limits == {"data": 5, "compute": 1}
    for bad in ("data", "data=0", "data=x", "other=1"):
        with pytest.raises(ValidationError):
            Settings(api_rate_limits=bad)
