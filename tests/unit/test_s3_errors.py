"""The map from S3's answers to our errors is total, and no upstream text gets into a message."""

from __future__ import annotations

import time
from email.utils import formatdate

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import Misconfigured, ProviderError, Throttled, Transient
from providers.http import TransportError, retry_after
from providers.s3.errors import error_code, error_field, from_status, from_transport
from tests.simulators.s3_xml import error_xml

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and some of MinIO, Ceph and others
CODES = """
AccessControlListNotSupported AccessDenied AccountProblem AllAccessDisabled AmbiguousGrantByEmailAddress
AuthorizationHeaderMalformed AuthorizationQueryParametersError BadDigest BandwidthLimitExceeded BucketAlreadyExists
ConditionalRequestConflict ConnectionClosedByRequester CredentialsNotSupported ExpiredToken
IllegalLocationConstraintException IncompleteBody InternalError InvalidAccessKeyId InvalidArgument InvalidBucketName
InvalidBucketState InvalidObjectState InvalidPayer InvalidRange InvalidRequest InvalidSecurity InvalidToken
KeyTooLongError KMS.DisabledException KMS.NotFoundException MethodNotAllowed MissingSecurityHeader NoSuchBucket
NoSuchKey NoSuchVersion NotImplemented NotSignedUp ObjectLockConfigurationNotFoundError OperationAborted
PermanentRedirect PreconditionFailed Redirect RequestExpired RequestTimeTooSkewed RequestTimeout
ServiceUnavailable SignatureDoesNotMatch SlowDown SlowDownRead TemporaryRedirect Throttling ThrottlingException
TokenRefreshRequired TooManyRequests UnauthorizedAccess XMinioServerNotInitialized NotFound UserSuspended
""".split()  # noqa: SIM905
STATUSES = [200, 204, 206, 300, 301, 302, 304, 307, 308, *range(400, 430), 451, 499, *range(500, 512), 520, 599]


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("status", STATUSES)
def test_every_answer_is_one_of_our_errors(status: int, root: bool) -> None:
    for code in (None, "NeverHeardOf", *CODES):
        body = error_xml(code, "secret text of the store") if code else None
        error = from_status(status, {}, body, provider="s3", path="b/k", root=root)
        assert type(error) in ProviderError.__subclasses__()
        assert "secret text" not in str(error)
        assert error.status == status and error.code == code
        if status >= 500 and code is None:
            assert error.retryable


@given(st.binary(max_size=300), st.sampled_from(STATUSES))
def test_a_body_of_any_kind(body: bytes, status: int) -> None:
    assert isinstance(from_status(status, {}, body, provider="s3", path="", root=False), ProviderError)


@pytest.mark.parametrize("kind", ["connect", "timeout", "reset", "cut", "malformed", "tls"])
def test_no_answer_is_transient(kind: str) -> None:
    error = from_transport(TransportError(kind, "host: why"), provider="s3", path="b/k")
    assert isinstance(error, Transient) and error.reason == f"network_{kind}"


@pytest.mark.parametrize("kind", ["refused", "certificate"])
def test_no_answer_that_only_a_person_can_change(kind: str) -> None:
    assert isinstance(from_transport(TransportError(kind, "why"), provider="s3", path=""), Misconfigured)


def test_every_botocore_error_has_a_class_we_translate() -> None:
    """`credentials` catches ClientError and BotoCoreError, which is all botocore raises."""
    raised = [
        value
        for value in vars(botocore.exceptions).values()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == "botocore.exceptions"
    ]
    assert len(raised) > 50
    allowed = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
    others = {value.__name__ for value in raised if not issubclass(value, (*allowed, Warning))}
    assert others == {"MissingServiceIdError", "UndefinedModelAttributeError"}  # about botocore's own data files


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("0", 0, 0), ("7", 7, 7), (" 1.5 ", 1.5, 1.5), (formatdate(0, usegmt=True), 0, 0)],
)
def test_retry_after(value: str, low: float, high: float) -> None:
    seconds = retry_after({"retry-after": value})
    assert seconds is not None and low <= seconds <= high


def test_retry_after_dates_and_nonsense() -> None:
    seconds = retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert seconds is not None and 55 < seconds <= 60
    for nonsense in ("", "-3", "soon", "nan", "inf", "99999999999999999999999999 Jan"):
        assert retry_after({"retry-after": nonsense}) is None


def test_throttled_carries_the_wait() -> None:
    error = from_status(503, {"retry-after": "9"}, None, provider="s3", path="", root=True)
    assert isinstance(error, Throttled) and error.retry_after == 9


def test_codes_are_read_from_cut_bodies_and_checked() -> None:
    assert error_code(b"<Error><Code>NoSuchKey</Code><Mess") == "NoSuchKey"
    assert error_code(b"<Error><Code>a b\r\nX</Code></Error>") is None
    assert error_field(b"<Region>eu-west-1</Region>", "Region") == "eu-west-1"
