"""Every error the service answers with, spelled as DynamoDB spells it."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

DYNAMODB = "com.amazonaws.dynamodb.v20120810#"
CORAL = "com.amazon.coral.service#"
VALIDATE = "com.amazon.coral.validate#"
AVAILABILITY = "com.amazon.coral.availability#"

THROTTLES = {
    "ProvisionedThroughputExceededException": (
        DYNAMODB,
        "The level of configured provisioned throughput for the table was exceeded. "
        "Consider increasing your provisioning level with the UpdateTable API.",
        "ThrottlingReasons",
        "TableWriteProvisionedThroughputExceeded",
    ),
    "RequestLimitExceeded": (
        DYNAMODB,
        "Throughput exceeds the current throughput limit for your account.",
        "ThrottlingReasons",
        "TableWriteAccountLimitExceeded",
    ),
    "ThrottlingException": (
        AVAILABILITY,
        "Throughput exceeds the current capacity of your table or index.",
        "throttlingReasons",
        "TableWriteKeyRangeThroughputExceeded",
    ),
}
"""Code: namespace, message, how its list of reasons is spelled, the reason given."""

THROTTLE_REASONS = tuple(
    f"{of}Write{limit}"
    for of in ("Table", "Index")
    for limit in (
        "ProvisionedThroughputExceeded",
        "AccountLimitExceeded",
        "KeyRangeThroughputExceeded",
        "MaxOnDemandThroughputExceeded",
    )
)


class ServiceError(Exception):
    """An error reply. `code` is the exception's name without namespace, `extra` more members of the body."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        namespace: str = DYNAMODB,
        status: int = 400,
        message_member: str = "message",
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.body = orjson.dumps({"__type": namespace + code, message_member: message, **(extra or {})})


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message, namespace=VALIDATE)


def malformed(message: str) -> ServiceError:
    """The body is no JSON of the operation's shape."""
    return ServiceError("SerializationException", message, namespace=CORAL, message_member="Message")


def table_not_found(name: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")


def table_in_use(message: str) -> ServiceError:
    return ServiceError("ResourceInUseException", message)


def missing_token(message: str) -> ServiceError:
    return ServiceError("MissingAuthenticationTokenException", message, namespace=CORAL)


def invalid_signature() -> ServiceError:
    message = (
        "The request signature we calculated does not match the signature you provided. Check your AWS "
        "Secret Access Key and signing method. Consult the service documentation for details."
    )
    return ServiceError("InvalidSignatureException", message, namespace=CORAL)


def expired_token() -> ServiceError:
    message = "The security token included in the request is expired"
    return ServiceError("ExpiredTokenException", message, namespace=CORAL)


def access_denied(operation: str, access_key: str) -> ServiceError:
    message = f"User: {access_key} is not authorized to perform: dynamodb:{operation}"
    return ServiceError("AccessDeniedException", message, namespace=CORAL, message_member="Message")


def unknown_operation(target: str) -> ServiceError:
    return ServiceError("UnknownOperationException", f"No such operation: {target}", namespace=CORAL)


def internal_error() -> ServiceError:
    return ServiceError("InternalServerError", "Internal server error", status=500)


def collection_too_large() -> ServiceError:
    message = "Collection size exceeded."
    return ServiceError("ItemCollectionSizeLimitExceededException", message)


def out_of_capacity(reasons: Iterable[tuple[str, str]]) -> ServiceError:
    """A whole request refused by what was metered: each reason with the ARN of its table or index."""
    code = "ProvisionedThroughputExceededException"
    namespace, message, member, _ = THROTTLES[code]
    told = [{"reason": reason, "resource": arn} for reason, arn in reasons]
    return ServiceError(code, message, namespace=namespace, extra={member: told})


def throttled(code: str, resource_arn: str, reason: str | None = None) -> ServiceError:
    """A whole request refused for capacity; `code` is one of THROTTLES, `reason` None its usual one."""
    namespace, message, member, usual = THROTTLES[code]
    reasons = [{"reason": reason or usual, "resource": resource_arn}]
    return ServiceError(code, message, namespace=namespace, extra={member: reasons})
