"""The limits of hosted apps: what each may keep, ask of its storage, and leave to do later."""

from __future__ import annotations

from cloche.limits.fields import GIB, KIB, MIB, Group, limit

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class AppsLimits(Group):
    """Hosted apps: versions, requests, storage, jobs; each for one app unless it says otherwise."""

    # --- versions ---

    app_file_count_max: int = limit(
        2000, "count", 1, 100_000, label="Files", description="Files of one version of an app"
    )
    app_count_max: int = limit(
        1000, "count", 1, 100_000, label="Apps", description="Apps of one server, of all tenants"
    )
    version_count_max: int = limit(
        20, "count", 2, 1000, label="Versions", description="Versions of an app that are kept"
    )
    action_count_max: int = limit(
        200,
        "count",
        10,
        100_000,
        label="Actions",
        description="Deployments, rollbacks and other changes of an app that can be looked at",
    )
    manifest_limit_bytes: int = limit(
        64 * KIB, "bytes", KIB, MIB, label="Manifest", description="The manifest of an app"
    )
    environment_count_max: int = limit(
        128, "count", 0, 10_000, label="Environment", description="Variables of one app"
    )
    host_count_max: int = limit(
        32, "count", 0, 1000, label="Hosts", description="Host names, and path prefixes, of an app"
    )
    build_timeout_ms: int = limit(
        20_000,
        "ms",
        1,
        600_000,
        label="Build Time",
        description="Evaluating the top level of an app, once per version",
    )
    image_count_max: int = limit(
        16,
        "count",
        1,
        1000,
        label="Images",
        description="Versions whose evaluated state a process holds in memory",
    )

    # --- requests ---

    request_timeout_ms: int = limit(
        30_000,
        "ms",
        1,
        3_600_000,
        label="Request Time",
        description="The most that a manifest may ask for one request, its stream included",
    )
    request_limit_bytes: int = limit(
        16 * MIB, "bytes", 0, 4096 * MIB, label="Request", description="Body of a request"
    )
    request_inline_limit_bytes: int = limit(
        256 * KIB,
        "bytes",
        0,
        16 * MIB,
        label="Small Request",
        description="A body up to this size is given to the app at once, a larger one as it reads",
    )
    request_stall_ms: int = limit(
        5000,
        "ms",
        10,
        600_000,
        label="Request Stall",
        description="A client that sends nothing for so long while an app waits for it has left",
    )
    request_piece_limit_bytes: int = limit(
        256 * KIB,
        "bytes",
        KIB,
        4 * MIB,
        label="Request Piece",
        description="What an app reads of a larger body at once",
    )
    response_limit_bytes: int = limit(
        256 * MIB, "bytes", 0, 64 * 1024 * MIB, label="Response", description="Body of a response"
    )
    response_header_count_max: int = limit(
        128, "count", 1, 10_000, label="Headers", description="Header lines of a response"
    )
    response_header_limit_bytes: int = limit(
        32 * KIB, "bytes", KIB, MIB, label="Header", description="All header lines of a response"
    )
    response_buffer_limit_bytes: int = limit(
        MIB,
        "bytes",
        KIB,
        256 * MIB,
        label="Response Buffer",
        description="What of a streamed response waits for its client before the app waits, too",
    )
    effect_count_max: int = limit(
        100_000,
        "count",
        1,
        10_000_000,
        label="Effects",
        description="Effects of one request: storage, calls, pieces of its response",
    )
    socket_count_max: int = limit(
        64,
        "count",
        1,
        4096,
        label="WebSockets",
        description="WebSockets of all apps of a server that are open at the same time",
    )
    socket_timeout_ms: int = limit(
        3_600_000,
        "ms",
        1,
        86_400_000,
        label="WebSocket Time",
        description="One WebSocket that an app handles, from its request to its end",
    )
    socket_message_limit_bytes: int = limit(
        512 * KIB,
        "bytes",
        KIB,
        8 * MIB,
        label="WebSocket Message",
        description="A message that an app sends or gets",
    )
    warm_request_count_max: int = limit(
        1000,
        "count",
        1,
        1_000_000,
        label="Warm Requests",
        description="Requests that one warm instance answers before it is replaced",
    )
    warm_instance_count_max: int = limit(
        4,
        "count",
        1,
        1000,
        label="Warm Instances",
        description="Instances of a version that wait, ready",
    )
    log_line_count_max: int = limit(
        5000,
        "count",
        100,
        1_000_000,
        label="Log",
        description="Lines of an app's log that are kept",
    )
    recorded_count_max: int = limit(
        1000,
        "count",
        1,
        1_000_000,
        label="Recorded requests",
        description="Requests of an app that can be replayed; the oldest go",
    )
    recorded_request_limit_bytes: int = limit(
        16 * MIB,
        "bytes",
        KIB,
        1024 * MIB,
        label="Recorded request",
        description="The journal of one request; a longer one is not recorded",
    )
    recorded_limit_bytes: int = limit(
        256 * MIB,
        "bytes",
        KIB,
        1024 * GIB,
        label="Recorded requests' size",
        description="Journals of an app's recorded requests together; the oldest go",
    )
    thread_count_max: int = limit(
        32,
        "count",
        1,
        1024,
        label="Requests at once",
        description="Requests of all apps that a server runs at the same time",
    )
    request_concurrency_max: int = limit(
        16,
        "count",
        1,
        1024,
        label="Requests of an app",
        description="Requests of one app that run at the same time",
    )
    request_queue_max: int = limit(
        64,
        "count",
        0,
        100_000,
        label="Waiting requests",
        description="Requests of one app that wait for its others; more are answered 503",
    )
    log_line_limit_bytes: int = limit(
        16 * KIB, "bytes", 64, MIB, label="Log Line", description="One line of an app's log"
    )

    # --- kv ---
    kv_count_max: int = limit(
        100_000, "count", 1, 100_000_000, label="KV Keys", description="Keys of an app"
    )
    kv_limit_bytes: int = limit(
        64 * MIB, "bytes", KIB, 1024 * GIB, label="KV Size", description="Keys and values together"
    )
    kv_key_limit_bytes: int = limit(
        512, "bytes", 16, 2 * KIB, label="KV Key", description="Length of one key"
    )
    kv_value_limit_bytes: int = limit(
        MIB, "bytes", 16, 64 * MIB, label="KV Value", description="Size of one value, as JSON"
    )

    # --- docs ---
    doc_count_max: int = limit(
        100_000, "count", 1, 100_000_000, label="Documents", description="Documents of an app"
    )
    docs_limit_bytes: int = limit(
        256 * MIB,
        "bytes",
        KIB,
        1024 * GIB,
        label="Documents Size",
        description="Documents and entries of their indexes together",
    )
    doc_limit_bytes: int = limit(
        256 * KIB, "bytes", 64, 64 * MIB, label="Document", description="Size of one, as JSON"
    )
    doc_depth_max: int = limit(
        32, "count", 1, 64, label="Document Depth", description="Nesting of one document"
    )
    doc_index_count_max: int = limit(
        32, "count", 0, 1000, label="Indexes", description="Indexed fields of an app"
    )
    query_depth_max: int = limit(
        8, "count", 1, 64, label="Query Depth", description="Nesting of $and, $or and $not"
    )
    query_operator_count_max: int = limit(
        100,
        "count",
        1,
        10_000,
        label="Query Operators",
        description="Conditions of one query, and values of its lists",
    )
    query_scan_count_max: int = limit(
        50_000,
        "count",
        1,
        100_000_000,
        label="Query Scan",
        description="Documents that one query or update may look at",
    )

    # --- blobs ---
    blob_count_max: int = limit(
        10_000, "count", 1, 100_000_000, label="Blobs", description="Blobs of an app"
    )
    blobs_limit_bytes: int = limit(
        GIB, "bytes", KIB, 1024 * GIB, label="Blobs Size", description="Contents together"
    )
    blob_limit_bytes: int = limit(
        128 * MIB, "bytes", KIB, 64 * GIB, label="Blob", description="Size of one blob"
    )
    blob_chunk_bytes: int = limit(
        512 * KIB,
        "bytes",
        KIB,
        4 * MIB,
        label="Blob Chunk",
        description="What one effect carries of a blob that is read or written in parts",
    )
    upload_count_max: int = limit(
        16, "count", 1, 1000, label="Uploads", description="Blobs that are being written"
    )
    upload_idle_ms: int = limit(
        60_000,
        "ms",
        1000,
        HOUR_MS,
        label="Upload Idle",
        description="Silence after which a blob that is being written may be dropped",
    )

    # --- sql ---
    sql_limit_bytes: int = limit(
        64 * MIB, "bytes", 64 * KIB, 1024 * GIB, label="SQL Size", description="Database of an app"
    )
    sql_timeout_ms: int = limit(
        2000, "ms", 1, 60_000, label="SQL Time", description="Statements of one effect together"
    )
    sql_row_count_max: int = limit(
        10_000, "count", 1, 1_000_000, label="SQL Rows", description="Rows of one result"
    )
    sql_result_limit_bytes: int = limit(
        4 * MIB, "bytes", KIB, 64 * MIB, label="SQL Result", description="Values of one result"
    )
    sql_value_limit_bytes: int = limit(
        MIB, "bytes", KIB, 64 * MIB, label="SQL Value", description="One value, row or statement"
    )
    sql_statement_count_max: int = limit(
        100, "count", 1, 10_000, label="SQL Batch", description="Statements of one batch"
    )
    sql_open_count_max: int = limit(
        64,
        "count",
        1,
        10_000,
        label="SQL Files",
        description="Databases that a process has open, of all apps",
    )

    # --- jobs ---
    job_queue_length_max: int = limit(
        100, "count", 1, 1_000_000, label="Job Queue", description="Jobs of an app that wait"
    )
    job_data_limit_bytes: int = limit(
        256 * KIB, "bytes", 64, 16 * MIB, label="Job Data", description="What a job is given"
    )
    job_checkpoint_limit_bytes: int = limit(
        MIB, "bytes", 64, 16 * MIB, label="Job Checkpoint", description="What a job keeps"
    )
    job_concurrency_max: int = limit(
        5, "count", 1, 1000, label="App Jobs", description="Jobs of an app that run at once"
    )
    job_worker_count: int = limit(
        20, "count", 1, 1000, label="Jobs", description="Jobs of a process that run at once"
    )
    job_timeout_ms_max: int = limit(
        30 * 60_000, "ms", 1, DAY_MS, label="Job Time", description="The longest time of a job"
    )
    job_retry_count_max: int = limit(
        20, "count", 0, 1000, label="Job Retries", description="Attempts after the first"
    )
    job_backoff_ms_max: int = limit(
        60_000,
        "ms",
        1,
        DAY_MS,
        label="Job Backoff",
        description="The longest wait before the next attempt; each is twice the one before",
    )
    job_delay_ms_max: int = limit(
        30 * DAY_MS, "ms", 0, 366 * DAY_MS, label="Job Delay", description="How far ahead"
    )
    job_lease_ms: int = limit(
        30_000,
        "ms",
        100,
        HOUR_MS,
        label="Job Lease",
        description="Silence of a process after which its jobs are taken by another",
    )
    job_lost_count_max: int = limit(
        3,
        "count",
        0,
        1000,
        label="Lost Jobs",
        description="How often a job is taken again after its process died",
    )
    job_poll_ms: int = limit(
        500,
        "ms",
        10,
        60_000,
        label="Job Poll",
        description="How often a process looks for jobs that others made",
    )
    job_kept_count_max: int = limit(
        10_000,
        "count",
        1,
        10_000_000,
        label="Kept Jobs",
        description="Jobs of an app that ended and can be asked for; the oldest go",
    )
    job_keep_ms: int = limit(
        7 * DAY_MS,
        "ms",
        0,
        366 * DAY_MS,
        label="Ended Jobs",
        description="How long a job that ended can be asked for",
    )
    schedule_count_max: int = limit(
        32, "count", 0, 1000, label="Schedules", description="Schedules of an app"
    )
    schedule_catch_up_count_max: int = limit(
        10,
        "count",
        1,
        1000,
        label="Missed Schedules",
        description="Firings missed while no process ran that are made up for, the newest",
    )

    # --- all storage ---
    list_count_max: int = limit(
        1000, "count", 1, 100_000, label="Storage List", description="Entries of one answer"
    )
    storage_left_min_ms: int = limit(
        50,
        "ms",
        0,
        60_000,
        label="Storage Time",
        description="What a run must have left; SQL gets at most half of it",
    )
    effect_memory_ms: int = limit(
        DAY_MS,
        "ms",
        1000,
        30 * DAY_MS,
        label="Effect Memory",
        description="How long a write is known, so that a repeat of it changes nothing",
    )
