"""The usual AWS chain: whose credentials sign requests, which certificates are trusted, how buckets are addressed."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from migrator.clients.signing import Credentials
from migrator.core.errors import PreflightError
from migrator.core.threads import in_thread

THREAD = "migrator-credentials"
"""What finds or refreshes credentials: a program of the operator's may wait for a password as long as it likes."""

NO_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (destination.profile), "
    "or sign in with `aws sso login`"
)

_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_NOT_PLAIN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION")


class Chain(Protocol):
    """Where credentials come from; it refreshes them by itself."""

    def get_frozen_credentials(self) -> Any:
        """An access key, a secret key and a token. May block on the network."""
        ...


class _Fixed(Struct, frozen=True):
    """Credentials that never change."""

    credentials: Credentials

    def get_frozen_credentials(self) -> Credentials:
        return self.credentials


class Found(Struct, frozen=True):
    """What the AWS configuration says of every bucket.

    verify      the file of CA certificates; True: the usual ones
    addressing  "path", "virtual" (a bucket's name stands in the host), or "auto"
    """

    chain: Chain
    verify: bool | str
    addressing: str = "auto"


async def find_chain(profile: str) -> Found:
    """What the configuration of `profile` says. Raises PreflightError where there are no credentials."""
    plain = None if profile else plain_credentials(os.environ)
    if plain is not None:
        return Found(_Fixed(plain), os.environ.get("AWS_CA_BUNDLE") or True)
    import botocore.exceptions  # a third of the whole start-up: who has plain keys need not wait for it
    import botocore.session

    session = botocore.session.Session(profile=profile or None)
    try:
        chain = await in_thread(session.get_credentials, THREAD)  # an instance role is asked for over the network
        verify = session.get_config_variable("ca_bundle") or True
        addressing = (session.get_config_variable("s3") or {}).get("addressing_style") or "auto"
    except botocore.exceptions.BotoCoreError as error:
        raise PreflightError(f"the AWS configuration cannot be used: {error}", NO_CREDENTIALS) from None
    if chain is None:
        raise PreflightError("no AWS credentials were found", NO_CREDENTIALS)
    return Found(chain, verify, addressing)


def plain_credentials(environ: Mapping[str, str]) -> Credentials | None:
    """The keys of the environment where botocore would take just these, and no file or profile has a say."""
    access_key, secret_key = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not access_key or not secret_key or any(name in environ for name in _NOT_PLAIN):
        return None
    if any(Path(environ.get(name) or usual).expanduser().exists() for name, usual in _FILES.items()):
        return None
    token = environ.get("AWS_SECURITY_TOKEN") or environ.get("AWS_SESSION_TOKEN")
    return Credentials(access_key, secret_key, token or None)


def gave_no_answer(error: Exception) -> bool:
    """Whether a chain failed because whoever gives credentials (STS, the metadata of an instance) did not answer."""
    from botocore import exceptions as botocores

    if isinstance(error, botocores.ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500
    return isinstance(error, botocores.ConnectionError | botocores.HTTPClientError | botocores.MetadataRetrievalError)


def certificate_file(verify: bool | str) -> str:
    """The CA certificates as boto's clients have them: the file of one's own, or certifi's."""
    from botocore.httpsession import get_cert_path  # only TLS asks

    return str(get_cert_path(verify))
