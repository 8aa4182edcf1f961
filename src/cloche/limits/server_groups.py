"""The limits of the server: who may ask for how much, what waits, how long answers are kept."""

from __future__ import annotations

from cloche.limits.fields import KIB, MIB, Group, limit

DAY_MS = 86_400_000


class ServerLimits(Group):
    """`cloche serve`: its queue, its keys, its answers."""

    worker_count: int = limit(
        4, "count", 1, 1024, label="Workers", description="Runs that are executed at once"
    )
    tenant_worker_count_max: int = limit(
        4, "count", 1, 1024, label="Tenant Workers", description="Of them, those of one tenant"
    )
    queue_length_max: int = limit(
        1024, "count", 1, 1_000_000, label="Queue", description="Runs that wait, of all tenants"
    )
    tenant_queue_length_max: int = limit(
        256, "count", 1, 1_000_000, label="Tenant Queue", description="Runs of a tenant that wait"
    )
    retry_after_ms: int = limit(
        1000,
        "ms",
        1000,
        3_600_000,
        label="Retry After",
        description="When who was turned away is told to come back",
    )
    run_timeout_ms_max: int = limit(
        300_000,
        "ms",
        1,
        DAY_MS,
        label="Run Time",
        description="The longest time that a request may ask for a run",
    )
    run_memory_limit_bytes_max: int = limit(
        1024 * MIB,
        "bytes",
        16 * MIB,
        4096 * MIB,
        label="Run Memory",
        description="The most memory that a request may ask for a run",
    )
    body_limit_bytes: int = limit(
        32 * MIB, "bytes", KIB, 1024 * MIB, label="Body", description="JSON body of a request"
    )
    page_count_default: int = limit(
        50, "count", 1, 1000, label="Page", description="Items of a page, unless a request says"
    )
    page_count_max: int = limit(
        200, "count", 1, 1000, label="Page Maximum", description="Items of a page at most"
    )
    heartbeat_ms: int = limit(
        15_000,
        "ms",
        100,
        600_000,
        label="Heartbeat",
        description="Silence of a stream of events after which a comment is sent",
    )
    subscriber_count_max: int = limit(
        64, "count", 1, 100_000, label="Listeners", description="Streams of the events of one run"
    )
    webhook_count_max: int = limit(
        10, "count", 0, 1000, label="Webhooks", description="Webhooks of one tenant"
    )
    webhook_delivery_count_max: int = limit(
        10_000,
        "count",
        1,
        1_000_000,
        label="Webhook outbox",
        description="Messages of webhooks that wait, or failed; more are dropped",
    )
    webhook_concurrency_max: int = limit(
        16,
        "count",
        1,
        256,
        label="Webhooks at once",
        description="Messages of webhooks that are sent at the same time",
    )
    webhook_timeout_ms: int = limit(
        10_000, "ms", 100, 60_000, label="Webhook time", description="For a receiver's answer"
    )
    webhook_backoff_ms: int = limit(
        5000,
        "ms",
        10,
        3_600_000,
        label="Webhook retry",
        description="Until the second attempt; each later one waits four times as long",
    )
    webhook_backoff_ms_max: int = limit(
        21_600_000, "ms", 1000, DAY_MS, label="Webhook retry, most", description="Between attempts"
    )
    webhook_attempt_count_max: int = limit(
        10, "count", 1, 100, label="Webhook attempts", description="After so many it has failed"
    )
    webhook_keep_ms: int = limit(
        7 * DAY_MS,
        "ms",
        1000,
        90 * DAY_MS,
        label="Webhook failures",
        description="How long a message that failed can be looked at",
    )
    attach_run_count_max: int = limit(
        8,
        "count",
        1,
        1000,
        label="Attached runs",
        description="Runs of one attached client that have not ended",
    )
    mcp_session_count_max: int = limit(
        1000,
        "count",
        1,
        100_000,
        label="MCP sessions",
        description="Clients of /mcp that are connected at the same time",
    )
    idempotency_ms: int = limit(
        DAY_MS,
        "ms",
        1000,
        30 * DAY_MS,
        label="Idempotency",
        description="How long the answer to an Idempotency-Key is kept",
    )
    idempotency_body_limit_bytes: int = limit(
        8 * MIB,
        "bytes",
        KIB,
        64 * MIB,
        label="Kept Answer",
        description="Size of an answer that is kept for an Idempotency-Key",
    )
    key_count_max: int = limit(
        1000, "count", 1, 1_000_000, label="Keys", description="Keys of one tenant, without revoked"
    )
    key_used_interval_ms: int = limit(
        60_000,
        "ms",
        0,
        DAY_MS,
        label="Last Used",
        description="How exactly it is kept when a key was last used",
    )
    session_count_max: int = limit(
        10_000, "count", 1, 10_000_000, label="Sessions", description="Sessions of one tenant"
    )
    tenant_run_rate_limit: int = limit(
        0,
        "count",
        0,
        1_000_000_000,
        label="Run Rate",
        description="Runs and scripts that one tenant begins in a minute; 0 is no limit",
    )
    tenant_run_burst_max: int = limit(
        60,
        "count",
        1,
        1_000_000_000,
        label="Run Burst",
        description="Runs and scripts that one tenant begins at once, where there is a rate",
    )
    tenant_stored_limit_bytes: int = limit(
        0,
        "bytes",
        0,
        1 << 50,
        label="Stored",
        description="Contents of the sessions of one tenant, as kept; 0 is no limit",
    )
    tenant_entry_count_max: int = limit(
        10_000,
        "count",
        0,
        1_000_000,
        label="Allowlist Entries",
        description="Entries of outbound HTTP in all lists of one tenant",
    )
    tenant_secret_count_max: int = limit(
        1000, "count", 0, 1_000_000, label="Secrets", description="Secrets of one tenant"
    )
    tenant_mcp_session_count_max: int = limit(
        100,
        "count",
        1,
        100_000,
        label="MCP sessions of a tenant",
        description="Clients of /mcp of one tenant that are connected at the same time",
    )
    audit_count_max: int = limit(
        10_000,
        "count",
        1,
        10_000_000,
        label="Audit",
        description="Changes of a tenant that are remembered, the newest",
    )
    drain_ms: int = limit(
        10_000,
        "ms",
        0,
        600_000,
        label="Drain",
        description="Time that runs have to end when the server is asked to stop",
    )
    worker_start_ms: int = limit(
        60_000,
        "ms",
        1000,
        600_000,
        label="Worker Start",
        description="Time that a worker process has until it is ready; runs wait for it as long",
    )
    worker_retry_ms_max: int = limit(
        30_000,
        "ms",
        100,
        600_000,
        label="Worker Retry",
        description="The longest pause before a worker process that keeps ending is replaced",
    )
    worker_settled_ms: int = limit(
        10_000,
        "ms",
        0,
        600_000,
        label="Worker Settled",
        description="A worker process that lived for as long is replaced at once",
    )
    worker_grace_ms: int = limit(
        10_000,
        "ms",
        100,
        600_000,
        label="Worker Grace",
        description="Time after which a worker process that does not stop a run is ended",
    )
    worker_app_count_max: int = limit(
        16,
        "count",
        1,
        1000,
        label="Worker Apps",
        description="Versions of apps that a worker process has at hand; others wait in the server",
    )
    worker_frame_limit_bytes: int = limit(
        1152 * MIB,
        "bytes",
        16 * MIB,
        4095 * MIB,
        label="Worker Frame",
        description="Size of one message between the server and a worker process",
    )
