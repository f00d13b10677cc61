"""boto3 for the commands that set things up: what an operator does once."""

from typing import Any

import botocore.exceptions
from botocore.config import Config

from migrator.clients.calls import refusal_of, refuse_strangers, stay, unanswered
from migrator.clients.chain import NO_CREDENTIALS
from migrator.clients.refusals import error_of
from migrator.core.config import Destination
from migrator.core.errors import ObjectError, PreflightError, Transient


def operator_client(destination: Destination) -> Any:
    """A boto3 client for the commands that set things up; it may retry by itself. Raises PreflightError."""
    import boto3  # only `setup` needs it

    try:
        session = boto3.Session(profile_name=destination.profile or None, region_name=destination.region)
        if session.get_credentials() is None:
            raise PreflightError("no AWS credentials were found", NO_CREDENTIALS)
        client = session.client(
            "s3",
            endpoint_url=destination.endpoint_url or None,
            config=Config(connect_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}),
        )
    except botocore.exceptions.BotoCoreError as error:
        raise PreflightError(f"the AWS configuration cannot be used: {error}", NO_CREDENTIALS) from None
    client.meta.events.register("before-call.s3", stay)
    client.meta.events.register("before-parse.s3", _refuse_strangers)
    return client


def _refuse_strangers(response_dict: dict[str, Any], **more: Any) -> None:
    if response_dict["status_code"] < 300 and not response_dict["body"]:
        return  # how a setting is confirmed, also by a server that does not name its requests
    try:
        refuse_strangers(response_dict=response_dict, **more)
    except Transient as error:
        raise _preflight(error) from None


def preflight_error(error: Exception, operation: str, bucket: str, region: str) -> PreflightError:
    """What a failure of the operator's client means."""
    if isinstance(error, botocore.exceptions.ClientError):
        found = error_of(refusal_of(error, operation, bucket, ""), region)
    elif isinstance(error, botocore.exceptions.BotoCoreError):
        found = unanswered(error, operation, bucket)
    else:
        raise error
    return _preflight(found)


def _preflight(error: ObjectError) -> PreflightError:
    passing = isinstance(error, Transient)
    return PreflightError(error.message, "run the same command again when it answers" if passing else error.hint)
