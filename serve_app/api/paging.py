"""The two query parameters that every list takes."""

from typing import Annotated

from fastapi import Query

DEFAULT_LIMIT = 20
LIMIT_MAX = 100
#: PostgreSQL's bigint would take more; no list of ours is longer.
OFFSET_MAX = 2**31 - 1

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Items on the page.")]
Offset = Annotated[int, Query(ge=0, le=OFFSET_MAX, description="Items before the page.")]
