"""
Who may do what: one row a route, one column a caller, each cell the status that is right.

Columns, as in ``authorisation.CALLERS``:

    no credential that holds   anonymous, expired token, refresh token, revoked key
    sessions                   owner, another member, another publisher, admin
    the owner's keys           predict, models:read, models:write, keys
    tied keys of the owner's   to this model, to another
    an admin's keys            admin alone, all scopes but admin

Cells: ``.`` passes with the row's status, ``1`` is 401, ``3`` 403, ``4`` 404.  The model is
private: for who may not see it, it is not there.
"""

_REFUSALS = {"1": 401, "3": 403, "4": 404}


def _row(status: int, cells: str) -> tuple[int, ...]:
    return tuple(_REFUSALS.get(cell, status) for cell in cells.replace(" ", ""))


TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/api/v1/api-keys"): _row(200, "1111 .... 333. .. 3."),
    ("POST", "/api/v1/api-keys"): _row(201, "1111 .... 333. .3 3."),
    ("DELETE", "/api/v1/api-keys/{key_id}"): _row(204, "1111 .44. 333. .3 34"),
    ("POST", "/api/v1/api-keys/{key_id}/rotate"): _row(201, "1111 .444 333. .3 34"),
    ("GET", "/api/v1/audit"): _row(200, "1111 333. 3333 33 .3"),
    ("GET", "/api/v1/audit/export"): _row(200, "1111 333. 3333 33 .3"),
    ("POST", "/api/v1/auth/login"): _row(200, ".... .... .... .. .."),
    ("POST", "/api/v1/auth/logout"): _row(204, ".... .... .... .. .."),
    ("GET", "/api/v1/auth/me"): _row(200, "1111 .... .... .. .."),
    ("POST", "/api/v1/auth/password"): _row(422, "1111 .... 3333 33 33"),
    ("POST", "/api/v1/auth/refresh"): _row(200, ".... .... .... .. .."),
    ("POST", "/api/v1/auth/register"): _row(201, ".... .... .... .. .."),
    ("GET", "/api/v1/models"): _row(200, "1111 .... 3.33 .. 3."),
    ("POST", "/api/v1/models"): _row(201, "1111 .... 33.3 33 3."),
    ("DELETE", "/api/v1/models/{model}"): _row(204, "1111 .44. 33.3 .4 34"),
    ("GET", "/api/v1/models/{model}"): _row(200, "1111 .44. 3.33 .4 34"),
    ("PATCH", "/api/v1/models/{model}"): _row(200, "1111 .44. 33.3 .4 34"),
    ("GET", "/api/v1/models/{model}/aliases"): _row(200, "1111 .44. 3.33 .4 34"),
    ("DELETE", "/api/v1/models/{model}/aliases/{alias}"): _row(204, "1111 .44. 33.3 .4 34"),
    ("PUT", "/api/v1/models/{model}/aliases/{alias}"): _row(200, "1111 .44. 33.3 .4 34"),
    ("PUT", "/api/v1/models/{model}/owner"): _row(200, "1111 333. 3333 33 .3"),
    ("POST", "/api/v1/models/{model}/predict"): _row(200, "1111 .44. .333 .4 34"),
    ("GET", "/api/v1/models/{model}/stats"): _row(200, "1111 .44. 3.33 .4 34"),
    ("GET", "/api/v1/models/{model}/versions"): _row(200, "1111 .44. 3.33 .4 34"),
    ("POST", "/api/v1/models/{model}/versions"): _row(201, "1111 .44. 33.3 .4 34"),
    ("DELETE", "/api/v1/models/{model}/versions/{version}"): _row(204, "1111 .44. 33.3 .4 34"),
    ("GET", "/api/v1/models/{model}/versions/{version}"): _row(200, "1111 .44. 3.33 .4 34"),
    ("GET", "/api/v1/models/{model}/versions/{version}/artifact"): _row(
        200, "1111 .44. 3.33 .4 34"
    ),
    ("POST", "/api/v1/models/{model}/versions/{version}/release"): _row(
        200, "1111 .44. 33.3 .4 34"
    ),
    ("POST", "/api/v1/predict"): _row(200, "1111 .44. .333 .4 34"),
    ("GET", "/api/v1/users"): _row(200, "1111 333. 3333 33 .3"),
    ("GET", "/api/v1/users/{user_id}"): _row(200, "1111 333. 3333 33 .3"),
    ("PATCH", "/api/v1/users/{user_id}"): _row(200, "1111 333. 3333 33 .3"),
    ("GET", "/api/v1/users/{user_id}/api-keys"): _row(200, "1111 333. 3333 33 .3"),
    ("POST", "/api/v1/users/{user_id}/password-reset"): _row(200, "1111 333. 3333 33 .3"),
    ("GET", "/docs"): _row(200, ".... .... .... .. .."),
    ("GET", "/health"): _row(200, ".... .... .... .. .."),
    ("GET", "/health/detailed"): _row(200, ".... .... .... .. .."),
    ("GET", "/health/live"): _row(200, ".... .... .... .. .."),
    ("GET", "/health/ready"): _row(200, ".... .... .... .. .."),
    ("GET", "/openapi.json"): _row(200, ".... .... .... .. .."),
    ("GET", "/static/{path:path}"): _row(200, ".... .... .... .. .."),
    ("GET", "/v2"): _row(200, ".... .... .... .. .."),
    ("GET", "/v2/health/live"): _row(200, ".... .... .... .. .."),
    ("GET", "/v2/health/ready"): _row(200, ".... .... .... .. .."),
    ("GET", "/v2/models/{model}"): _row(200, "1111 .44. ..33 .4 34"),
    ("GET", "/v2/models/{model}/config"): _row(200, "1111 .44. ..33 .4 34"),
    ("POST", "/v2/models/{model}/infer"): _row(200, "1111 .44. .333 .4 34"),
    ("GET", "/v2/models/{model}/ready"): _row(200, "1111 .44. ..33 .4 34"),
    ("GET", "/v2/models/{model}/versions/{version}"): _row(200, "1111 .44. ..33 .4 34"),
    ("GET", "/v2/models/{model}/versions/{version}/config"): _row(200, "1111 .44. ..33 .4 34"),
    ("POST", "/v2/models/{model}/versions/{version}/infer"): _row(200, "1111 .44. .333 .4 34"),
    ("GET", "/v2/models/{model}/versions/{version}/ready"): _row(200, "1111 .44. ..33 .4 34"),
}
