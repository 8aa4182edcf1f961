"""What requests and answers look like as JSON: every wire shape of the server.

Pure. Times are milliseconds of the Unix epoch: nanoseconds are more than a JSON number of
JavaScript holds. A field that a body does not know is refused, so that a misspelt one is noticed.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from cloche.server.keys import Scope  # noqa: TC001 - msgspec reads it
from cloche.server.webhooks import DeliveryState, Event  # noqa: TC001 - as above

FileEncoding = Literal["utf8", "base64", "hex"]
RunState = Literal[
    "queued", "running", "suspended", "completed", "failed", "interrupted", "cancelled"
]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request brings."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the server answers."""


# --- runs ---


class FileBody(Body, frozen=True, kw_only=True):
    """A file for a run: `content` is text, or bytes in the encoding."""

    name: str
    content: str = ""
    encoding: FileEncoding = "utf8"


class LimitsBody(Body, frozen=True, kw_only=True):
    """Ceilings of a run, as golem:exec names them; null means the one of the server."""

    time_ms: int | None = None
    memory_bytes: int | None = None
    file_size_bytes: int | None = None
    max_processes: int | None = None


class RunBody(Body, frozen=True, kw_only=True):
    """A run of its own. With `keep` false nothing of it is kept: no row, no journal, no replay."""

    code: str
    language: str | None = None
    filename: str = ""
    files: list[FileBody] = []
    args: list[str] = []
    env: dict[str, str] = {}
    stdin: str = ""
    stdin_encoding: FileEncoding = "utf8"
    limits: LimitsBody | None = None
    policy: dict[str, Any] | None = None
    seed: int | None = None
    now_ns: int | None = None
    image: str | None = None
    cwd: str = "/"
    keep: bool = True


class SessionRunBody(Body, frozen=True, kw_only=True):
    """A run in a session: a program, or the session's file `entrypoint`."""

    code: str | None = None
    entrypoint: str | None = None
    filename: str = ""
    args: list[str] = []
    env: dict[str, str] = {}
    stdin: str = ""
    stdin_encoding: FileEncoding = "utf8"
    limits: LimitsBody | None = None
    policy: dict[str, Any] | None = None


class KeptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a request while its run has not ended, and who asked.

    `action` says what a worker does: a run of its own or in a session, or going on with a run of a
    session that was put away.
    """

    tenant: str
    action: Literal["run", "session_run", "resume"]
    run: RunBody | None = None
    session_run: SessionRunBody | None = None


class StageDocument(Answer, frozen=True, kw_only=True):
    """What one stage printed, and how it ended."""

    stdout: str
    stderr: str
    exit_code: int | None = None
    signal: str | None = None


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The one shape of an error."""

    code: str
    message: str
    blame: str
    retryable: bool
    fields: dict[str, Any]


class RunDocument(Answer, frozen=True, kw_only=True):
    """A run. What it printed is there when it has ended."""

    id: str
    session_id: str | None
    language: str
    status: RunState
    created_ms: int
    ended_ms: int | None = None
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    signal: str | None = None
    compile: StageDocument | None = None
    time_ms: int | None = None
    memory_bytes: int | None = None
    journal_hash: str | None = None
    error: ErrorBody | None = None


class KeptResult(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of how a run ended; sessions write the same fields but `compile`, `signal`."""

    exit_code: int | None = None
    journal_hash: str | None = None
    stdout: str = ""
    stderr: str = ""
    signal: str | None = None
    compile: StageDocument | None = None
    time_ms: int | None = None
    memory_bytes: int | None = None
    error: ErrorBody | None = None


class RunList(Answer, frozen=True, kw_only=True):
    """A page of runs, newest first, without what they printed."""

    items: list[RunDocument]
    next: str | None


class ReplayDocument(Answer, frozen=True, kw_only=True):
    """A replay that came to the same bytes; another one is an error."""

    run_id: str
    same: bool
    journal_hash: str | None


class PromiseBody(Body, frozen=True, kw_only=True):
    """What a promise is completed with: plain JSON."""

    value: Any = None


class PromiseDocument(Answer, frozen=True, kw_only=True):
    """A promise that has its value. `completed` is false when it had one before, which stays."""

    id: str
    run_id: str
    completed: bool


class EffectDocument(Answer, frozen=True, kw_only=True):
    """An effect in a timeline. `outcome` is null while it has none."""

    sequence: int
    kind: str
    target: str
    outcome: Literal["completed", "failed", "refused"] | None = None
    duration_ms: float | None = None
    args: Any = None
    error: dict[str, Any] | None = None


class TimelineDocument(Answer, frozen=True, kw_only=True):
    """The effects of a run in the order in which they began."""

    run_id: str
    effects: list[EffectDocument]


# --- scripts ---

ScriptState = Literal[
    "queued",
    "running",
    "completed",
    "suspended",
    "failed",
    "rejected",
    "cancelled",
    "rolled_back",
    "checked",
    "skipped",
]


class ScriptBody(Body, frozen=True, kw_only=True):
    """A script. With `wait` false it is answered at once, and looked at later.

    `tools` names a tool set of the server; `session` is what "always" and "never" hold for, this
    run alone where it is empty.
    """

    source: str
    language: Literal["typescript", "javascript", "python"] = "typescript"
    tools: str = "default"
    session: str = ""
    params: dict[str, Any] | None = None
    mode: Literal["enabled", "dry-run"] = "enabled"
    wait: bool = True


class MessageBody(Body, frozen=True, kw_only=True):
    """A model's message, in the form of its API, whose scripts are run in their order."""

    message: Any
    api: Literal["openai.responses", "openai.chat", "anthropic.messages"]
    tools: str = "default"
    session: str = ""
    mode: Literal["enabled", "dry-run"] = "enabled"


class KeptScript(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of who asked for a script: with which tools, and when.

    Of a script that was answered before it began also the script, and what became of it where
    nothing ran.
    """

    tools: str
    session: str
    created_ms: int
    body: ScriptBody | None = None
    result: dict[str, Any] | None = None


class ScriptDocument(Answer, frozen=True, kw_only=True):
    """A script and what became of it. The `id` is empty where nothing ran."""

    id: str
    script_id: str
    status: ScriptState
    tools: str
    session: str
    created_ms: int
    value: Any = None
    output: str = ""
    tool_calls: list[dict[str, Any]] = []
    error: dict[str, Any] | None = None
    usage: dict[str, int] = {}
    journal_id: str | None = None


class ScriptList(Answer, frozen=True, kw_only=True):
    """A page of scripts, newest first, without what they printed and called."""

    items: list[ScriptDocument]
    next: str | None


class ToolDocument(Answer, frozen=True, kw_only=True):
    """A tool that scripts may call, as the name `tools` of its set and its own name say it.

    `parameters` and `returns` are JSON Schema; `asks` says whether a person is asked before a call,
    `rule` that this depends on the arguments.
    """

    id: str
    tools: str
    name: str
    description: str
    parameters: dict[str, Any]
    returns: dict[str, Any]
    read_only: bool
    asks: Literal["yes", "no", "rule"]


class ToolList(Answer, frozen=True, kw_only=True):
    """A page of tools, by set and name."""

    items: list[ToolDocument]
    next: str | None


class MessageDocument(Answer, frozen=True, kw_only=True):
    """What became of the scripts of a message, in their order."""

    items: list[ScriptDocument]


# --- approvals ---


class ApproveBody(Body, frozen=True, kw_only=True):
    """Let a call happen: with other arguments, or with every call of this tool in the session."""

    args: dict[str, Any] | None = None
    always: bool = False
    reason: str = ""


class RejectBody(Body, frozen=True, kw_only=True):
    """Let a call not happen: nor any call of this tool in the session, or end the whole run."""

    reason: str = ""
    never: bool = False
    run: bool = False


class DecisionDocument(Answer, frozen=True, kw_only=True):
    """What was decided, and by whom."""

    verdict: Literal["approve", "reject", "always", "never", "reject_run"]
    who: str
    reason: str
    args: dict[str, Any] | None


class ApprovalDocument(Answer, frozen=True, kw_only=True):
    """A question. `args` are shown as people see them: cut, and without secrets."""

    id: str
    run_id: str
    session: str
    tool: str
    args: Any
    args_sha256: str
    status: Literal["pending", "approved", "rejected", "expired", "cancelled"]
    created_ms: int
    expires_ms: int
    line: int | None
    excerpt: str
    tools_used: list[str]
    decision: DecisionDocument | None = None
    decided_ms: int | None = None


class ApprovalList(Answer, frozen=True, kw_only=True):
    """A page of what waits for a decision, the oldest first."""

    items: list[ApprovalDocument]
    next: str | None


# --- sessions ---


class SessionBody(Body, frozen=True, kw_only=True):
    """A session to be created."""

    language: str
    name: str | None = None
    modules: list[FileBody] = []
    limits: LimitsBody | None = None
    policy: dict[str, Any] | None = None
    image: str | None = None
    seed: int | None = None
    now_ns: int | None = None


class SessionDocument(Answer, frozen=True, kw_only=True):
    """A session."""

    id: str
    name: str | None
    language: str
    cwd: str
    created_ms: int
    changed_ms: int
    operation_count: int


class SessionList(Answer, frozen=True, kw_only=True):
    """A page of sessions in the order of their ids."""

    items: list[SessionDocument]
    next: str | None


class FileDocument(Answer, frozen=True, kw_only=True):
    """One entry of a listing."""

    path: str
    kind: Literal["file", "directory", "symlink"]
    size_bytes: int
    read_only: bool


class FileList(Answer, frozen=True, kw_only=True):
    """What is in a directory, sorted by path: all of it, or a page where a limit was asked for."""

    items: list[FileDocument]
    next: str | None = None


class NameBody(Body, frozen=True, kw_only=True):
    """What a new session is called."""

    name: str | None = None


class SnapshotDocument(Answer, frozen=True, kw_only=True):
    """The name of a state that is kept."""

    snapshot: str


class RevertBody(Body, frozen=True, kw_only=True):
    """How far to go back: so many runs, or to an operation."""

    last: int | None = None
    to: int | None = None


class CwdDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The working directory."""

    path: str


class StepDocument(Answer, frozen=True, kw_only=True):
    """One operation of a session."""

    ordinal: int
    operation: str
    run_id: str | None = None
    path: str | None = None


class HistoryDocument(Answer, frozen=True, kw_only=True):
    """Operations of a session, in order: all so far, or a page where a limit was asked for."""

    items: list[StepDocument]
    next: str | None = None


# --- keys ---


class KeyBody(Body, frozen=True, kw_only=True):
    """A key to be made; with `apps` it is for these alone, and has the scope `app`."""

    scopes: list[Scope]
    name: str = ""
    tenant: str | None = None
    expires_ms: int | None = None
    apps: list[str] = []


class RotateBody(Body, frozen=True, kw_only=True):
    """How long the old key is still good."""

    overlap_ms: int = 0


class KeyDocument(Answer, frozen=True, kw_only=True):
    """A key; its text is there only when it was just made."""

    id: str
    tenant: str
    name: str
    scopes: list[Scope]
    created_ms: int
    apps: list[str] = []
    expires_ms: int | None = None
    used_ms: int | None = None
    revoked_ms: int | None = None
    key: str | None = None


class KeyList(Answer, frozen=True, kw_only=True):
    """The keys of a tenant in the order of their ids."""

    items: list[KeyDocument]
    next: str | None


# --- webhooks ---


class WebhookBody(Body, frozen=True, kw_only=True):
    """Where to tell what; all events when none are named."""

    url: str
    events: list[Event] = []


class WebhookDocument(Answer, frozen=True, kw_only=True):
    """A webhook; its secret is there only when it was just made or rotated."""

    id: str
    url: str
    events: list[Event]
    created_ms: int
    disabled: str = ""
    secret: str | None = None


class WebhookList(Answer, frozen=True, kw_only=True):
    """The webhooks of a tenant in the order of their ids."""

    items: list[WebhookDocument]


class DeliveryDocument(Answer, frozen=True, kw_only=True):
    """A message that was not taken yet. `next_ms` is null when it has failed."""

    id: str
    event: Event
    state: DeliveryState
    created_ms: int
    attempt_count: int
    next_ms: int | None = None
    problem: str = ""


class DeliveryList(Answer, frozen=True, kw_only=True):
    """What a webhook has not taken, oldest first."""

    items: list[DeliveryDocument]
    next: str | None = None


# --- the server ---


class Health(Answer, frozen=True, kw_only=True):
    """Whether the server is well; `reasons` say why not."""

    status: Literal["ok", "unavailable"]
    reasons: list[str] = []
