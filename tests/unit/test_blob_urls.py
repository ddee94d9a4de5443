"""Signed addresses of blobs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from models.settings import Settings
from stores.blobs import sign, signing_key, verify


def test_a_signed_address_is_good_for_its_blob_until_it_expires() -> None:
    key = b"k" * 32
    query = {name: values[0] for name, values in parse_qs(sign(key, "obj_1", 0, 2_000_000_000)).items()}
    good = (query["expires"], query["signature"])
    assert verify(key, "obj_1", 0, *good, now=1_999_999_999)
    assert verify(key, "obj_1", 0, *good, now=2_000_000_000)
    assert not verify(key, "obj_1", 0, *good, now=2_000_000_001)
    assert not verify(key, "obj_1", 1, *good, now=0)
    assert not verify(key, "obj_10", 0, *good, now=0)
    assert not verify(b"other", "obj_1", 0, *good, now=0)
    assert not verify(key, "obj_1", 0, "2000000001", good[1], now=0)
    for expires in ("", "-1", "1e9", "2000000000 ", "²", "9" * 13, "02000000000"):
        assert not verify(key, "obj_1", 0, expires, good[1], now=0) or int(expires) == 2_000_000_000
    for signature in ("", "é", good[1].upper(), good[1] + "0"):
        assert not verify(key, "obj_1", 0, good[0], signature, now=0)


def test_the_signing_key_is_set_or_derived(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_bytes(bytes(96))
    derived = signing_key(Settings(kms_local_key_file=file))
    assert derived == signing_key(Settings(kms_local_key_file=file))
    assert bytes(96) not in derived and len(derived) == 32
    explicit = signing_key(Settings(url_signing_key=SecretStr("s"), kms_local_key_file=tmp_path / "none"))
    assert explicit != derived
    for settings in (Settings(kms_local_key_file=tmp_path / "none"), Settings(kms_provider="aws")):
        with pytest.raises(ValueError, match="TIDEMARK_URL_SIGNING_KEY"):
            signing_key(settings)
