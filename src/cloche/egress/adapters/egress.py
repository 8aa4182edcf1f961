"""The pipeline of an outbound call.

Owns the order of things: budget, and for each hop policy, secrets, cache, breaker, rate, slot,
connection, response; then scrubbing and the log.
Invariants:
- one event loop and no waiting between a test and the change that it allows: counts are exact;
- every hop passes every rule; every call ends in a response or in one `NetError`, at its deadline
  at the latest, with its slot given back and its connection closed or in the pool;
- what a guest, a journal or the log gets was scrubbed of the run's secrets.

It decides nothing by itself: the pure modules of the room do.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from cloche.egress import secrets as rules_of_secrets
from cloche.egress.adapters.connector import Client, Reply
from cloche.egress.adapters.deadlines import Deadlines
from cloche.egress.allowlist import (
    GLOBAL_SCOPE,
    RUN_SCOPE,
    Decision,
    NetPolicy,
    RuleSet,
    decide,
)
from cloche.egress.breaker import Breakers
from cloche.egress.budget import NS_PER_MS, RunBudget, Slots
from cloche.egress.cache import NOT_MODIFIED, SAFE_METHODS, Cache, Fresh, Key, Stale, may_use
from cloche.egress.errors import (
    NetAuthError,
    NetBlockedError,
    NetError,
    NetStoreError,
    NetTimeoutError,
)
from cloche.egress.headers import SET_COOKIES, Headers, get_header, response_headers
from cloche.egress.log import LogBuffer, Record, shown_path
from cloche.egress.message import NetRequest, NetResponse
from cloche.egress.rate import Buckets
from cloche.egress.redirects import STATUSES, Hop, next_hop
from cloche.egress.secrets import Scrubber, Secret

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from cloche.egress.cache import Stats, Stored
    from cloche.egress.log import Outcome
    from cloche.egress.ports import (
        AddressCheck,
        CacheBook,
        EntryBook,
        LogSink,
        Resolver,
        SecretBook,
    )
    from cloche.limits import Limits

_SERVER_ERROR: Final = 500
# What fails before a server could answer, and will fail again.
_BROKEN: Final = frozenset({"dns", "tls", "certificate"})
_NO_RULES: Final = RuleSet("", ())
_NO_SECRETS: Final = Scrubber(())


@dataclass(slots=True, kw_only=True)
class NetRun:
    """A run as outbound HTTP sees it: what it may do and what it has used.

    Args:
        run_id: for the log.
        policy: of the run.
        budget: of the run.
        app: who shares slots and cache; the run alone when empty.
    """

    run_id: str
    policy: NetPolicy
    budget: RunBudget
    app: str = ""
    rules: RuleSet = field(default=_NO_RULES)

    def __post_init__(self) -> None:
        self.rules = RuleSet(RUN_SCOPE, self.policy.entries)

    @property
    def owner(self) -> str:
        """Whose slots, buckets and cache it uses."""
        return self.app or self.run_id


class NoEntries:
    """No shared lists (an `EntryBook`)."""

    def rules(self, scope: str) -> RuleSet:
        """See `EntryBook`."""
        return RuleSet(scope, ())


class NoSecrets:
    """No secrets (a `SecretBook`)."""

    def secret(self, name: str, scopes: Sequence[str] = (GLOBAL_SCOPE,)) -> Secret | None:
        """See `SecretBook`."""
        del name, scopes
        return None

    def used(self, secret: Secret) -> None:
        """See `SecretBook`."""


class Egress:
    """Outbound HTTP of a process. Use it on one event loop only.

    Args:
        limits: of the system; a run's own are in its budget.
        resolver: finds addresses; the system's when None.
        check: judges addresses.
        tls: certificates that are trusted; those of the system when None.
        entries: shared lists.
        secrets: what guests may name.
        log: keeps records; nobody when None.
        caches: shows and clears the cache from outside; nobody when None.
        process: what this process is called there.
        clock: nanoseconds of a monotonic clock.
        wall: nanoseconds of the Unix epoch, for the log.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        resolver: Resolver | None = None,
        check: AddressCheck | None = None,
        tls: ssl.SSLContext | None = None,
        entries: EntryBook | None = None,
        secrets: SecretBook | None = None,
        log: LogSink | None = None,
        caches: CacheBook | None = None,
        process: str = "",
        clock: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.limits = limits
        checked = {} if check is None else {"check": check}
        self._client = Client(limits, resolver=resolver, tls=tls, **checked)
        self._entries: EntryBook = entries or NoEntries()
        self._secrets: SecretBook = secrets or NoSecrets()
        self._sink = log
        self._caches = caches
        self._process = process
        self._clearings = 0 if caches is None else caches.clearings()
        self._stats: Stats | None = None
        self._clock = clock
        self._wall = wall
        self.cache = Cache(limits)
        self.slots = Slots(limits)
        self.log = LogBuffer(limits.net.log_buffer)
        self._buckets = Buckets(limits.egress.bucket_count_max)
        self._breakers = Breakers(limits)
        self._deadlines = Deadlines()
        self._flush_at_ns = clock() + limits.net.log_flush * NS_PER_MS

    async def fetch(self, request: NetRequest, run: NetRun) -> NetResponse:
        """Make a call and return its response.

        Raises:
            NetError: or a subclass; nothing of the call is left behind.
        """
        call = _Call(self, request, run)
        try:
            return await call.run_to_end()
        finally:
            self._flush_if_due()

    def decide(self, request: NetRequest, run: NetRun) -> Decision:
        """Return what the lists say of a request, without sending anything."""
        scopes = map(self._entries.rules, run.policy.lists)
        return decide(
            request.url,
            request.method,
            (run.rules, *scopes),
            allow_literals=run.policy.allow_literals,
        )

    def known_secrets(self, policy: NetPolicy) -> list[Secret]:
        """Return the secrets that a policy names, as they are now; those that exist."""
        found = (self._secrets.secret(name, policy.secret_lists) for name in policy.secrets)
        return [secret for secret in found if secret is not None]

    async def close(self) -> None:
        """End every connection and store the log."""
        await self._client.close()
        self._deadlines.close()
        self.flush()
        self._keep_stats(None)

    # --- the cache ---

    def shared_cache(self) -> Cache:
        """Return the cache, empty if somebody cleared all caches since the last time."""
        if self._caches is not None:
            clearings = self._caches.clearings()
            if clearings != self._clearings:
                self._clearings = clearings
                self.cache.clear()
        return self.cache

    def _keep_stats(self, stats: Stats | None) -> None:
        if self._caches is None or not self.cache.enabled or stats == self._stats:
            return
        self._stats = stats
        # Who looks at the cache can wait; a call must not fail for it.
        with contextlib.suppress(NetStoreError):
            self._caches.keep_stats(self._process, stats)

    # --- the log ---

    def record(self, entry: Record) -> None:
        """Write down one hop; errors are stored at once."""
        if self.log.add(entry):
            self.flush()

    def flush(self) -> None:
        """Store what is in the buffer; what cannot be stored waits for the next time."""
        self._flush_at_ns = self._clock() + self.limits.net.log_flush * NS_PER_MS
        self._keep_stats(self.cache.stats)
        if self._sink is None or not len(self.log):
            return
        records, dropped = self.log.take()
        try:
            self._sink.store(records, dropped)
        except NetStoreError:
            # A log that cannot be written must not stop a call; the count tells what is missing.
            self.log.put_back(records, dropped)

    def _flush_if_due(self) -> None:
        if len(self.log) and self._clock() >= self._flush_at_ns:
            self.flush()


class _Call:
    """One call on its way."""

    def __init__(self, egress: Egress, request: NetRequest, run: NetRun) -> None:
        self._egress = egress
        self._request = request
        self._run = run
        self._limits = egress.limits
        names = run.policy.secrets
        self._scrubber = Scrubber(egress.known_secrets(run.policy)) if names else _NO_SECRETS
        self._holds_slot = False
        self._decision: Decision | None = None
        self._deadline_ns = 0
        self._sent_bytes = 0
        self._received_bytes = 0
        self._hop_now = Hop(
            method=request.method, url=request.url, headers=request.headers, body=request.body
        )

    async def run_to_end(self) -> NetResponse:
        egress, run = self._egress, self._run
        started_ns = egress._clock()
        hop = self._hop_now
        try:
            self._decision = egress.decide(self._request, run)
            deadline_ns = run.budget.begin(started_ns, timeout_ms=self._timeout_ms(self._decision))
        except NetError as error:
            self._record(hop, started_ns, error=error)
            raise
        self._deadline_ns = deadline_ns
        try:
            with egress._deadlines.within((deadline_ns - started_ns) / 1e9):
                return await self._follow(hop)
        except TimeoutError:
            late = NetTimeoutError(
                f"request timed out after {(deadline_ns - started_ns) // NS_PER_MS} ms",
                reason="deadline",
                host=self._hop_now.url.host,
            )
            self._record(self._hop_now, started_ns, error=late)
            self._failed(self._hop_now)
            raise late from None
        except asyncio.CancelledError:
            gone = NetError("the call was given up", reason="cancelled")
            self._record(self._hop_now, started_ns, error=gone)
            raise
        finally:
            run.budget.end(egress._clock())
            if self._holds_slot:
                egress.slots.give_back(run.owner)

    def _timeout_ms(self, decision: Decision) -> int | None:
        asked_ms = self._request.timeout_ms
        entry_ms = 0 if decision.entry is None else decision.entry.timeout_ms
        if asked_ms and entry_ms:
            return min(asked_ms, entry_ms)
        return asked_ms or entry_ms or None

    # --- hops ---

    async def _follow(self, hop: Hop) -> NetResponse:
        while True:
            started_ns = self._egress._clock()
            try:
                response = await self._hop(hop)
                following = self._next(hop, response)
            except NetError as error:
                self._record(hop, started_ns, error=error)
                raise
            self._record(hop, started_ns, response=response)
            if following is None:
                return response
            hop = self._hop_now = following

    def _next(self, hop: Hop, response: NetResponse) -> Hop | None:
        if response.status not in STATUSES or self._request.redirect == "manual":
            return None
        location = get_header(response.headers, "location")
        if location is not None and self._request.redirect == "error":
            raise NetBlockedError(
                f"{hop.url.host} redirects, and the request does not follow", reason="redirects"
            )
        return next_hop(hop, response.status, location, self._limits)

    async def _hop(self, hop: Hop) -> NetResponse:
        self._sent_bytes = self._received_bytes = 0
        decision = self._decide(hop)
        used = self._check_secrets(hop)
        key, stored = self._look_up(hop, decision, secret_used=bool(used))
        if isinstance(stored, Fresh):
            return self._answer(hop, stored.stored, cached=True)
        await self._admit(hop, decision)
        response = await self._send(hop, used, stored)
        return await self._receive(hop, response, decision, key, stored)

    def _decide(self, hop: Hop) -> Decision:
        decision = self._decision
        if hop.count or decision is None:  # the first hop was judged for its timeout
            request = msgspec.structs.replace(self._request, url=hop.url, method=hop.method)
            self._decision = decision = self._egress.decide(request, self._run)
        if not decision.allowed:
            what = "redirect to a host that is not allowed" if hop.count else "not allowed"
            raise NetBlockedError(
                f"{what}: {decision.explanation}", reason=decision.reason, host=hop.url.host
            )
        return decision

    async def _admit(self, hop: Hop, decision: Decision) -> None:
        egress, entry = self._egress, decision.entry
        assert entry is not None
        now_ns = egress._clock()
        net = self._limits.net
        egress._buckets.take(
            decision.scope if decision.scope != RUN_SCOPE else self._run.owner,
            hop.url.host,
            now_ns,
            per_minute=entry.rate_limit or net.rate_limit,
            burst=entry.rate_burst or net.rate_burst,
        )
        await self._take_slot()
        tenant = self._run.policy.tenant
        egress._breakers.check(hop.url.host, egress._clock(), tenant=tenant)

    async def _take_slot(self) -> None:
        if self._holds_slot:
            return
        slots, owner = self._egress.slots, self._run.owner
        if slots.take(owner):
            self._holds_slot = True
            return
        turn = asyncio.get_running_loop().create_future()

        def granted() -> None:
            if not turn.done():
                turn.set_result(None)

        if not slots.ask(owner, granted):
            try:
                async with asyncio.timeout(self._limits.egress.slot_timeout_ms / 1000):
                    await turn
            except (TimeoutError, asyncio.CancelledError) as error:
                if not slots.withdraw(granted):
                    # It was granted while the wait ended: pass it on.
                    slots.give_back(owner)
                if isinstance(error, TimeoutError):
                    raise slots.refusal(owner) from None
                raise
        self._holds_slot = True

    # --- secrets ---

    def _named(self, name: str) -> Secret:
        if name not in self._run.policy.secrets:
            raise NetAuthError(
                f"secret {name!r} may not be used in this run", reason="secret", secret=name
            )
        secret = self._egress._secrets.secret(name, self._run.policy.secret_lists)
        if secret is None:
            raise NetAuthError(f"secret {name!r} not found", reason="secret", secret=name)
        return secret

    def _check_secrets(self, hop: Hop) -> dict[str, Secret]:
        """Return the secrets that this hop uses, by name; none behind another origin."""
        names = set(rules_of_secrets.placeholders(hop.headers, hop.body))
        auth = self._request.auth
        if auth is not None:
            names.add(auth)
        if not names or not hop.trusted:
            return {}
        used = {name: self._named(name) for name in sorted(names)}
        for name, secret in used.items():
            if (secret.inject_as == "placeholder") == (name == auth):
                raise NetAuthError(
                    f"secret {name!r} is injected as {secret.inject_as}: "
                    + ("name it as auth" if name != auth else "write {{secret:…}} for it"),
                    reason="secret",
                    secret=name,
                )
            rules_of_secrets.check_use(secret, hop.url, hop.method)
        return used

    # --- sending and receiving ---

    async def _send(self, hop: Hop, used: dict[str, Secret], stored: Stale | None) -> Reply:
        url, headers, body = hop.url, hop.headers, hop.body
        if stored is not None:
            headers += stored.conditions
        if used:
            headers, body = rules_of_secrets.substitute(used, headers, body)
            if self._request.auth is not None:
                url, headers = rules_of_secrets.inject(used[self._request.auth], url, headers)
            for secret in used.values():
                self._egress._secrets.used(secret)
        self._sent_bytes = len(body)
        self._run.budget.spend_bytes(len(body))
        try:
            left_s = (self._deadline_ns - self._egress._clock()) / 1e9
            return await self._egress._client.send(hop.method, url, headers, body, left_s=left_s)
        except NetError as error:
            if error.retryable or isinstance(error, NetTimeoutError) or error.reason in _BROKEN:
                self._failed(hop)
            raise

    async def _receive(
        self,
        hop: Hop,
        reply: Reply,
        decision: Decision,
        key: Key | None,
        stored: Stale | None,
    ) -> NetResponse:
        egress, entry = self._egress, decision.entry
        assert entry is not None
        limit_bytes = entry.max_response or self._limits.net.max_response
        try:
            every = response_headers(reply.headers, self._limits, cookies=True)
            body = await reply.read(limit_bytes)
        except BaseException as error:
            reply.close()
            if isinstance(error, NetError) and error.retryable:
                self._failed(hop)
            raise
        self._received_bytes = len(body)
        self._run.budget.spend_bytes(len(body))
        if reply.status >= _SERVER_ERROR:
            self._failed(hop)
        else:
            egress._breakers.succeeded(hop.url.host, tenant=self._run.policy.tenant)
        now_ms = egress._clock() // NS_PER_MS
        if key is not None and stored is not None and reply.status == NOT_MODIFIED:
            fresh = egress.cache.revalidated(key, stored.stored, every, now_ms)
            return self._answer(hop, fresh, cached=True)
        if key is not None:
            egress.cache.store(
                key,
                request=hop.headers,
                status=reply.status,
                headers=every,
                body=body,
                now_ms=now_ms,
                ttl_s=entry.cache_ttl_s,
            )
        elif hop.method not in SAFE_METHODS and reply.status < 400:  # noqa: PLR2004 - RFC 9111 4.4
            egress.cache.invalidate(self._run.owner, hop.url.text)
        return self._response(hop, reply.status, reply.reason, every, body)

    def _look_up(
        self, hop: Hop, decision: Decision, *, secret_used: bool
    ) -> tuple[Key | None, Fresh | Stale | None]:
        egress, entry = self._egress, decision.entry
        if (
            not egress.cache.enabled
            or entry is None
            or not entry.cache_ttl_s
            or secret_used
            or not may_use(hop.method, hop.headers, hop.body)
        ):
            return None, None
        key = (self._run.owner, hop.method, hop.url.text)
        return key, egress.shared_cache().find(key, hop.headers, egress._clock() // NS_PER_MS)

    def _answer(self, hop: Hop, stored: Stored, *, cached: bool) -> NetResponse:
        return self._response(hop, stored.status, "", stored.headers, stored.body, cached=cached)

    def _response(
        self,
        hop: Hop,
        status: int,
        reason: str,
        headers: Headers,
        body: bytes,
        *,
        cached: bool = False,
    ) -> NetResponse:
        seen = headers
        if not self._run.policy.cookies:
            seen = tuple([pair for pair in headers if pair[0] not in SET_COOKIES])
        url = hop.url.text
        if self._scrubber:
            clean = self._scrubber.bytes(body)
            if len(clean) != len(body):
                seen = tuple(pair for pair in seen if pair[0] != "content-length")
            body = clean
            seen = tuple((self._scrubber.text(n), self._scrubber.text(v)) for n, v in seen)
            reason, url = self._scrubber.text(reason), self._scrubber.text(url)
        return NetResponse(
            status=status,
            reason=reason,
            headers=seen,
            body=body,
            url=url,
            redirected=hop.count > 0,
            cached=cached,
        )

    # --- what is remembered ---

    def _failed(self, hop: Hop) -> None:
        tenant = self._run.policy.tenant
        self._egress._breakers.failed(hop.url.host, self._egress._clock(), tenant=tenant)

    def _record(
        self,
        hop: Hop,
        started_ns: int,
        *,
        response: NetResponse | None = None,
        error: NetError | None = None,
    ) -> None:
        outcome: Outcome = "allowed"
        if error is not None:
            outcome = "denied" if error.blame in ("guest", "limit") else "failed"
        elif response is not None and response.cached:
            outcome = "cached"
        egress, decision = self._egress, self._decision
        egress.record(
            Record(
                at_ns=egress._wall(),
                run_id=self._run.run_id,
                scope="" if decision is None else decision.scope,
                outcome=outcome,
                method=hop.method,
                host=hop.url.host,
                path=self._scrubber.text(shown_path(hop.url.path)),
                status=None if response is None else response.status,
                code=None if error is None else error.code,
                reason=None if error is None else error.reason,
                duration_ms=(egress._clock() - started_ns) // NS_PER_MS,
                request_bytes=self._sent_bytes,
                response_bytes=self._received_bytes,
                tenant=self._run.policy.tenant,
            )
        )
