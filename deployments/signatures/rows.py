"""
The shape of ``instances``: lists or records become rows in the model's own column order.

Every fault of shape (a flat row, ragged rows, a column missing or extra, too many rows) is told
here, before anything looks at a value.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from cluster.contracts import Signature
from cluster.errors import MAX_DETAILS, Fault, InvalidInput
from deployments.signatures.faults import Locator, pointer_token, quoted, refuse

#: One row: values in the model's column order.
Row = Sequence[Any]


class RowShape:
    """Aligns rows with one signature's columns."""

    def __init__(self, signature: Signature) -> None:
        self.names = tuple(feature.name for feature in signature.features)
        self.width = len(self.names)
        self.is_text = signature.kind == "text"
        self._pick: Callable[[Any], Row] = (
            itemgetter(*self.names) if self.width > 1 else lambda record: (record[self.names[0]],)
        )

    def count(self, instances: object, max_rows: int, path: str) -> list[Any]:
        """
        ``instances`` itself, known to be a list of 1 to ``max_rows`` entries.

        Raises:
            InvalidInput: It is something else.
        """
        if not isinstance(instances, list | tuple):
            said = f"must be a list of rows, got {quoted(instances)}"
            raise refuse(path, "not_a_list", f"{path[1:]} {said}")
        if not instances:
            raise refuse(path, "no_rows", f"{path[1:]} holds no row: send at least one")
        if len(instances) > max_rows:
            said = f"has {len(instances)} rows, at most {max_rows} are taken in one request"
            raise refuse(path, "too_many_rows", f"{path[1:]} {said}: send them in parts")
        return instances if isinstance(instances, list) else list(instances)

    def align(self, instances: list[Any], path: str) -> tuple[list[Row], Locator]:
        """
        The rows in column order, and where each of their values came from.

        Raises:
            InvalidInput: Rows are flat, ragged, mixed or of other columns.
        """
        types = set(map(type, instances))
        if types <= {list, tuple}:
            self._check_lengths(instances, path)
            return instances, lambda row, column: f"{path}/{row}/{column}"
        if types == {dict}:
            return self._from_records(instances, path), self._locate_record(path)
        if self.is_text and types == {str}:
            return [(document,) for document in instances], lambda row, _: f"{path}/{row}"
        raise self._misshapen(instances, path)

    def from_records(self, records: list[dict[str, Any]]) -> list[Row] | None:
        """Rows of records that hold exactly the model's columns; ``None`` if one does not."""
        if set(map(len, records)) != {self.width}:
            return None
        try:
            return [self._pick(record) for record in records]
        except KeyError:
            return None

    def _from_records(self, records: list[dict[str, Any]], path: str) -> list[Row]:
        rows = self.from_records(records)
        if rows is None:
            raise self._other_columns(records, path)
        return rows

    def _locate_record(self, path: str) -> Locator:
        tokens = [pointer_token(name) for name in self.names]
        return lambda row, column: f"{path}/{row}/{tokens[column]}"

    def _check_lengths(self, rows: list[Row], path: str) -> None:
        if set(map(len, rows)) == {self.width}:
            return
        faults = [
            Fault(
                path=f"{path}/{index}",
                code="wrong_count",
                message=f"has {_values(len(row))}, the model takes {self.width}: {self._named()}",
            )
            for index, row in enumerate(rows)
            if len(row) != self.width
        ]
        raise _refuse_rows(faults, path)

    def _other_columns(self, records: list[dict[str, Any]], path: str) -> InvalidInput:
        wanted = set(self.names)
        faults: list[Fault] = []
        for index, record in enumerate(records):
            at = f"{path}/{index}"
            for name in self.names:
                if name not in record:
                    said = f'lacks the feature "{name}"'
                    faults.append(Fault(path=at, code="missing_feature", message=said))
            for name in record:
                if name not in wanted:
                    said = f"has {_shortened(name)}, which the model does not take"
                    where = f"{at}/{pointer_token(name)}"
                    faults.append(Fault(path=where, code="unknown_feature", message=said))
            if len(faults) >= MAX_DETAILS:
                break
        return _refuse_rows(faults, path)

    def _misshapen(self, instances: list[Any], path: str) -> InvalidInput:
        right: tuple[type, ...] = (list, tuple, dict)
        wanted = "a list of values or a record by name"
        if self.is_text:
            wanted, right = "a document: a string", (*right, str)
        elif not any(isinstance(row, list | tuple | dict) for row in instances):
            said = f"{path[1:]} is a flat row: wrap it in another list, as [[…]]"
            return refuse(path, "flat_row", said)
        for index, row in enumerate(instances):
            if not isinstance(row, right):
                said = f"row {index} is {quoted(row)}; each row must be {wanted}"
                return refuse(f"{path}/{index}", "wrong_row", said)
        index = next(i for i, row in enumerate(instances) if type(row) is not type(instances[0]))
        said = f"row {index} is {quoted(instances[index])}, row 0 is not: send one kind of row"
        return refuse(f"{path}/{index}", "wrong_row", said)

    def _named(self) -> str:
        shown = ", ".join(self.names[:MAX_DETAILS])
        return shown + ", …" * (self.width > MAX_DETAILS)


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"


def _shortened(name: str) -> str:
    return f'"{name}"' if len(name) <= MAX_DETAILS * 4 else f'"{name[: MAX_DETAILS * 4]}…"'


def _refuse_rows(faults: list[Fault], path: str) -> InvalidInput:
    first = faults[0]
    index = first.path.removeprefix(path).split("/")[1]
    return InvalidInput(f"row {index} {first.message}", details=tuple(faults[:MAX_DETAILS]))
