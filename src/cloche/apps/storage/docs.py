"""Effects of kind `docs`: JSON objects in collections, found by what is in them.

| target | args | value |
|---|---|---|
| `insert` | `{"collection", "doc"}` | the id |
| `get` | `{"collection", "id"}` | the document, or null |
| `find` | `{"collection", "query"?, "limit"?, "offset"?, "order"?}` | documents |
| `find_one` | `{"collection", "query"?, "order"?}` | a document, or null |
| `update` | `{"collection", "query", "changes"}` | how many were changed |
| `delete` | `{"collection", "query"}` | how many were removed |
| `count` | `{"collection", "query"?}` | how many match |
| `index` | `{"collection", "field"}` | true, once the field is indexed |

A document has an `id` (given, or of the host: later ones are greater), `_created_at_ms` and
`_updated_at_ms`. Found are those that match in the order of their ids, unless `order` names fields,
"-field" for the greatest first; a missing field stands before all values.

Invariants:
- inserting, changing and deleting twice under one idempotency key is doing it once;
- whether a field is indexed changes how many documents are looked at, and nothing else;
- a query finishes or is refused: what it looks at is bounded by `apps.query_scan_count_max`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.apps.storage.calls import (
    NS_PER_MS,
    Args,
    Budget,
    Call,
    Operation,
    Quota,
    charge,
    check_count,
    once,
)
from cloche.apps.storage.changes import RESERVED, Changes, parse_changes
from cloche.apps.storage.errors import (
    DocExistsError,
    QuotaError,
    ScanLimitError,
    StorageArgumentsError,
)
from cloche.apps.storage.query import MISSING, Query, Range, parse_query, split_path, value_at
from cloche.apps.storage.rows import DocRow
from cloche.apps.storage.values import (
    check_name,
    check_size,
    decode,
    depth_of,
    encode,
    index_key,
    order_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloche.apps.storage.ports import AppRows, AppTables
    from cloche.limits import Limits

COLLECTION_LIMIT_BYTES: Final = 128
ID_LIMIT_BYTES: Final = 128
OFFSET_MAX: Final = 1_000_000
ORDER_COUNT_MAX: Final = 8
_PAGE_COUNT: Final = 200
_BEFORE_ALL: Final = (-1, 0)

Doc = dict[str, Any]


class InsertArgs(Args):
    """Of `insert`."""

    collection: str
    doc: dict[str, Any]


class GetArgs(Args):
    """Of `get`."""

    collection: str
    id: str


class CountArgs(Args):
    """Of `count`."""

    collection: str
    query: Any = msgspec.field(default_factory=dict)


class FindOneArgs(CountArgs):
    """Of `find_one`."""

    order: str | list[str] = msgspec.field(default_factory=list)


class FindArgs(FindOneArgs):
    """Of `find`."""

    limit: int = 100
    offset: int = 0


class UpdateArgs(Args):
    """Of `update`."""

    collection: str
    query: Any
    changes: Any


class DeleteArgs(Args):
    """Of `delete`."""

    collection: str
    query: Any


class IndexArgs(Args):
    """Of `index`."""

    collection: str
    field: str


class Docs:
    """The documents of all apps."""

    def __init__(self, tables: AppTables, limits: Limits) -> None:
        self._tables = tables
        self._limits = limits.apps
        self._result_limit_bytes = limits.gate.value_limit_bytes
        self._quota = Quota(
            "documents",
            "apps.doc_count_max",
            limits.apps.doc_count_max,
            "apps.docs_limit_bytes",
            limits.apps.docs_limit_bytes,
        )
        self.operations: Mapping[str, Operation] = {
            "insert": Operation(InsertArgs, self._insert),
            "get": Operation(GetArgs, self._get),
            "find": Operation(FindArgs, self._find),
            "find_one": Operation(FindOneArgs, self._find_one),
            "update": Operation(UpdateArgs, self._update),
            "delete": Operation(DeleteArgs, self._delete),
            "count": Operation(CountArgs, self._count),
            "index": Operation(IndexArgs, self._index),
        }

    # --- reading ---

    def _get(self, call: Call, args: GetArgs) -> Doc | None:
        _check_collection(args.collection)
        check_name("docs id", args.id, ID_LIMIT_BYTES)
        row = self._tables.read(
            call.app, "docs", lambda rows: rows.get_doc(args.collection, args.id)
        )
        return None if row is None else _view(row)

    def _find(self, call: Call, args: FindArgs) -> list[Doc]:
        check_count("docs.find limit", args.limit, 1, self._limits.list_count_max)
        check_count("docs.find offset", args.offset, 0, OFFSET_MAX)
        return self._search(call, args, args.offset, args.limit)

    def _find_one(self, call: Call, args: FindOneArgs) -> Doc | None:
        found = self._search(call, args, 0, 1)
        return found[0] if found else None

    def _search(self, call: Call, args: FindOneArgs, offset: int, limit: int) -> list[Doc]:
        _check_collection(args.collection)
        query = self._parse(args.query)
        order = _parse_order(args.order)
        budget = Budget("the answer", "gate.value_limit_bytes", self._result_limit_bytes)

        def work(rows: AppRows) -> list[Doc]:
            source = _Source(rows, args.collection, query, self._limits.query_scan_count_max)
            if not order and source.is_in_order:
                return _slice(source, offset, limit, budget)
            ids = _sorted_ids(source, order)[offset : offset + limit]
            by_id = {row.id: row for row in rows.get_docs(args.collection, ids)}
            found = [by_id[doc_id] for doc_id in ids if doc_id in by_id]
            for row in found:
                budget.add(len(row.data))
            return [_view(row) for row in found]

        return self._tables.read(call.app, "docs", work)

    def _count(self, call: Call, args: CountArgs) -> int:
        _check_collection(args.collection)
        query = self._parse(args.query)

        def work(rows: AppRows) -> int:
            if args.query == {}:
                return rows.count_docs(args.collection)
            source = _Source(rows, args.collection, query, self._limits.query_scan_count_max)
            return sum(1 for _ in source.matches())

        return self._tables.read(call.app, "docs", work)

    def _parse(self, query: Any) -> Query:
        return parse_query(
            query,
            depth_max=self._limits.query_depth_max,
            operator_count_max=self._limits.query_operator_count_max,
        )

    # --- writing ---

    def _insert(self, call: Call, args: InsertArgs) -> str:
        _check_collection(args.collection)
        fields = dict(args.doc)
        doc_id = fields.pop("id", None)
        if doc_id is None:
            doc_id = new_id(call)
        elif not isinstance(doc_id, str):
            raise StorageArgumentsError(where="docs id", problem="is no text")
        check_name("docs id", doc_id, ID_LIMIT_BYTES)
        for name in fields:
            if name in RESERVED or name.startswith("$"):
                raise StorageArgumentsError(
                    where=f"docs field {name[:80]}", problem="is a name that no field can have"
                )
        row = DocRow(
            collection=args.collection,
            id=doc_id,
            data=self._encode(fields),
            created_ns=call.now_ns,
            updated_ns=call.now_ns,
        )

        def work(rows: AppRows) -> str:
            if rows.get_doc(row.collection, row.id) is not None:
                raise DocExistsError(collection=row.collection, id=row.id)
            self._put(rows, row, None, rows.indexes(row.collection))
            return row.id

        return str(once(self._tables, "docs", call, work))

    def _update(self, call: Call, args: UpdateArgs) -> int:
        query = self._parse(args.query)
        changes = parse_changes(
            args.changes, operator_count_max=self._limits.query_operator_count_max
        )
        ids = self._matching_ids(call, args.collection, query)

        def work(rows: AppRows) -> int:
            fields = rows.indexes(args.collection)
            count = 0
            for row in _still_matching(rows, args.collection, ids, query):
                self._put(rows, self._changed(row, changes, call.now_ns), row, fields)
                count += 1
            return count

        return int(once(self._tables, "docs", call, work))

    def _delete(self, call: Call, args: DeleteArgs) -> int:
        query = self._parse(args.query)
        ids = self._matching_ids(call, args.collection, query)

        def work(rows: AppRows) -> int:
            count = 0
            for row in _still_matching(rows, args.collection, ids, query):
                rows.remove_doc(row.collection, row.id)
                charge(rows, self._quota, count=-1, size_bytes=-_size_of(row))
                count += 1
            return count

        return int(once(self._tables, "docs", call, work))

    def _index(self, call: Call, args: IndexArgs) -> bool:
        _check_collection(args.collection)
        split_path(args.field, "docs.index")
        check_name("docs.index field", args.field, 4 * COLLECTION_LIMIT_BYTES)

        def work(rows: AppRows) -> bool:
            if args.field in rows.indexes(args.collection):
                return True
            used = len(rows.indexes(None))
            if used >= self._limits.doc_index_count_max:
                raise QuotaError(
                    what="indexes",
                    used=used,
                    asked=1,
                    limit="apps.doc_index_count_max",
                    maximum=self._limits.doc_index_count_max,
                )
            rows.add_index(args.collection, args.field)
            fields = rows.indexes(args.collection)
            everything = Query(matches=lambda _: True)
            source = _Source(rows, args.collection, everything, self._limits.query_scan_count_max)
            for row, _ in source.matches():
                self._put(rows, row, row, fields)
            return True

        return self._tables.write(call.app, "docs", work)

    def _matching_ids(self, call: Call, collection: str, query: Query) -> list[str]:
        # Looked for before the transaction that writes: others do not wait while this looks.
        _check_collection(collection)

        def work(rows: AppRows) -> list[str]:
            source = _Source(rows, collection, query, self._limits.query_scan_count_max)
            return sorted((row.id for row, _ in source.matches()), key=str.encode)

        return self._tables.read(call.app, "docs", work)

    def _changed(self, row: DocRow, changes: Changes, now_ns: int) -> DocRow:
        data = self._encode(changes.apply(decode(row.data)))
        return replace(row, data=data, updated_ns=max(now_ns, row.created_ns))

    def _encode(self, fields: Doc) -> bytes:
        data = encode(fields)
        check_size("the document", len(data), "apps.doc_limit_bytes", self._limits.doc_limit_bytes)
        check_size(
            "the document's depth",
            depth_of(fields),
            "apps.doc_depth_max",
            self._limits.doc_depth_max,
        )
        return data

    def _put(self, rows: AppRows, row: DocRow, before: DocRow | None, indexed: Any) -> None:
        view = _view(row)
        entries = [(field, key) for field in indexed if (key := _key_at(view, field)) is not None]
        keys_bytes = sum(len(field) + len(key) + len(row.id) for field, key in entries)
        row = replace(row, keys_bytes=keys_bytes)
        size_bytes = _size_of(row) - (0 if before is None else _size_of(before))
        charge(rows, self._quota, count=int(before is None), size_bytes=size_bytes)
        rows.put_doc(row)
        if before is not None and before.keys_bytes:
            rows.remove_entries(row.collection, row.id)
        for field, key in entries:
            rows.put_entry(row.collection, field, key, row.id)


def new_id(call: Call) -> str:
    """Return an id that an effect gives: greater than earlier ones, equal for no other effect."""
    return f"{call.now_ns:016x}{call.key[:12]}"


def _check_collection(collection: str) -> None:
    check_name("docs collection", collection, COLLECTION_LIMIT_BYTES)


def _size_of(row: DocRow) -> int:
    return len(row.collection.encode()) + len(row.id.encode()) + len(row.data) + row.keys_bytes


def _view(row: DocRow) -> Doc:
    """Return a document as the app sees it."""
    return {
        "id": row.id,
        **decode(row.data),
        "_created_at_ms": row.created_ns // NS_PER_MS,
        "_updated_at_ms": row.updated_ns // NS_PER_MS,
    }


def _key_at(view: Doc, field: str) -> bytes | None:
    value = value_at(view, tuple(field.split(".")))
    return None if value is MISSING else index_key(value)


def _still_matching(
    rows: AppRows, collection: str, ids: list[str], query: Query
) -> Iterator[DocRow]:
    for doc_id in ids:
        row = rows.get_doc(collection, doc_id)
        if row is not None and query.matches(_view(row)):
            yield row


class _Source:
    """The documents that a query may mean: by their ids, by an index, or all."""

    def __init__(self, rows: AppRows, collection: str, query: Query, scan_count_max: int) -> None:
        self._rows = rows
        self._collection = collection
        self._query = query
        self._left = self._scan_count_max = scan_count_max
        indexed = rows.indexes(collection) if query.ids is None and query.ranges else ()
        self._range = next((found for found in query.ranges if found.field in indexed), None)

    @property
    def is_in_order(self) -> bool:
        """Whether the documents come in the order of their ids."""
        return self._query.ids is None and self._range is None

    def matches(self) -> Iterator[tuple[DocRow, Doc]]:
        """Yield the documents that match.

        Raises:
            ScanLimitError: too many were looked at.
        """
        for page in self._pages():
            self._left -= len(page)
            if self._left < 0:
                raise ScanLimitError(collection=self._collection, maximum=self._scan_count_max)
            for row in page:
                view = _view(row)
                if self._query.matches(view):
                    yield row, view

    def _pages(self) -> Iterator[list[DocRow]]:
        if self._query.ids is not None:
            yield list(self._rows.get_docs(self._collection, self._query.ids))
        elif self._range is not None:
            yield from self._range_pages(self._range)
        else:
            after = ""
            while page := self._rows.docs(self._collection, after=after, limit=_PAGE_COUNT):
                yield list(page)
                if len(page) < _PAGE_COUNT:
                    return
                after = page[-1].id

    def _range_pages(self, chosen: Range) -> Iterator[list[DocRow]]:
        after: tuple[bytes, str] | None = None
        while page := self._rows.entries(
            self._collection,
            chosen.field,
            low=chosen.low or b"",
            high=chosen.high,
            after=after,
            limit=_PAGE_COUNT,
        ):
            ids = [doc_id for _, doc_id in page]
            yield list(self._rows.get_docs(self._collection, ids))
            if len(page) < _PAGE_COUNT:
                return
            after = page[-1]


def _slice(source: _Source, offset: int, limit: int, budget: Budget) -> list[Doc]:
    found: list[Doc] = []
    for index, (row, view) in enumerate(source.matches()):
        if index >= offset:
            budget.add(len(row.data))
            found.append(view)
        if len(found) == limit:
            break
    return found


def _parse_order(order: str | list[str]) -> list[tuple[tuple[str, ...], bool]]:
    """Return (field, whether descending) of each field to order by."""
    names = [order] if isinstance(order, str) else order
    check_count("docs order", len(names), 0, ORDER_COUNT_MAX)
    return [(split_path(name.removeprefix("-"), "order"), name.startswith("-")) for name in names]


def _sorted_ids(source: _Source, order: list[tuple[tuple[str, ...], bool]]) -> list[str]:
    found = [
        (row.id, [_order_key(value_at(view, parts)) for parts, _ in order])
        for row, view in source.matches()
    ]
    found.sort(key=lambda item: item[0].encode())
    # A sort keeps the order of equals: the last field first.
    for index in reversed(range(len(order))):
        found.sort(key=lambda item: item[1][index], reverse=order[index][1])
    return [doc_id for doc_id, _ in found]


def _order_key(value: Any) -> tuple[int, Any]:
    return _BEFORE_ALL if value is MISSING else order_key(value)
