"""The webhooks of tenants: kept, told of what happens, and sent to until they have taken it.

Owns the outbox of one store. Invariants:
- what is to be told is kept before it is sent, and forgotten when it was taken, so that the next
  start of a server goes on with it: a message arrives at least once;
- messages go out through the egress alone: public addresses, https, no redirects;
- a receiver that is slow or away delays nobody else's messages for longer than one attempt.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cloche.server.errors import QuotaError, UnknownObjectError
from cloche.server.webhooks import (
    GONE,
    NS_PER_MS,
    Delivery,
    Webhook,
    after_attempt,
    check_events,
    check_url,
    delivery_of,
    headers_of,
    secret_of,
)
from cloche.store.errors import StoreChangedError
from cloche.store.rows import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from cloche.limits import Limits
    from cloche.server.ports import Host
    from cloche.server.webhooks import Event
    from cloche.store.ports import Store

    Sender = Callable[[Webhook, dict[str, str], bytes], Future[int]]

WEBHOOK_PREFIX: Final = "whk-"  # of an id
_HOOKS: Final = "server.webhooks"
_OUTBOX: Final = "server.deliveries"
_ID_BYTES: Final = 12
_PAGE: Final = 1000
_SHARED: Final = 2  # of several tenants one has at most this part of the outbox: a half


class Webhooks:
    """All webhooks of one server.

    Args:
        store: where they and their messages are kept.
        limits: in force.
        host: time and randomness.
        key: returns what the secrets are derived from.
        send: sends a message, without waiting for the answer; the future gives its status.
        log: gets a record of what is dropped.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        host: Host,
        key: Callable[[], bytes],
        send: Sender,
        log: Callable[[dict[str, object]], None],
    ) -> None:
        self._documents = store.documents
        self._limits = limits.server
        self._host = host
        self._key = key
        self._send = send
        self._log = log
        self._lock = threading.Lock()
        self._hooks: dict[str, Webhook] = {}
        self._outbox: dict[str, Delivery] = {}

    def load(self) -> int:
        """Read what is kept; return how many messages wait. Call it once, at first."""
        with self._lock:
            for document in self._all(_HOOKS):
                hook = msgspec.json.decode(document.data, type=Webhook)
                self._hooks[hook.id] = hook
            for document in self._all(_OUTBOX):
                delivery = msgspec.json.decode(document.data, type=Delivery)
                self._outbox[document.name] = delivery
            return sum(each.state == "pending" for each in self._outbox.values())

    def _all(self, kind: str) -> Iterator[Document]:
        after = ""
        while page := self._documents.list(kind, after=after, limit=_PAGE):
            yield from page
            after = page[-1].name

    # --- webhooks ---

    def create(self, tenant: str, url: str, events: list[Event]) -> tuple[Webhook, str]:
        """Add a webhook; return it with its secret.

        Raises:
            InvalidFieldError: the URL is none. QuotaError: the tenant has too many.
        """
        hook = Webhook(
            id=f"{WEBHOOK_PREFIX}{self._host.random_bytes(_ID_BYTES).hex()}",
            tenant=tenant,
            url=check_url(url),
            events=check_events(events),
            created_ms=self._host.now_ns() // NS_PER_MS,
        )
        most = self._limits.webhook_count_max
        with self._lock:
            count = sum(each.tenant == tenant for each in self._hooks.values())
            if count >= most:
                raise QuotaError(what="webhooks", limit="server.webhook_count_max", count=most)
            self._put(_HOOKS, hook.id, hook)
            self._hooks[hook.id] = hook
        return hook, secret_of(self._key(), hook)

    def all(self, tenant: str) -> list[Webhook]:
        """Return the webhooks of a tenant in the order of their ids."""
        with self._lock:
            found = [each for each in self._hooks.values() if each.tenant == tenant]
        return sorted(found, key=lambda hook: hook.id)

    def get(self, tenant: str, hook_id: str) -> Webhook:
        """Return a webhook.

        Raises:
            UnknownObjectError: the tenant has none of this id; as below.
        """
        with self._lock:
            hook = self._hooks.get(hook_id)
        if hook is None or hook.tenant != tenant:
            raise UnknownObjectError(kind="webhook", id=hook_id)
        return hook

    def rotate(self, tenant: str, hook_id: str) -> tuple[Webhook, str]:
        """Give a webhook another secret, at once; one that was disabled is told again."""
        hook = self.get(tenant, hook_id)
        hook = msgspec.structs.replace(hook, generation=hook.generation + 1, disabled="")
        self._replace(hook)
        return hook, secret_of(self._key(), hook)

    def delete(self, tenant: str, hook_id: str) -> None:
        """Remove a webhook with all that it has not been told."""
        hook = self.get(tenant, hook_id)
        with self._lock:
            self._documents.remove(_HOOKS, hook.id)
            self._hooks.pop(hook.id, None)
            for name in [name for name, one in self._outbox.items() if one.webhook == hook.id]:
                self._remove(name)

    def deliveries(self, tenant: str, hook_id: str) -> list[Delivery]:
        """Return what a webhook has not taken, oldest first."""
        hook = self.get(tenant, hook_id)
        with self._lock:
            found = [each for each in self._outbox.values() if each.webhook == hook.id]
        return sorted(found, key=lambda each: (each.created_ns, each.id))

    # --- telling ---

    def tell(self, tenant: str, event: Event, name: str, data: dict[str, Any]) -> None:
        """Keep that something is to be told to whoever of a tenant wants to know.

        Args:
            tenant: whose it is.
            event: what happened.
            name: of what it happened to.
            data: of it, plain JSON.
        """
        for hook in self._wanting(tenant, event):
            self._add(hook, event, name, data)

    def want(self, tenant: str, event: Event) -> bool:
        """Whether a webhook of a tenant is told of an event."""
        return bool(self._wanting(tenant, event))

    def _wanting(self, tenant: str, event: Event) -> list[Webhook]:
        with self._lock:
            return [
                hook
                for hook in self._hooks.values()
                if hook.tenant == tenant and event in hook.events and not hook.disabled
            ]

    def ping(self, tenant: str, hook_id: str) -> Delivery:
        """Send a message that says nothing, to see whether it arrives."""
        name = self._host.random_bytes(_ID_BYTES).hex()
        return self._add(self.get(tenant, hook_id), "ping", name, {})

    def _add(self, hook: Webhook, event: Event, name: str, data: dict[str, Any]) -> Delivery:
        delivery = delivery_of(hook, event, data, name=name, now_ns=self._host.now_ns())
        with self._lock:
            key = delivery.id
            if key in self._outbox:
                return self._outbox[key]
            if self._is_full(hook.tenant):
                self._log({"event": "webhook", "webhook": hook.id, "message": "the outbox is full"})
                return delivery
            self._put(_OUTBOX, key, delivery)
            self._outbox[key] = delivery
        return delivery

    def _is_full(self, tenant: str) -> bool:
        """Whether nothing more of a tenant is kept: all of it is full, or its own share."""
        most = self._limits.webhook_delivery_count_max
        if len(self._outbox) >= most:
            return True
        tenants = {each.tenant for each in self._hooks.values()}
        if len(tenants) == 1 or len(self._outbox) * _SHARED < most:
            return False
        own = sum(each.tenant == tenant for each in self._outbox.values())
        return own * _SHARED >= most

    # --- sending ---

    def deliver_due(self) -> int:
        """Send what is due, and wait for the answers; return how many were taken.

        Call it again and again, on one thread.
        """
        now_ns = self._host.now_ns()
        self._forget_old(now_ns)
        due = self._due(now_ns)[: self._limits.webhook_concurrency_max]
        sent = [(name, each, self._begin(each)) for name, each in due]
        return sum(self._end(name, each, answer) for name, each, answer in sent)

    def _due(self, now_ns: int) -> list[tuple[str, Delivery]]:
        """Return what is due: of each webhook the oldest first, and one of each in turn.

        A receiver that is dead, and has a thousand messages waiting, holds up nobody else's.
        """
        with self._lock:
            due = [
                (name, each)
                for name, each in self._outbox.items()
                if each.state == "pending" and each.next_ns <= now_ns and self._is_told(each)
            ]
        due.sort(key=lambda pair: (pair[1].next_ns, pair[0]))
        turns: Counter[str] = Counter()
        ranked: list[tuple[int, tuple[str, Delivery]]] = []
        for pair in due:
            ranked.append((turns[pair[1].webhook], pair))
            turns[pair[1].webhook] += 1
        ranked.sort(key=lambda one: one[0])
        return [pair for _, pair in ranked]

    def _is_told(self, delivery: Delivery) -> bool:
        hook = self._hooks.get(delivery.webhook)
        return hook is None or not hook.disabled

    def _begin(self, delivery: Delivery) -> Future[int] | None:
        with self._lock:
            hook = self._hooks.get(delivery.webhook)
        if hook is None:
            return None
        secret = secret_of(self._key(), hook)
        fields = headers_of(delivery, secret, now_ns=self._host.now_ns())
        return self._send(hook, fields, delivery.body.encode())

    def _end(self, name: str, delivery: Delivery, answer: Future[int] | None) -> bool:
        if answer is None:
            return False  # its webhook was removed, and it with it
        status, problem = None, ""
        try:
            status = answer.result()
        except Exception as error:  # noqa: BLE001 - whatever kept it from being taken
            problem = str(error) or type(error).__name__
        after = after_attempt(
            delivery,
            status=status,
            problem=problem,
            now_ns=self._host.now_ns(),
            backoff_ms=self._limits.webhook_backoff_ms,
            backoff_ms_max=self._limits.webhook_backoff_ms_max,
            attempt_count_max=self._limits.webhook_attempt_count_max,
        )
        with self._lock:
            if name not in self._outbox:
                return False
            if after is None:
                self._remove(name)
                return True
            self._put(_OUTBOX, name, after)
            self._outbox[name] = after
            hook = self._hooks.get(delivery.webhook)
        if status == GONE and hook is not None:
            self._replace(msgspec.structs.replace(hook, disabled=f"{hook.url} answered 410"))
        return False

    def _forget_old(self, now_ns: int) -> None:
        oldest_ns = now_ns - self._limits.webhook_keep_ms * NS_PER_MS
        with self._lock:
            old = [
                name
                for name, each in self._outbox.items()
                if each.created_ns < oldest_ns
                and (each.state == "failed" or not self._is_told(each))
            ]
            for name in old:
                self._remove(name)

    # --- keeping ---

    def _replace(self, hook: Webhook) -> None:
        with self._lock:
            self._put(_HOOKS, hook.id, hook)
            self._hooks[hook.id] = hook

    def _put(self, kind: str, name: str, value: Webhook | Delivery) -> None:
        kept = self._documents.get(kind, name)
        revision = 1 if kept is None else kept.revision + 1
        document = Document(
            kind=kind, name=name, data=msgspec.json.encode(value), revision=revision
        )
        try:
            self._documents.put(document)
        except StoreChangedError:
            # Nobody else writes here but a server that was told to stop: what is newer stays.
            self._log({"event": "webhook", "message": f"{name} was changed by another process"})

    def _remove(self, name: str) -> None:
        self._documents.remove(_OUTBOX, name)
        del self._outbox[name]
