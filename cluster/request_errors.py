"""
Errors of a request's form: what is refused before anybody asks what it means.

    PlatformError
      InvalidInput
        MalformedJson                malformed_json
        MalformedMultipart           malformed_multipart
      BadRequest                     bad_request
      HostRefused                    host_refused
      MethodNotAllowed               method_not_allowed
      UnsupportedMediaType           unsupported_media_type
      TooLarge
        HeadersTooLarge              headers_too_large
      Conflict
        IdempotencyKeyInUse          idempotency_key_in_use
      IdempotencyKeyReused           idempotency_key_reused
"""

from cluster.errors import Conflict, InvalidInput, PlatformError, TooLarge


class MalformedJson(InvalidInput):
    """The body is not JSON, or not JSON that we accept (NaN, duplicate member, too deep)."""

    code = "malformed_json"


class MalformedMultipart(InvalidInput):
    """The body is not multipart/form-data, or stops before its end."""

    code = "malformed_multipart"


class BadRequest(PlatformError):
    """The request's head cannot be understood, or could be understood in two ways."""

    code = "bad_request"


class HostRefused(PlatformError):
    """The Host header is not on the allow-list."""

    code = "host_refused"


class MethodNotAllowed(PlatformError):
    """The path exists and does not take this HTTP method."""

    code = "method_not_allowed"


class UnsupportedMediaType(PlatformError):
    """The body's type or encoding is not one that the route takes."""

    code = "unsupported_media_type"


class HeadersTooLarge(TooLarge):
    """More headers, or more bytes of them, than a request may carry."""

    code = "headers_too_large"


class IdempotencyKeyInUse(Conflict):
    """The first request with this Idempotency-Key is still running."""

    code = "idempotency_key_in_use"


class IdempotencyKeyReused(PlatformError):
    """The Idempotency-Key was spent on another body."""

    code = "idempotency_key_reused"
