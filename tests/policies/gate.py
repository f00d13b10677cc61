"""What AWS would ask for before it carries a request out, and a proxy's action that asks for it.

Actions by operation: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.faults.proxy import Forward
from tests.faults.wire import Answer, Request, header

Need = tuple[str, str]
"""An action and the ARN of what it is done to."""

KEY_ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

_SETTINGS = {
    "versioning": ("s3:GetBucketVersioning", "s3:PutBucketVersioning"),
    "publicAccessBlock": ("s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    "encryption": ("s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration"),
    "lifecycle": ("s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
}
_LISTINGS = {"versions": "s3:ListBucketVersions", "uploads": "s3:ListBucketMultipartUploads"}


@dataclass(slots=True)
class Gate:
    """Lets through what `statements` allow and answers 403 to all else, in AWS's words; keeps what was needed.

    names      bucket on the server -> bucket in the policies
    encrypted  every object is encrypted with KEY_ARN
    """

    statements: Sequence[Mapping[str, Any]]
    names: Mapping[str, str]
    encrypted: bool = False
    needed: set[Need] = field(default_factory=set)
    refused: set[Need] = field(default_factory=set)

    async def __call__(self, request: Request, forward: Forward) -> Answer:
        needs = set(self._needs(request))
        self.needed |= needs
        missing = sorted(need for need in needs if not self._allows(need))
        if not missing:
            answer = await forward(request)
            listing = self._listing(request)
            if answer.status != 404 or request.method not in ("HEAD", "GET") or self._allows(listing):
                return answer
            missing = [listing]  # AWS does not say that an object is absent to whom it may not list the bucket
        self.refused |= set(missing)
        await request.body()
        return self._refusal(*missing[0])

    def _refusal(self, action: str, resource: str) -> Answer:
        who = "arn:aws:iam::111122223333:user/mover"
        text = f"User: {who} is not authorized to perform: {action} on resource: &quot;{resource}&quot;"
        body = f"<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>".encode()
        return Answer(403, [("Content-Type", "application/xml")], body)

    def _listing(self, request: Request) -> Need:
        bucket = unquote(request.target.partition("?")[0].lstrip("/")).partition("/")[0]
        return "s3:ListBucket", self._arn(bucket)

    def _allows(self, need: Need) -> bool:
        action, resource = need
        return any(
            action in _listed(statement["Action"])
            and any(fnmatchcase(resource, pattern) for pattern in _listed(statement["Resource"]))
            for statement in self.statements
        )

    def _needs(self, request: Request) -> Iterator[Need]:
        path, _, text = request.target.partition("?")
        bucket, _, key = unquote(path.lstrip("/")).partition("/")
        query = dict(parse_qsl(text, keep_blank_values=True))
        if not bucket:
            yield "s3:ListAllMyBuckets", "*"
        elif not key:
            yield _of_bucket(request.method, query), self._arn(bucket)
        else:
            yield from self._of_object(request, query, self._arn(f"{bucket}/{key}"))

    def _arn(self, path: str) -> str:
        bucket, slash, key = path.partition("/")
        return f"arn:aws:s3:::{self.names.get(bucket, bucket)}{slash}{key}"

    def _of_object(self, request: Request, query: Mapping[str, str], arn: str) -> Iterator[Need]:
        version = "Version" if "versionId" in query else ""
        match request.method:
            case "GET" if "tagging" in query:
                yield f"s3:GetObject{version}Tagging", arn
            case "GET" if "uploadId" in query:
                yield "s3:ListMultipartUploadParts", arn
            case "GET" | "HEAD":
                yield f"s3:GetObject{version}", arn
                if request.method == "GET" or header(request.headers, "x-amz-checksum-mode"):
                    yield from self._key("kms:Decrypt")
            case "DELETE" if "uploadId" in query:
                yield "s3:AbortMultipartUpload", arn
            case "DELETE":
                yield f"s3:DeleteObject{version}", arn
                if header(request.headers, "if-match"):
                    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-delete-enforce.html
                    yield "s3:GetObject", arn
            case _:
                yield from self._of_put(request, query, arn)

    def _of_put(self, request: Request, query: Mapping[str, str], arn: str) -> Iterator[Need]:
        yield "s3:PutObject", arn
        yield from self._key("kms:GenerateDataKey")
        if "uploadId" in query or "uploads" in query:
            yield from self._key("kms:Decrypt")
        if header(request.headers, "if-match"):
            yield "s3:GetObject", arn
        if header(request.headers, "x-amz-tagging"):
            yield "s3:PutObjectTagging", arn
        if header(request.headers, "x-amz-acl"):
            yield "s3:PutObjectAcl", arn
        source = unquote(header(request.headers, "x-amz-copy-source") or "").lstrip("/")
        if source:
            path, _, version = source.partition("?versionId=")
            yield f"s3:GetObject{'Version' if version else ''}", self._arn(path)
            yield from self._key("kms:Decrypt")
            if "uploadId" not in query and header(request.headers, "x-amz-tagging-directive") != "REPLACE":
                # Only of objects that have tags: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
                yield "s3:GetObjectTagging", self._arn(path)
                yield "s3:PutObjectTagging", arn

    def _key(self, action: str) -> Iterator[Need]:
        if self.encrypted:
            yield action, KEY_ARN


def _of_bucket(method: str, query: Mapping[str, str]) -> str:
    for name, (looking, putting) in _SETTINGS.items():
        if name in query:
            return looking if method == "GET" else putting
    for name, action in _LISTINGS.items():
        if name in query:
            return action
    return "s3:CreateBucket" if method == "PUT" else "s3:ListBucket"


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value
