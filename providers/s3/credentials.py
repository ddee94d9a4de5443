"""Where signing keys come from: given ones, or a role that is assumed and renewed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import boto3
import botocore.config
import botocore.exceptions

from providers.errors import Denied, Misconfigured, ProviderError, Throttled, Transient
from providers.s3.signing import Keys

__all__ = ["AssumedRole", "KeySource", "StaticKeys", "open_keys"]

# A session is renewed this long before it ends, so that no request is signed with keys that expire
# on the way; while a renewal fails they still work.
_RENEW_BEFORE_SECONDS = 300
_SESSION_SECONDS = 3600
_UNREACHABLE = (
    botocore.exceptions.ConnectionError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.MetadataRetrievalError,
)
_KEY_ID = re.compile(r"[\x21-\x7e]{1,256}").fullmatch
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}").fullmatch


class KeySource:
    """Gives the keys to sign with. `renewable`: whether `keys(renew=True)` can help when they are refused."""

    renewable = False

    async def keys(self, *, renew: bool = False) -> Keys:
        """The current keys. Raises Denied, Misconfigured, Transient, Throttled."""
        raise NotImplementedError


class StaticKeys(KeySource):
    """Keys that were given with the connection."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def keys(self, *, renew: bool = False) -> Keys:
        """See KeySource."""
        del renew
        return self._keys


class AssumedRole(KeySource):
    """Keys of an assumed role: one AssumeRole per session, renewed before it ends, one renewal at a time."""

    renewable = True

    def __init__(
        self, role_arn: str, external_id: str, *, region: str, provider: str, endpoint_url: str | None = None
    ) -> None:
        self._role_arn = role_arn
        self._external_id = external_id
        # "auto" and the like are no STS regions; the bucket's partition decides, never the global endpoint.
        self._region = region if re.fullmatch(r"[a-z]{2,4}(-[a-z]+)+-\d+", region) else "us-east-1"
        self._provider = provider
        self._endpoint_url = endpoint_url
        self._current: Keys | None = None
        self._expires = 0.0
        self._renewal: asyncio.Task[None] | None = None

    async def keys(self, *, renew: bool = False) -> Keys:
        """See KeySource."""
        if self._current is not None and not renew and time.time() < self._expires - _RENEW_BEFORE_SECONDS:
            return self._current
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
        renewal = self._renewal
        try:
            await asyncio.shield(renewal)
        except ProviderError:
            if self._current is None or renew or time.time() >= self._expires - 10:
                raise
        finally:
            if self._renewal is renewal and renewal.done():
                self._renewal = None
        assert self._current is not None
        return self._current

    async def _renew(self) -> None:
        answer = await asyncio.to_thread(self._assume)
        given = answer["Credentials"]
        self._current = Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        self._expires = given["Expiration"].timestamp()

    def _assume(self) -> Mapping[str, Any]:
        """AssumeRole; runs in a thread."""
        try:
            client = boto3.session.Session().client(
                "sts",
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                config=botocore.config.Config(connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 1}),
            )
            try:
                return client.assume_role(
                    RoleArn=self._role_arn,
                    RoleSessionName="tidemark",
                    ExternalId=self._external_id,
                    DurationSeconds=_SESSION_SECONDS,
                )
            finally:
                client.close()
        except botocore.exceptions.ClientError as error:
            raise _refusal(error, provider=self._provider, path=self._role_arn) from None
        except _UNREACHABLE as error:
            raise Transient(
                f"STS cannot be reached ({type(error).__name__})", provider=self._provider, path=self._role_arn
            ) from None
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise Misconfigured(
                "this worker has no AWS identity to assume the role with: give it one by the AWS default chain"
                f" ({type(error).__name__})",
                provider=self._provider,
                path=self._role_arn,
            ) from None


def _refusal(error: botocore.exceptions.ClientError, *, provider: str, path: str) -> ProviderError:
    """What an error answer of STS means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if "Throttl" in code or status == 429:
        return Throttled("STS asked to slow down", provider=provider, path=path, code=code, status=status)
    if status >= 500:
        return Transient("STS failed to answer", provider=provider, path=path, code=code, status=status)
    if code == "RegionDisabledException":
        return Misconfigured("STS is not active in this region", provider=provider, path=path, code=code, status=status)
    if code == "AccessDenied":
        why = "the role cannot be assumed: its trust policy must name this worker's identity and the external_id"
        return Denied(why, provider=provider, path=path, code=code, status=status)
    return Denied("STS refuses to let the role be assumed", provider=provider, path=path, code=code, status=status)


def open_keys(
    credentials: Mapping[str, Any], *, region: str, provider: str, sts_endpoint_url: str | None = None
) -> KeySource:
    """The key source that a connection's credentials describe. Raises Misconfigured."""
    kind = credentials.get("type") or ("iam_role" if "role_arn" in credentials else "access_key")
    try:
        if kind == "iam_role":
            return AssumedRole(
                str(credentials["role_arn"]),
                str(credentials["external_id"]),
                region=region,
                provider=provider,
                endpoint_url=sts_endpoint_url,
            )
        if kind == "access_key":
            keys = Keys(
                str(credentials["access_key_id"]),
                str(credentials["secret_access_key"]),
                credentials.get("session_token") or None,
            )
            # They are written into header lines: a line break would begin another header.
            if not _KEY_ID(keys.access_key_id) or (keys.session_token and not _TOKEN(keys.session_token)):
                raise Misconfigured("access_key_id or session_token has characters no such key has", provider=provider)
            return StaticKeys(keys)
    except KeyError as error:
        raise Misconfigured(f"credentials lack {error.args[0]}", provider=provider) from None
    raise Misconfigured(f"unknown credentials type {kind}", provider=provider)
