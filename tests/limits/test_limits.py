"""Tests of the declared limits, their ranges, and what is derived from a machine."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
from pathlib import Path

import pytest

from cloche.limits import (
    GROUPS,
    RETIRED,
    SPECIFICATIONS,
    Hardware,
    LimitError,
    LimitRangeError,
    Limits,
    LimitTypeError,
    LimitUnknownError,
    derive,
)
from cloche.limits.fields import GIB, KIB, MIB
from cloche.limits.limits import scale_factor

SETTABLE = [spec for spec in SPECIFICATIONS.values() if not spec.read_only]
ESTIMATES = [spec for spec in SPECIFICATIONS.values() if spec.read_only]

# Seed 001: name -> (label, unit, range or None if read-only, default or None if detected).
# A count has no unit there; requests per minute have theirs in the description.
SEED_001 = {
    "hardware.total_ram": ("Total RAM", "bytes", None, None),
    "hardware.available_ram": ("Available RAM", "bytes", None, None),
    "hardware.cpu_cores": ("CPU Cores", "count", None, None),
    "storage.max_vfs": ("VFS Cache", "bytes", (10485760, 1073741824), None),
    "storage.max_upload": ("Max Upload", "bytes", (1048576, 104857600), None),
    "storage.write_queue": ("Write Queue", "count", (100, 10000), 1000),
    "storage.max_file_size": ("Max File", "bytes", (1048576, 1073741824), 100 * MIB),
    "storage.max_site_size": ("Max Site", "bytes", (10485760, 5368709120), 500 * MIB),
    "storage.max_log_rows": ("Max Log Rows", "count", (10000, 5000000), 500000),
    "runtime.exec_timeout": ("Exec Timeout", "ms", (100, 10000), 5000),
    "runtime.max_memory": ("Max Memory", "bytes", (1048576, 268435456), 50 * MIB),
    "capacity.users": ("Concurrent Users", "count", None, 50),
    "capacity.users_max": ("Max Users", "count", None, 100),
    "capacity.reads": ("Read Throughput", "req/s", None, 200),
    "capacity.writes": ("Write Throughput", "req/s", None, 100),
    "capacity.mixed": ("Mixed Throughput", "req/s", None, 150),
    "capacity.max_requests": ("Max Concurrent", "count", (50, 5000), 500),
    "capacity.timeout_ms": ("Request Timeout", "ms", (1000, 30000), 5000),
    "net.max_calls": ("Max Calls", "count", (1, 20), 5),
    "net.call_timeout": ("Call Timeout", "ms", (1000, 10000), 4000),
    "net.budget": ("HTTP Budget", "ms", (1000, 10000), 4000),
    "net.app_concurrency": ("App Concurrency", "count", (1, 20), 5),
    "net.concurrency": ("Concurrency", "count", (5, 100), 20),
    "net.max_req_body": ("Max Request", "bytes", (1024, 10485760), MIB),
    "net.max_response": ("Max Response", "bytes", (1024, 10485760), MIB),
    "net.max_redirects": ("Max Redirects", "count", (0, 10), 3),
    "net.rate_limit": ("Rate Limit", "req/min", (0, 1000), 0),
    "net.rate_burst": ("Rate Burst", "count", (0, 100), 0),
    "net.log_buffer": ("Log Buffer", "count", (100, 10000), 1000),
    "net.log_flush": ("Log Flush", "ms", (500, 10000), 1000),
    "net.cache_max_items": ("Cache Items", "count", (0, 10000), 0),
    "net.cache_max_bytes": ("Cache Size", "bytes", (0, 104857600), 0),
}
# The ceilings of this project that others rely on.
DEFAULTS = {
    "guests.timeout_ms": (5000, 1, 86_400_000),
    "guests.memory_limit_bytes": (256 * MIB, 16 * MIB, 4 * GIB),
    "guests.fuel": (0, 0, 10**15),
    "guests.stdin_limit_bytes": 64 * MIB,
    "guests.code_limit_bytes": MIB,
    "guests.output_limit_bytes": 4 * MIB,
    "guests.file_limit_bytes": 32 * MIB,
    "guests.files_limit_bytes": 128 * MIB,
    "guests.file_count_max": 10_000,
    "guests.path_limit_bytes": 4096,
    "guests.path_depth_max": 64,
    "guests.open_file_count_max": 256,
    "guests.argument_count_max": 256,
    "guests.argument_limit_bytes": 64 * KIB,
    "guests.environment_limit_bytes": 64 * KIB,
    "guests.environment_count_max": 256,
    "guests.turn_count_max": 100_000,
    "guests.host_call_count_max": 10_000_000,
    "guests.stack_limit_bytes": 8 * MIB,
    "guests.message_limit_bytes": 16 * MIB,
    "gate.effect_count_max": 10_000,
    "gate.effect_concurrency_max": 32,
    "gate.args_limit_bytes": MIB,
    "gate.value_limit_bytes": 8 * MIB,
    "gate.journal_entry_limit_bytes": 16 * MIB,
    "gate.journal_entry_count_max": 1_000_000,
    "gate.journal_limit_bytes": GIB,
    "gate.value_depth_max": 64,
    "gate.target_limit_bytes": 2048,
    "engine.tick_ms": 5,
    "engine.pool_size": 2,
    "engine.snapshot_limit_bytes": GIB,
    "engine.compile_lock_timeout_ms": 600_000,
    "engine.image_count_max": 32,
    "sessions.live_count_max": 32,
    "sessions.idle_ms": 60_000,
    "sessions.queue_length_max": 16,
    "sessions.queue_timeout_ms": 60_000,
    "sessions.suspend_after_ms": 1000,
    "sessions.lease_ms": 15_000,
    "sessions.snapshot_count_max": 8,
    "sessions.name_limit_bytes": 200,
    "sessions.archive_limit_bytes": GIB,
    "store.busy_timeout_ms": 10_000,
    "store.connect_timeout_ms": 10_000,
    "store.connection_count_max": 16,
    "store.page_count_max": 10_000,
    "store.document_limit_bytes": 64 * MIB,
    "store.group_count_max": 512,
    "store.group_limit_bytes": 64 * MIB,
    "store.blob_limit_bytes": 4 * GIB,
    "store.blob_chunk_bytes": MIB,
    "web.request_line_limit_bytes": 8 * KIB,
    "web.field_line_limit_bytes": 8 * KIB,
    "web.head_limit_bytes": 32 * KIB,
    "web.field_count_max": 100,
    "web.body_limit_bytes": MIB,
    "web.chunk_line_limit_bytes": 320,
    "web.chunk_overhead_limit_bytes": 64 * KIB,
    "web.trailer_limit_bytes": 4 * KIB,
    "web.trailer_count_max": 16,
    "web.pipelining_depth_max": 16,
    "web.websocket_message_limit_bytes": MIB,
    "web.websocket_fragment_count_max": 4096,
    "web.websocket_ping_ms": 20_000,
    "web.websocket_pong_timeout_ms": 20_000,
    "web.websocket_close_timeout_ms": 5000,
    "web.handshake_timeout_ms": 5000,
    "web.head_timeout_ms": 10_000,
    "web.idle_timeout_ms": 15_000,
    "web.body_grace_ms": 5000,
    "web.transfer_rate_min_bytes": 240,
    "web.handler_timeout_ms": 30_000,
    "web.write_stall_timeout_ms": 30_000,
    "web.linger_timeout_ms": 2000,
    "web.drain_timeout_ms": 10_000,
    "web.stream_window_bytes": 64 * KIB,
    "web.discard_limit_bytes": 256 * KIB,
    "web.connection_count_max": 1000,
    "web.address_connection_count_max": 0,
    "web.connection_request_count_max": 1000,
    "web.worker_count_max": 64,
    "web.worker_restart_ms": 1000,
    "egress.url_limit_bytes": 8192,
    "egress.entry_count_max": 1000,
    "egress.header_count_max": 100,
    "egress.header_limit_bytes": 65_536,
    "egress.resolve_timeout_ms": 5000,
    "egress.connect_timeout_ms": 5000,
    "egress.header_timeout_ms": 5000,
    "egress.call_min_ms": 20,
    "egress.run_left_min_ms": 1000,
    "egress.run_reserve_ms": 500,
    "egress.slot_timeout_ms": 1000,
    "egress.waiting_count_max": 200,
    "egress.address_count_max": 16,
    "egress.attempt_delay_ms": 250,
    "egress.idle_ms": 10_000,
    "egress.run_bytes_max": 67_108_864,
    "egress.bucket_count_max": 10_000,
    "egress.breaker_failure_count": 5,
    "egress.breaker_open_ms": 10_000,
    "egress.secret_count_max": 1000,
    "egress.secret_limit_bytes": 8192,
    "egress.secret_overlap_ms": 86_400_000,
    "egress.log_row_count_max": 500_000,
    "scripts.message_limit_bytes": 4 * MIB,
    "scripts.block_count_max": 16,
    "scripts.source_limit_bytes": 20 * KIB,
    "scripts.timeout_ms": 30_000,
    "scripts.memory_limit_bytes": 96 * MIB,
    "scripts.call_count_max": 32,
    "scripts.call_concurrency_max": 4,
    "scripts.tool_timeout_ms": 30_000,
    "scripts.args_limit_bytes": 256 * KIB,
    "scripts.result_limit_bytes": 256 * KIB,
    "scripts.return_limit_bytes": 128 * KIB,
    "scripts.return_depth_max": 8,
    "scripts.output_limit_bytes": 256 * KIB,
    "scripts.console_count_max": 200,
    "scripts.console_rate_max": 20,
    "scripts.kept_run_count_max": 10_000,
    "scripts.kept_run_ms": 30 * 24 * 3600 * 1000,
    "scripts.progress_count_max": 50,
    "scripts.progress_interval_ms": 500,
    "scripts.progress_limit_bytes": 1000,
    "scripts.grace_ms": 250,
    "scripts.tool_count_max": 2000,
    "scripts.rule_count_max": 10_000,
    "scripts.approval_expires_ms": 84375 * KIB,
    "scripts.approval_count_max": 1000,
    "scripts.shown_text_limit_bytes": 500,
    "scripts.shown_count_max": 10,
    "server.worker_count": 4,
    "server.worker_app_count_max": 16,
    "server.tenant_worker_count_max": 4,
    "server.queue_length_max": 1024,
    "server.tenant_queue_length_max": 256,
    "server.retry_after_ms": 1000,
    "server.run_timeout_ms_max": 300_000,
    "server.run_memory_limit_bytes_max": 1024 * MIB,
    "server.body_limit_bytes": 32 * MIB,
    "server.page_count_default": 50,
    "server.page_count_max": 200,
    "server.heartbeat_ms": 15_000,
    "server.subscriber_count_max": 64,
    "server.mcp_session_count_max": 1000,
    "server.attach_run_count_max": 8,
    "server.webhook_count_max": 10,
    "server.webhook_delivery_count_max": 10_000,
    "server.webhook_concurrency_max": 16,
    "server.webhook_timeout_ms": 10_000,
    "server.webhook_backoff_ms": 5000,
    "server.webhook_backoff_ms_max": 21_600_000,
    "server.webhook_attempt_count_max": 10,
    "server.webhook_keep_ms": 604_800_000,
    "server.idempotency_ms": 86_400_000,
    "server.idempotency_body_limit_bytes": 8 * MIB,
    "server.key_count_max": 1000,
    "server.key_used_interval_ms": 60_000,
    "server.session_count_max": 10_000,
    "server.tenant_run_rate_limit": 0,
    "server.tenant_run_burst_max": 60,
    "server.tenant_stored_limit_bytes": 0,
    "server.tenant_entry_count_max": 10_000,
    "server.tenant_secret_count_max": 1000,
    "server.tenant_mcp_session_count_max": 100,
    "server.audit_count_max": 10_000,
    "server.drain_ms": 10_000,
    "server.worker_start_ms": 60_000,
    "server.worker_retry_ms_max": 30_000,
    "server.worker_settled_ms": 10_000,
    "server.worker_grace_ms": 10_000,
    "server.worker_frame_limit_bytes": 1152 << 20,
    "apps.app_file_count_max": 2000,
    "apps.app_count_max": 1000,
    "apps.version_count_max": 20,
    "apps.action_count_max": 200,
    "apps.manifest_limit_bytes": 65_536,
    "apps.environment_count_max": 128,
    "apps.host_count_max": 32,
    "apps.build_timeout_ms": 20_000,
    "apps.image_count_max": 16,
    "apps.request_timeout_ms": 30_000,
    "apps.request_limit_bytes": 16_777_216,
    "apps.request_inline_limit_bytes": 262_144,
    "apps.request_stall_ms": 5000,
    "apps.request_piece_limit_bytes": 262_144,
    "apps.response_limit_bytes": 268_435_456,
    "apps.response_header_count_max": 128,
    "apps.response_header_limit_bytes": 32_768,
    "apps.response_buffer_limit_bytes": 1_048_576,
    "apps.effect_count_max": 100_000,
    "apps.socket_count_max": 64,
    "apps.socket_timeout_ms": 3_600_000,
    "apps.socket_message_limit_bytes": 524_288,
    "apps.warm_request_count_max": 1000,
    "apps.warm_instance_count_max": 4,
    "apps.log_line_count_max": 5000,
    "apps.recorded_count_max": 1000,
    "apps.recorded_request_limit_bytes": 16 * MIB,
    "apps.recorded_limit_bytes": 256 * MIB,
    "apps.thread_count_max": 32,
    "apps.request_concurrency_max": 16,
    "apps.request_queue_max": 64,
    "apps.log_line_limit_bytes": 16_384,
    "apps.kv_count_max": 100_000,
    "apps.kv_limit_bytes": 67_108_864,
    "apps.kv_key_limit_bytes": 512,
    "apps.kv_value_limit_bytes": 1_048_576,
    "apps.doc_count_max": 100_000,
    "apps.docs_limit_bytes": 268_435_456,
    "apps.doc_limit_bytes": 262_144,
    "apps.doc_depth_max": 32,
    "apps.doc_index_count_max": 32,
    "apps.query_depth_max": 8,
    "apps.query_operator_count_max": 100,
    "apps.query_scan_count_max": 50_000,
    "apps.blob_count_max": 10_000,
    "apps.blobs_limit_bytes": 1_073_741_824,
    "apps.blob_limit_bytes": 134_217_728,
    "apps.blob_chunk_bytes": 524_288,
    "apps.upload_count_max": 16,
    "apps.upload_idle_ms": 60_000,
    "apps.sql_limit_bytes": 67_108_864,
    "apps.sql_timeout_ms": 2000,
    "apps.sql_row_count_max": 10_000,
    "apps.sql_result_limit_bytes": 4_194_304,
    "apps.sql_value_limit_bytes": 1_048_576,
    "apps.sql_statement_count_max": 100,
    "apps.sql_open_count_max": 64,
    "apps.job_queue_length_max": 100,
    "apps.job_data_limit_bytes": 262_144,
    "apps.job_checkpoint_limit_bytes": 1_048_576,
    "apps.job_concurrency_max": 5,
    "apps.job_worker_count": 20,
    "apps.job_timeout_ms_max": 1_800_000,
    "apps.job_retry_count_max": 20,
    "apps.job_backoff_ms_max": 60_000,
    "apps.job_delay_ms_max": 2_592_000_000,
    "apps.job_lease_ms": 30_000,
    "apps.job_lost_count_max": 3,
    "apps.job_poll_ms": 500,
    "apps.job_kept_count_max": 10_000,
    "apps.job_keep_ms": 604_800_000,
    "apps.schedule_count_max": 32,
    "apps.schedule_catch_up_count_max": 10,
    "apps.list_count_max": 1000,
    "apps.storage_left_min_ms": 50,
    "apps.effect_memory_ms": 86_400_000,
    "arch.module_count_max": 5000,
    "arch.edge_count_max": 50_000,
    "arch.finding_count_max": 2000,
    "arch.document_limit_bytes": 4 * MIB,
}


def build(spec, value):
    """Return limits with this one value."""
    return Limits(**{spec.group: GROUPS[spec.group](**{spec.name: value})})


def test_every_limit_is_accounted_for():
    """Each limit is one of seed 001 or one of this project, and none is missing."""
    seed = {path for path in SPECIFICATIONS if path.split(".")[0] not in _own_groups()}
    assert seed == set(SEED_001)
    assert set(SPECIFICATIONS) - seed == set(DEFAULTS)


def _own_groups():
    return set("guests gate engine sessions store web egress scripts server apps arch".split())


@pytest.mark.parametrize("path", SEED_001)
def test_the_limits_of_seed_001(path):
    """Label, unit, range, default and read-only are those of the source."""
    label, unit, bounds, default = SEED_001[path]
    spec = SPECIFICATIONS[path]
    found = None if spec.minimum is None else (spec.minimum, spec.maximum)
    assert (spec.label, spec.unit, found, spec.read_only) == (label, unit, bounds, bounds is None)
    if default is not None:
        assert spec.default == default


@pytest.mark.parametrize("path", DEFAULTS)
def test_the_limits_of_this_project(path):
    """The defaults that other rooms are built on."""
    spec, expected = SPECIFICATIONS[path], DEFAULTS[path]
    found = (spec.default, spec.minimum, spec.maximum)
    assert (found if isinstance(expected, tuple) else spec.default) == expected


@pytest.mark.parametrize("spec", SETTABLE, ids=lambda spec: spec.path)
def test_the_ends_of_a_range_are_in_it(spec):
    """The smallest and the largest value are accepted, and so is the default."""
    for value in (spec.minimum, spec.maximum, spec.default):
        assert build(spec, value).to_dict()[spec.group][spec.name] == value


@pytest.mark.parametrize("spec", SETTABLE, ids=lambda spec: spec.path)
@pytest.mark.parametrize("step", [-1, 1])
def test_one_past_a_range_is_refused(spec, step):
    """The error names the limit, the value, the range and the unit."""
    value = spec.minimum - 1 if step < 0 else spec.maximum + 1
    with pytest.raises(LimitRangeError) as caught:
        build(spec, value)
    unit = "" if spec.unit == "count" else f" {spec.unit}"
    assert caught.value.message == (
        f"{spec.path} is {value}; it must be between {spec.minimum} and {spec.maximum}{unit}"
    )
    assert caught.value.to_document() == {
        "code": "LIMIT_OUT_OF_RANGE",
        "message": caught.value.message,
        "blame": "caller",
        "retryable": False,
        "fields": {
            "limit": spec.path,
            "value": value,
            "minimum": spec.minimum,
            "maximum": spec.maximum,
            "unit": spec.unit,
            "origin": "",
        },
    }


@pytest.mark.parametrize("spec", ESTIMATES, ids=lambda spec: spec.path)
def test_an_estimate_is_no_negative_number(spec):
    """A reading has no range, but less than nothing is a mistake."""
    assert build(spec, 0).to_dict()[spec.group][spec.name] == 0
    with pytest.raises(LimitRangeError, match=re.escape(f"{spec.path} is -1; it must be at least")):
        build(spec, -1)


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "True"), (1.5, "1.5"), ("5", "'5'"), (None, "None"), ([], "[]")]
)
def test_a_limit_is_a_whole_number(value, shown):
    """A bool, a fraction, a text and nothing are refused on construction."""
    with pytest.raises(LimitTypeError) as caught:
        GROUPS["guests"](timeout_ms=value)
    assert caught.value.message == f"guests.timeout_ms is {shown}; it must be a whole number of ms"
    with pytest.raises(LimitTypeError, match=r"guests\.turn_count_max is .*; it must be a whole n"):
        GROUPS["guests"](turn_count_max=value)


def test_an_endless_number_is_described():
    """A number that Python refuses to print still gets a short, JSON-ready message."""
    with pytest.raises(LimitRangeError) as caught:
        GROUPS["guests"](fuel=10**6000)
    assert caught.value.message == (
        "guests.fuel is a number of 19932 bits; "
        "it must be between 0 and 1000000000000000 instructions"
    )
    json.dumps(caught.value.to_document())


@pytest.mark.parametrize("group", [None, 5, {}, GROUPS["net"]()])
def test_a_group_is_of_its_class(group):
    """Anything else in its place is refused."""
    with pytest.raises(LimitTypeError, match=r"^guests is .*; it must be a GuestsLimits$"):
        Limits(guests=group)


def test_limits_are_frozen_and_equal_by_value():
    """Nothing can be changed or added; equal values are equal and hash alike."""
    limits = Limits()
    assert limits == Limits()
    assert hash(limits) == hash(Limits())
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.guests.timeout_ms = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.guests = GROUPS["guests"]()
    with pytest.raises(dataclasses.FrozenInstanceError):
        del limits.guests.timeout_ms
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.guests.another = 1
    assert limits.guests != GROUPS["guests"](timeout_ms=1)
    assert limits.guests != 5
    assert pickle.loads(pickle.dumps(limits)) == limits
    with pytest.raises(TypeError):
        GROUPS["guests"](5000)


def test_replace_changes_what_is_named():
    """The original stays as it was, zero is a value like others, and mistakes are named."""
    limits = Limits()
    changed = limits.replace({"guests": {"timeout_ms": 7, "output_limit_bytes": 0}, "gate": {}})
    assert (changed.guests.timeout_ms, changed.guests.output_limit_bytes) == (7, 0)
    assert changed.gate == limits.gate
    assert limits == Limits()
    with pytest.raises(LimitUnknownError, match=r"no limit guests\.timeot_ms; did you mean g"):
        limits.replace({"guests": {"timeot_ms": 7}})
    with pytest.raises(LimitUnknownError, match=r"no group of limits gests; did you mean guests\?"):
        limits.replace({"gests": {}})


def test_an_unknown_name_without_neighbours():
    """The error says where to look."""
    with pytest.raises(LimitError) as caught:
        Limits().replace({"zzz": {"q": 1}})
    assert caught.value.message == ("there is no limit zzz.q; `cloche limits` lists what there is")
    assert (caught.value.code, caught.value.nearest) == ("LIMIT_UNKNOWN", None)


@pytest.mark.parametrize(
    ("cores", "factor"),
    [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 5), (7, 5), (8, 6), (16, 10), (64, 34)],
)
def test_the_scale_factor(cores, factor):
    """Four cores count whole, those above half (seed 001)."""
    assert scale_factor(cores) == factor


@pytest.mark.parametrize(
    ("machine", "vfs", "upload", "concurrency", "capacity"),
    [
        ((GIB, 1), 256 * MIB, 100 * MIB, 20, (50, 100, 200, 100, 150)),
        ((512 * MIB, 2), 128 * MIB, 512 * MIB // 10, 20, (100, 200, 400, 125, 300)),
        ((64 * MIB, 1), 16 * MIB, 10 * MIB, 20, (50, 100, 200, 100, 150)),
        ((MIB, 3), 10 * MIB, 10 * MIB, 30, (150, 300, 600, 150, 450)),
        ((64 * GIB, 64), GIB, 100 * MIB, 100, (1700, 3400, 6800, 925, 5100)),
    ],
)
def test_what_is_derived_from_a_machine(machine, vfs, upload, concurrency, capacity):
    """The formulas of seed 001, clamped into the ranges at both ends."""
    ram, cores = machine
    limits = derive(Hardware(total_ram_bytes=ram, cpu_cores=cores))
    hardware = limits.hardware
    assert (hardware.total_ram, hardware.available_ram, hardware.cpu_cores) == (ram, ram, cores)
    assert (limits.storage.max_vfs, limits.storage.max_upload) == (vfs, upload)
    assert limits.net.concurrency == concurrency
    found = limits.capacity
    assert (found.users, found.users_max, found.reads, found.writes, found.mixed) == capacity


def test_the_defaults_are_those_of_the_fallback_machine():
    """`Limits()` is what is derived from 512 MiB and one core."""
    assert Limits() == derive(Hardware(total_ram_bytes=512 * MIB, cpu_cores=1))


# Estimates, which are shown alone. docs/limitations.md says so too.
WITHOUT_EFFECT = {
    "hardware.available_ram",
    *(f"capacity.{name}" for name in ("users", "users_max", "reads", "writes", "mixed")),
}


def test_every_limit_rules():
    """What is declared is asked for somewhere, but for what the page of limitations names."""
    root = Path(__file__).parents[2]
    asked = {
        name
        for path in (root / "src" / "cloche").rglob("*.py")
        if "limits" not in path.parts
        for name in re.findall(r"[a-z]\w+", path.read_text(encoding="utf-8"))
    }
    idle = {limit for limit in SPECIFICATIONS if limit.partition(".")[2] not in asked}
    page = (root / "docs" / "limitations.md").read_text(encoding="utf-8")
    assert idle <= WITHOUT_EFFECT
    for limit in WITHOUT_EFFECT:
        assert f"`{limit}`" in page


def test_names_that_are_gone():
    """They are of no limit, and a setting that has one is refused, while a journal may have it."""
    assert not RETIRED & set(SPECIFICATIONS)
    for path in RETIRED:
        group, _, name = path.partition(".")
        with pytest.raises(LimitUnknownError):
            Limits().replace({group: {name: 1}})
