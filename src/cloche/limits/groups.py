"""Every limit of the system, declared once.

The groups hardware, storage, runtime, capacity and net are `system.Limits` of seed 001; the others
are this project's. A field without a range is a reading or an estimate and cannot be configured.
"""

from __future__ import annotations

from cloche.limits.fields import GIB, KIB, MIB, Group, limit

FALLBACK_RAM_BYTES = 512 * MIB  # when nothing tells how much there is


class HardwareLimits(Group):
    """What the machine has."""

    total_ram: int = limit(
        FALLBACK_RAM_BYTES, "bytes", label="Total RAM", description="Detected system memory"
    )
    available_ram: int = limit(
        FALLBACK_RAM_BYTES,
        "bytes",
        label="Available RAM",
        description="Estimate of the memory that is available; equal to the total",
    )
    cpu_cores: int = limit(1, "count", label="CPU Cores", description="Detected CPU cores")


class StorageLimits(Group):
    """Files and rows that are kept."""

    max_vfs: int = limit(
        FALLBACK_RAM_BYTES // 4,
        "bytes",
        10 * MIB,
        GIB,
        label="VFS Cache",
        description="Files of apps that are held ready; by default a quarter of the memory",
    )
    max_upload: int = limit(
        FALLBACK_RAM_BYTES // 10,
        "bytes",
        MIB,
        100 * MIB,
        label="Max Upload",
        description="Files of one request; by default a tenth of the memory, from 10 MiB up",
    )
    write_queue: int = limit(
        1000, "count", 100, 10_000, label="Write Queue", description="Writes to journals that wait"
    )
    max_file_size: int = limit(
        100 * MIB, "bytes", MIB, GIB, label="Max File", description="Size of one file of an app"
    )
    max_site_size: int = limit(
        500 * MIB, "bytes", 10 * MIB, 5 * GIB, label="Max Site", description="One version of an app"
    )
    max_log_rows: int = limit(
        500_000,
        "count",
        10_000,
        5_000_000,
        label="Max Log Rows",
        description="Rows of the activity log",
    )


class RuntimeLimits(Group):
    """One request to a hosted app."""

    exec_timeout: int = limit(
        5000,
        "ms",
        100,
        10_000,
        label="Exec Timeout",
        description="Time of one request to an app, unless its manifest asks for another",
    )
    max_memory: int = limit(
        50 * MIB,
        "bytes",
        MIB,
        256 * MIB,
        label="Max Memory",
        description="What one request may add to the memory of its app, unless the manifest says "
        "more",
    )


class CapacityLimits(Group):
    """What the machine can serve: estimates, and the ceilings that follow."""

    users: int = limit(
        50,
        "count",
        label="Concurrent Users",
        description="Careful estimate of users; 50 per scale factor",
    )
    users_max: int = limit(
        100,
        "count",
        label="Max Users",
        description="Best-case estimate of users; 100 per scale factor",
    )
    reads: int = limit(
        200,
        "req/s",
        label="Read Throughput",
        description="Estimate of reads; 200 per scale factor",
    )
    writes: int = limit(
        100,
        "req/s",
        label="Write Throughput",
        description="Estimate of writes; 100, and 25 for each scale factor after the first",
    )
    mixed: int = limit(
        150,
        "req/s",
        label="Mixed Throughput",
        description="Estimate at 80 % reads and 20 % writes; 150 per scale factor",
    )
    max_requests: int = limit(
        500, "count", 50, 5000, label="Max Concurrent", description="Requests to apps at one time"
    )
    timeout_ms: int = limit(
        5000,
        "ms",
        1000,
        30_000,
        label="Request Timeout",
        description="Wait of a request for its app",
    )


class NetLimits(Group):
    """Outbound HTTP."""

    max_calls: int = limit(
        5, "count", 1, 20, label="Max Calls", description="Outbound calls per request"
    )
    call_timeout: int = limit(
        4000, "ms", 1000, 10_000, label="Call Timeout", description="Time for one outbound call"
    )
    budget: int = limit(
        4000, "ms", 1000, 10_000, label="HTTP Budget", description="Outbound time per request"
    )
    app_concurrency: int = limit(
        5, "count", 1, 20, label="App Concurrency", description="Outbound calls at once per app"
    )
    concurrency: int = limit(
        20,
        "count",
        5,
        100,
        label="Concurrency",
        description="Outbound calls at once in all; by default 10 per scale factor, 20 to 100",
    )
    max_req_body: int = limit(
        MIB, "bytes", KIB, 10 * MIB, label="Max Request", description="Size of an outgoing body"
    )
    max_response: int = limit(
        MIB,
        "bytes",
        KIB,
        10 * MIB,
        label="Max Response",
        description="Size of a response body; 10 MiB is the hard cap",
    )
    max_redirects: int = limit(
        3, "count", 0, 10, label="Max Redirects", description="Redirects that are followed"
    )
    rate_limit: int = limit(
        0, "req/min", 0, 1000, label="Rate Limit", description="Calls per domain; 0 is off"
    )
    rate_burst: int = limit(
        0, "count", 0, 100, label="Rate Burst", description="Calls above the rate, at once"
    )
    log_buffer: int = limit(
        1000, "count", 100, 10_000, label="Log Buffer", description="Log entries before a flush"
    )
    log_flush: int = limit(
        1000, "ms", 500, 10_000, label="Log Flush", description="Time between flushes of the log"
    )
    cache_max_items: int = limit(
        0, "count", 0, 10_000, label="Cache Items", description="Cached responses; 0 is off"
    )
    cache_max_bytes: int = limit(
        0, "bytes", 0, 100 * MIB, label="Cache Size", description="Memory of the cache; 0 is off"
    )


class GuestsLimits(Group):
    """One run of a guest."""

    timeout_ms: int = limit(
        5000,
        "ms",
        1,
        86_400_000,
        label="Timeout",
        description="Wall time of a run; waiting for a person does not count",
    )
    memory_limit_bytes: int = limit(
        256 * MIB,
        "bytes",
        16 * MIB,
        4 * GIB,
        label="Memory",
        description="Linear memory of a guest; a Python guest starts at 40 MiB",
    )
    fuel: int = limit(
        0,
        "instructions",
        0,
        10**15,
        label="Fuel",
        description="Instructions of a run; 0 does not count them",
    )
    stdin_limit_bytes: int = limit(
        64 * MIB, "bytes", 0, GIB, label="Input", description="Standard input of a run"
    )
    code_limit_bytes: int = limit(
        MIB, "bytes", 1, 64 * MIB, label="Program", description="Size of a program's text"
    )
    output_limit_bytes: int = limit(
        4 * MIB,
        "bytes",
        0,
        GIB,
        label="Output",
        description="Standard output and error of a run, together",
    )
    file_limit_bytes: int = limit(
        32 * MIB, "bytes", 0, GIB, label="File", description="Size of one file"
    )
    files_limit_bytes: int = limit(
        128 * MIB, "bytes", 0, 4 * GIB, label="Files", description="Size of all files together"
    )
    file_count_max: int = limit(
        10_000, "count", 0, 1_000_000, label="File Count", description="Files and folders"
    )
    path_limit_bytes: int = limit(
        4096, "bytes", 64, 65_536, label="Path", description="Length of a path"
    )
    path_depth_max: int = limit(
        64, "count", 1, 256, label="Path Depth", description="Folders inside folders"
    )
    open_file_count_max: int = limit(
        256, "count", 8, 65_536, label="Open Files", description="Files open at the same time"
    )
    argument_count_max: int = limit(
        256, "count", 0, 65_536, label="Arguments", description="Number of arguments"
    )
    argument_limit_bytes: int = limit(
        64 * KIB, "bytes", 0, MIB, label="Argument Size", description="All arguments together"
    )
    environment_limit_bytes: int = limit(
        64 * KIB, "bytes", 0, MIB, label="Environment Size", description="All variables together"
    )
    environment_count_max: int = limit(
        256, "count", 0, 65_536, label="Environment", description="Number of variables"
    )
    turn_count_max: int = limit(
        100_000, "count", 1, 10**9, label="Turns", description="Turns of a run"
    )
    host_call_count_max: int = limit(
        10_000_000, "count", 1, 10**12, label="Host Calls", description="Host calls of a run"
    )
    stack_limit_bytes: int = limit(
        8 * MIB,
        "bytes",
        8 * MIB,
        8 * MIB,
        label="Stack",
        description="WebAssembly stack of a guest; fixed when its module is compiled",
    )
    message_limit_bytes: int = limit(
        16 * MIB, "bytes", KIB, GIB, label="Message", description="Size of one host call's message"
    )


class GateLimits(Group):
    """Effects and journals."""

    effect_count_max: int = limit(
        10_000, "count", 0, 10**9, label="Effects", description="Effects of a run"
    )
    effect_concurrency_max: int = limit(
        32, "count", 1, 1024, label="Concurrency", description="Effects in flight in a run"
    )
    args_limit_bytes: int = limit(
        MIB, "bytes", 16, GIB, label="Arguments", description="Arguments of one effect, as JSON"
    )
    value_limit_bytes: int = limit(
        8 * MIB, "bytes", 16, GIB, label="Value", description="Value of one effect, as JSON"
    )
    value_depth_max: int = limit(
        64, "count", 1, 512, label="Value Depth", description="Nesting of arguments and values"
    )
    target_limit_bytes: int = limit(
        2048, "bytes", 1, 65_536, label="Target", description="Name of what an effect is aimed at"
    )
    journal_entry_limit_bytes: int = limit(
        16 * MIB, "bytes", KIB, GIB, label="Journal Entry", description="Size of one entry"
    )
    journal_entry_count_max: int = limit(
        1_000_000, "count", 1, 10**9, label="Journal Entries", description="Entries of a journal"
    )
    journal_limit_bytes: int = limit(
        GIB, "bytes", KIB, 1024 * GIB, label="Journal", description="Size of a journal"
    )


class EngineLimits(Group):
    """Images and instances of a process."""

    tick_ms: int = limit(5, "ms", 1, 1000, label="Tick", description="Resolution of deadlines")
    pool_size: int = limit(
        2, "count", 0, 1024, label="Pool", description="Ready instances kept per image in use"
    )
    snapshot_limit_bytes: int = limit(
        GIB, "bytes", MIB, 16 * GIB, label="Snapshot", description="Size of an opened snapshot"
    )
    compile_lock_timeout_ms: int = limit(
        600_000,
        "ms",
        1000,
        86_400_000,
        label="Compile Wait",
        description="Time to wait for another process that compiles the same module",
    )
    image_count_max: int = limit(
        32, "count", 1, 1024, label="Images", description="Images that a process keeps"
    )


class SessionsLimits(Group):
    """Sessions: what is live in one process, and who waits."""

    live_count_max: int = limit(
        32, "count", 1, 100_000, label="Live", description="Sessions awake at once in a process"
    )
    idle_ms: int = limit(
        60_000,
        "ms",
        0,
        86_400_000,
        label="Idle",
        description="Time without a run after which a session is put to sleep",
    )
    queue_length_max: int = limit(
        16, "count", 0, 10_000, label="Queue", description="Runs that wait for one session"
    )
    queue_timeout_ms: int = limit(
        60_000,
        "ms",
        0,
        86_400_000,
        label="Queue Wait",
        description="Time that a run waits for the one before it",
    )
    suspend_after_ms: int = limit(
        1000,
        "ms",
        0,
        3_600_000,
        label="Suspend After",
        description="Durable waits longer than this put their run away",
    )
    lease_ms: int = limit(
        15_000,
        "ms",
        100,
        3_600_000,
        label="Lease",
        description="Time after which a process that died no longer holds a session",
    )
    snapshot_count_max: int = limit(
        8, "count", 1, 1000, label="Snapshots", description="Newest snapshots kept of a session"
    )
    name_limit_bytes: int = limit(
        200, "bytes", 1, 4096, label="Name", description="Length of a session's name"
    )
    archive_limit_bytes: int = limit(
        GIB, "bytes", MIB, 64 * GIB, label="Archive", description="Size of an exported session"
    )


class StoreLimits(Group):
    """Where sessions, runs, journals and blobs are kept."""

    busy_timeout_ms: int = limit(
        10_000,
        "ms",
        0,
        600_000,
        label="Busy Wait",
        description="Time to wait for another process that holds the database",
    )
    connect_timeout_ms: int = limit(
        10_000,
        "ms",
        1000,
        600_000,
        label="Connect",
        description="Time to reach a database server",
    )
    connection_count_max: int = limit(
        16, "count", 2, 1000, label="Connections", description="Connections of one process"
    )
    page_count_max: int = limit(
        10_000, "count", 1, 1_000_000, label="Page", description="Rows that one call returns"
    )
    document_limit_bytes: int = limit(
        64 * MIB,
        "bytes",
        KIB,
        512 * MIB,
        label="Document",
        description="Size of one document of a row: a request, a result, an approval",
    )
    group_count_max: int = limit(
        512, "count", 1, 100_000, label="Group", description="Appends that share a transaction"
    )
    group_limit_bytes: int = limit(
        64 * MIB,
        "bytes",
        KIB,
        GIB,
        label="Group Size",
        description="Size from which on appends wait for the next transaction",
    )
    blob_limit_bytes: int = limit(
        4 * GIB, "bytes", KIB, 1024 * GIB, label="Blob", description="Size of one blob"
    )
    blob_chunk_bytes: int = limit(
        MIB,
        "bytes",
        KIB,
        64 * MIB,
        label="Blob Chunk",
        description="Part of a blob that is compressed, kept and read as one",
    )


class EgressLimits(Group):
    """Outbound HTTP beyond what `net` says."""

    url_limit_bytes: int = limit(
        8 * KIB, "bytes", 64, 64 * KIB, label="URL", description="Length of a URL"
    )
    entry_count_max: int = limit(
        1000, "count", 0, 100_000, label="Entries", description="Entries of one allowlist"
    )
    header_count_max: int = limit(
        100, "count", 1, 1000, label="Headers", description="Header fields of a request or response"
    )
    header_limit_bytes: int = limit(
        64 * KIB, "bytes", KIB, MIB, label="Header Size", description="All header fields together"
    )
    resolve_timeout_ms: int = limit(
        5000, "ms", 10, 60_000, label="Resolve", description="Time to find a host's addresses"
    )
    connect_timeout_ms: int = limit(
        5000, "ms", 10, 60_000, label="Connect", description="Time for a connection with its TLS"
    )
    header_timeout_ms: int = limit(
        5000, "ms", 10, 60_000, label="First Bytes", description="Time until a response's headers"
    )
    call_min_ms: int = limit(
        20,
        "ms",
        1,
        10_000,
        label="Least Time",
        description="Calls are refused when less of their time budget is left",
    )
    run_left_min_ms: int = limit(
        1000,
        "ms",
        0,
        86_400_000,
        label="Least Run Time",
        description="Calls are refused when less of their run's own time is left",
    )
    run_reserve_ms: int = limit(
        500,
        "ms",
        0,
        86_400_000,
        label="Kept of a Run",
        description="Time of a run that calls leave to it, to do something with the answer",
    )
    slot_timeout_ms: int = limit(
        1000,
        "ms",
        0,
        60_000,
        label="Slot Wait",
        description="Time that a call waits for its turn; 0 refuses at once",
    )
    waiting_count_max: int = limit(
        200, "count", 0, 10_000, label="Waiting", description="Calls that wait for their turn"
    )
    address_count_max: int = limit(
        16, "count", 1, 256, label="Addresses", description="Addresses of one host that are tried"
    )
    attempt_delay_ms: int = limit(
        250,
        "ms",
        10,
        5000,
        label="Attempt Delay",
        description="Time before the next address is tried beside the last one",
    )
    idle_ms: int = limit(
        10_000, "ms", 0, 600_000, label="Idle", description="Time that an unused connection is kept"
    )
    run_bytes_max: int = limit(
        64 * MIB,
        "bytes",
        KIB,
        64 * GIB,
        label="Run Bytes",
        description="Bodies that one run sends and receives, together",
    )
    bucket_count_max: int = limit(
        10_000,
        "count",
        1,
        1_000_000,
        label="Buckets",
        description="Domains whose rate and failures are remembered",
    )
    breaker_failure_count: int = limit(
        5,
        "count",
        0,
        1000,
        label="Breaker",
        description="Failures in a row after which a domain is left alone; 0 is off",
    )
    breaker_open_ms: int = limit(
        10_000, "ms", 1, 3_600_000, label="Breaker Pause", description="Time before the next try"
    )
    secret_count_max: int = limit(
        1000, "count", 0, 100_000, label="Secrets", description="Secrets of one store"
    )
    secret_limit_bytes: int = limit(
        8 * KIB, "bytes", 1, 64 * KIB, label="Secret", description="Size of one secret's value"
    )
    secret_overlap_ms: int = limit(
        86_400_000,
        "ms",
        0,
        30 * 86_400_000,
        label="Rotation",
        description="Time that a replaced value is still looked for in responses",
    )
    log_row_count_max: int = limit(
        500_000, "count", 1000, 5_000_000, label="Log Rows", description="Decisions that are kept"
    )


class ArchLimits(Group):
    """The architecture check."""

    module_count_max: int = limit(
        5000, "count", 1, 1_000_000, label="Modules", description="Modules of a project"
    )
    edge_count_max: int = limit(
        50_000, "count", 1, 10_000_000, label="Imports", description="Imports between modules"
    )
    finding_count_max: int = limit(
        2000, "count", 1, 1_000_000, label="Findings", description="Findings of one check"
    )
    document_limit_bytes: int = limit(
        4 * MIB, "bytes", KIB, GIB, label="Document", description="Size of one contract document"
    )
