"""What an S3 server's refusal means: status and error code -> one error of core. The only place that decides it."""

import html
import re

from msgspec import Struct

from migrator.core.errors import Archived, Conflict, Fatal, Forbidden, Gone, Invalid, ObjectError, Throttled, Transient
from migrator.core.model import Side
from migrator.core.secrets import mask_text

_LONGEST_MESSAGE = 200

READING = frozenset({"HEAD", "GET", "GET TAGS", "LIST", "LIST PARTS", "LIST UPLOADS", "LIST VERSIONS", "VERSIONING"})
"""Operations that change nothing: their failure is never ambiguous."""

_PERMISSIONS = {
    "PUT": "s3:PutObject",
    "HEAD": "s3:GetObject on it and s3:ListBucket on the bucket (without ListBucket an absent key answers 403 too)",
    "GET": "s3:GetObject (and s3:ListBucket on the bucket: without it an absent key answers 403 too)",
    "GET TAGS": "s3:GetObjectTagging",
    "DELETE": "s3:DeleteObject",
    "HEAD BUCKET": "s3:ListBucket",
    "LIST": "s3:ListBucket",
    "LIST VERSIONS": "s3:ListBucketVersions",
    "COPY": "s3:GetObject, s3:GetObjectTagging, s3:PutObject and s3:PutObjectTagging",
    "COPY PART": "s3:GetObject and s3:PutObject",
    "CREATE UPLOAD": "s3:PutObject",
    "PUT PART": "s3:PutObject",
    "COMPLETE UPLOAD": "s3:PutObject",
    "ABORT UPLOAD": "s3:AbortMultipartUpload",
    "LIST PARTS": "s3:ListMultipartUploadParts",
    "LIST UPLOADS": "s3:ListBucketMultipartUploads",
    "VERSIONING": "s3:GetBucketVersioning",
}

_NOT_ALLOWED = re.compile(r"not authorized to perform: ([a-z0-9-]{1,40}:[A-Za-z0-9]{1,80})")

_CREDENTIALS = (
    "check the credentials: aws sts get-caller-identity; environment, profile and role are tried in this order"
)
_SETTING = "correct [destination]: storage_class, sse, kms_key_id, acl, tags and metadata are sent with every object"
_SLOWER = "the run slows down by itself"
_AGAIN = "tried again by itself"
_TOO_LARGE = "the server or what stands before it (nginx: client_max_body_size) takes no request of that size: raise it"

_FATAL = {
    "NoSuchBucket": "create the bucket with `migrator setup`, or correct destination.bucket",
    "InvalidBucketName": "correct destination.bucket",
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": "the secret key is not the one of this access key; " + _CREDENTIALS,
    "ExpiredToken": "renew the session (for SSO: aws sso login) and run the same command again",
    "InvalidToken": _CREDENTIALS,
    "TokenRefreshRequired": _CREDENTIALS,
    "NotSignedUp": _CREDENTIALS,
    "AccountProblem": "the account is suspended or unpaid",
    "AllAccessDisabled": "the account is suspended or unpaid",
    "UserSuspended": "the account is suspended",
    "QuotaExceeded": "the bucket or user quota of the server is used up: raise it",
    "XMinioStorageFull": "the server's disks are full",
    "InvalidStorageClass": _SETTING,
    "AccessControlListNotSupported": "the bucket has ACLs switched off: remove destination.acl",
    "InvalidEncryptionAlgorithmError": _SETTING,
    "MalformedACLError": _SETTING,
    "KMS.DisabledException": _SETTING,
    "KMS.NotFoundException": _SETTING,
    "KMS.KMSInvalidStateException": _SETTING,
}
SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
"""The server refused because of our clock."""

_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"}
)
DAMAGED = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
        "ContentSHA256Mismatch",
        "ChecksumMismatch",
        "IncompleteBody",
        "RequestTimeout",
    }
)
"""The body did not arrive whole: the server stored nothing."""

_FILE_AND_FOLDER = frozenset({"XMinioObjectExistsAsDirectory", "XMinioParentIsObject"})
"""The server keeps keys as files, also in a gateway made of MinIO's code (JuiceFS)."""

_THROTTLED = frozenset(
    {
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "BandwidthLimitExceeded",
    }
)


class Refusal(Struct, frozen=True):
    """An answer that is not what was asked for. `bucket_region` is where the server says that the bucket is."""

    operation: str
    bucket: str
    key: str
    status: int
    code: str = ""
    message: str = ""
    retry_after: float | None = None
    bucket_region: str = ""
    side: Side = Side.DESTINATION

    def __str__(self) -> str:
        what = f"{self.operation} {shown(self.key or self.bucket)}: {self.status}" + (
            f" {self.code}" if self.code else ""
        )
        text = mask_text(" ".join(self.message.split()))[:_LONGEST_MESSAGE].rstrip(".")
        return f"{what}: {text}" if text else what


def shown(key: str) -> str:
    """`key` on one line of a terminal, whatever is in it."""
    return key if key.isprintable() else key.encode("unicode_escape").decode()


def error_of(refusal: Refusal, region: str) -> ObjectError:
    """The error of core that `refusal` is, when we signed for `region`."""
    code, status = refusal.code, refusal.status
    elsewhere = refusal.bucket_region and refusal.bucket_region != region
    if code in _REGION or status in (301, 302, 307, 308) or (elsewhere and status in (400, 403)):
        return _wrong_region(refusal, region)
    if code in SKEWED:
        return Fatal(str(refusal), side=refusal.side, hint="this machine's clock is wrong: set it (ntp) and run again")
    if code in _FATAL:
        return Fatal(str(refusal), side=refusal.side, hint=_fatal_hint(refusal))
    if status == 429 or code in _THROTTLED or (status == 503 and code != "ServiceUnavailable") or refusal.retry_after:
        return Throttled(str(refusal), side=refusal.side, hint=_SLOWER, retry_after=refusal.retry_after)
    if code in DAMAGED:
        return Transient(str(refusal), side=refusal.side, hint="damaged on the way and refused; " + _AGAIN)
    if status >= 500:
        return _server_error(refusal)
    return _refused_object(refusal)


def _fatal_hint(refusal: Refusal) -> str:
    hint = _FATAL[refusal.code]
    if refusal.side is Side.SOURCE and "destination.bucket" in hint:
        return "correct the bucket of the source; its endpoint_url is the destination's unless it names one"
    return hint


def _wrong_region(refusal: Refusal, region: str) -> ObjectError:
    there = refusal.bucket_region
    where = "the region of the source" if refusal.side is Side.SOURCE else "destination.region"
    if there and there != region:
        return Fatal(
            f"bucket {refusal.bucket} is in region {there}, not in {region} ({refusal.status} {refusal.code})".replace(
                " )", ")"
            ),
            side=refusal.side,
            hint=f'set {where} = "{there}"',
        )
    return Fatal(
        f"{refusal}; the server sends requests for bucket {refusal.bucket} elsewhere",
        side=refusal.side,
        hint=f'correct {where} (now "{region}") or the endpoint_url beside it',
    )


def _server_error(refusal: Refusal) -> ObjectError:
    if refusal.status == 507:
        return Fatal(str(refusal), side=refusal.side, hint="the server has no room left: free some and run again")
    if refusal.status == 501:
        return Invalid(str(refusal), side=refusal.side, hint="the destination does not offer this")
    ambiguous = refusal.operation not in READING
    return Transient(str(refusal), side=refusal.side, hint=_AGAIN, ambiguous=ambiguous)


def _refused_object(refusal: Refusal) -> ObjectError:
    code, status, text = refusal.code, refusal.status, str(refusal)
    if code == "InvalidObjectState":
        return Archived(text, side=refusal.side, hint="restore it from its archive class, then `migrator retry`")
    if status in (404, 410):
        return Gone(text, side=refusal.side)
    if status in (401, 403):
        need = missing_permission(refusal.message) or _PERMISSIONS.get(refusal.operation, "more rights")
        return Forbidden(text, side=refusal.side, hint=f"the credentials need {need}")
    if status == 412:
        return Conflict(text, side=refusal.side, hint="something else stands there now")
    if code in _FILE_AND_FOLDER:
        return Invalid(text, side=refusal.side, hint="a key and what stands below it cannot both be on this server")
    if status == 409:
        return Transient(text, side=refusal.side, hint="another request for this key is under way; " + _AGAIN)
    if status == 408:
        return Transient(text, side=refusal.side, hint=_AGAIN)
    if status == 413:
        return Invalid(text, side=refusal.side, hint=_TOO_LARGE)
    return Invalid(text, side=refusal.side, hint="correct destination.tags" if code == "InvalidTag" else "")


def missing_permission(message: str) -> str:
    """The action that the server says is not allowed, such as `kms:GenerateDataKey`; empty where it names none."""
    found = _NOT_ALLOWED.search(message)
    return found[1] if found else ""


def read_element(body: bytes, name: str) -> str:
    """The text of one plain element of an XML answer; empty where there is none.

    It is picked out by pattern and nothing is expanded, so a hostile document cannot do harm.
    """
    found = re.search(rb"<%b>([^<]{0,2000})</%b>" % (name.encode(), name.encode()), body)
    return html.unescape(found[1].decode("utf-8", "replace")) if found else ""


def read_error(body: bytes) -> tuple[str, str, str]:
    """(code, message, region) of an error document; empty where it has none."""
    return read_element(body, "Code"), read_element(body, "Message"), read_element(body, "Region")


def may_refuse_header(status: int, body: bytes) -> bool:
    """Whether an answer may mean that the server does not know a header: Swift and OSS say 501, Backblaze B2 also 400.

    The answer to HEAD has no words.
    """
    return status == 501 or (status == 400 and read_error(body)[0] in ("", "InvalidArgument"))


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header that counts seconds; None for anything else."""
    return float(value) if value and value.strip().isdecimal() else None
