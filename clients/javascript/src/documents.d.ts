// Made from the server's OpenAPI by generate_types.py; do not edit.

/** Something that was done to an app. */
export interface ActionDocument {
  action: "canary" | "deploy" | "env" | "promote" | "rollback" | "start" | "stop";
  at_ms: number;
  detail: string;
  ordinal: number;
  version: string;
  who: string;
}

/** An app: what answers for it. Of its environment the names alone. */
export interface AppDocument {
  canary: string;
  changed_ms: number;
  created_ms: number;
  env: Array<string>;
  failures: number;
  hosts: Array<string>;
  live: string;
  mean_ms: number | null;
  name: string;
  prefixes: Array<string>;
  requests: number;
  running: number;
  share: number;
  stopped: boolean;
  url: string;
}

/** A question. `args` are shown as people see them: cut, and without secrets. */
export interface ApprovalDocument {
  args: unknown;
  args_sha256: string;
  created_ms: number;
  decided_ms: number | null;
  decision: DecisionDocument | null;
  excerpt: string;
  expires_ms: number;
  id: string;
  line: number | null;
  run_id: string;
  session: string;
  status: "approved" | "cancelled" | "expired" | "pending" | "rejected";
  tool: string;
  tools_used: Array<string>;
}

/** A page of what waits for a decision, the oldest first. */
export interface ApprovalList {
  items: Array<ApprovalDocument>;
  next: string | null;
}

/** Let a call happen: with other arguments, or with every call of this tool in the session. */
export interface ApproveBody {
  always?: boolean;
  args?: Record<string, unknown> | null;
  reason?: string;
}

/** A change that somebody made, and who. `key_id` is empty for whoever has the store itself. */
export interface AuditDocument {
  action: string;
  at_ms: number;
  details: Record<string, unknown>;
  id: string;
  key_id: string;
  key_name: string;
  target: string;
}

/** A page of changes, newest first. */
export interface AuditList {
  items: Array<AuditDocument>;
  next: string | null;
}

/** What the caches of the processes that serve this store hold. */
export interface CacheDocument {
  processes: Array<Record<string, unknown>>;
}

/** A call that is judged and not made. The entries `allow` and `deny` are the run's own. */
export interface CallBody {
  allow?: Array<string>;
  deny?: Array<string>;
  method?: string;
  scopes?: Array<string>;
  secret?: string | null;
  url: string;
}

/** One hop of a call that a run made, or was refused. */
export interface CallDocument {
  at_ms: number;
  code: string | null;
  duration_ms: number;
  host: string;
  id: number;
  method: string;
  outcome: "allowed" | "cached" | "denied" | "failed";
  path: string;
  reason: string | null;
  request_bytes: number;
  response_bytes: number;
  run_id: string;
  scope: string;
  status: number | null;
}

/** A page of calls, newest first. */
export interface CallList {
  items: Array<CallDocument>;
  next: string | null;
}

/** What was decided, and by whom. */
export interface DecisionDocument {
  args: Record<string, unknown> | null;
  reason: string;
  verdict: "always" | "approve" | "never" | "reject" | "reject_run";
  who: string;
}

/** A message that was not taken yet. `next_ms` is null when it has failed. */
export interface DeliveryDocument {
  attempt_count: number;
  created_ms: number;
  event: "approval.requested" | "ping" | "run.ended" | "script.ended";
  id: string;
  next_ms: number | null;
  problem: string;
  state: "failed" | "pending";
}

/** What was deployed, and what its evaluation printed. */
export interface DeployDocument {
  app: AppDocument;
  printed: string;
  version: VersionDocument;
}

/** An effect in a timeline. `outcome` is null while it has none. */
export interface EffectDocument {
  args: unknown;
  duration_ms: number | null;
  error: Record<string, unknown> | null;
  kind: string;
  outcome: "completed" | "failed" | "refused" | null;
  sequence: number;
  target: string;
}

/** An entry of an allowlist: a line as `cloche net allow` takes it, or its parts by name. Numbers that are 0 inherit what the limits say. */
export interface EntryBody {
  action?: "allow" | "deny";
  cache_ttl_s?: number;
  entry?: string;
  host?: string;
  http?: boolean;
  max_response?: number;
  methods?: Array<string>;
  paths?: Array<string>;
  ports?: Array<number>;
  rate_burst?: number;
  rate_limit?: number;
  scope?: string;
  timeout_ms?: number;
}

/** An entry of an allowlist. The `id` follows from the list, host, methods, paths and ports. */
export interface EntryDocument {
  action: "allow" | "deny";
  cache_ttl_s: number;
  created_ms: number;
  entry: string;
  host: string;
  http: boolean;
  id: string;
  max_response: number;
  methods: Array<string>;
  paths: Array<string>;
  ports: Array<number>;
  rate_burst: number;
  rate_limit: number;
  scope: string;
  timeout_ms: number;
}

/** A page of entries by list; in a list what is denied comes first. */
export interface EntryList {
  items: Array<EntryDocument>;
  next: string | null;
}

/** The one shape of an error. */
export interface ErrorBody {
  blame: string;
  code: string;
  fields: Record<string, unknown>;
  message: string;
  retryable: boolean;
}

/** A file for a run: `content` is text, or bytes in the encoding. */
export interface FileBody {
  content?: string;
  encoding?: "base64" | "hex" | "utf8";
  name: string;
}

/** One entry of a listing. */
export interface FileDocument {
  kind: "directory" | "file" | "symlink";
  path: string;
  read_only: boolean;
  size_bytes: number;
}

/** What was called at one host. */
export interface HostDocument {
  bytes: number;
  cached: number;
  calls: number;
  denied: number;
  duration_ms: number;
  failures: number;
  host: string;
}

/** A key to be made; with `apps` it is for these alone, and has the scope `app`. */
export interface KeyBody {
  apps?: Array<string>;
  expires_ms?: number | null;
  name?: string;
  scopes: Array<"admin" | "app" | "approve" | "run" | "session">;
  tenant?: string | null;
}

/** A key; its text is there only when it was just made. */
export interface KeyDocument {
  apps: Array<string>;
  created_ms: number;
  expires_ms: number | null;
  id: string;
  key: string | null;
  name: string;
  revoked_ms: number | null;
  scopes: Array<"admin" | "app" | "approve" | "run" | "session">;
  tenant: string;
  used_ms: number | null;
}

/** The keys of a tenant in the order of their ids. */
export interface KeyList {
  items: Array<KeyDocument>;
  next: string | null;
}

/** Ceilings of a run, as golem:exec names them; null means the one of the server. */
export interface LimitsBody {
  file_size_bytes?: number | null;
  max_processes?: number | null;
  memory_bytes?: number | null;
  time_ms?: number | null;
}

/** A line of an app's log. */
export interface LogDocument {
  at_ms: number;
  fields: Record<string, unknown>;
  level: "debug" | "error" | "info" | "warn";
  message: string;
  request: string;
  version: string;
}

/** A model's message, in the form of its API, whose scripts are run in their order. */
export interface MessageBody {
  api: "anthropic.messages" | "openai.chat" | "openai.responses";
  message: unknown;
  mode?: "dry-run" | "enabled";
  session?: string;
  tools?: string;
}

/** A promise that has its value. `completed` is false when it had one before, which stays. */
export interface PromiseDocument {
  completed: boolean;
  id: string;
  run_id: string;
}

/** Let a call not happen: nor any call of this tool in the session, or end the whole run. */
export interface RejectBody {
  never?: boolean;
  reason?: string;
  run?: boolean;
}

/** A replay that came to the same bytes; another one is an error. */
export interface ReplayDocument {
  journal_hash: string | null;
  run_id: string;
  same: boolean;
}

/** A recorded request. `code` is of what went wrong, empty when nothing did. */
export interface RequestDocument {
  code: string;
  created_ms: number;
  duration_ms: number;
  id: string;
  kind: string;
  method: string;
  status: number;
  target: string;
  version: string;
}

/** A replay that came to the same bytes; another one is an error. */
export interface RequestReplayDocument {
  body_bytes: number;
  id: string;
  same: boolean;
  status: number;
}

/** A rule that a call met, and what it says. */
export interface RuleDocument {
  rule: string;
  says: string;
}

/** A run of its own. With `keep` false nothing of it is kept: no row, no journal, no replay. */
export interface RunBody {
  args?: Array<string>;
  code: string;
  cwd?: string;
  env?: Record<string, string>;
  filename?: string;
  files?: Array<FileBody>;
  image?: string | null;
  keep?: boolean;
  language?: string | null;
  limits?: LimitsBody | null;
  now_ns?: number | null;
  policy?: Record<string, unknown> | null;
  seed?: number | null;
  stdin?: string;
  stdin_encoding?: "base64" | "hex" | "utf8";
}

/** A run. What it printed is there when it has ended. */
export interface RunDocument {
  compile: StageDocument | null;
  created_ms: number;
  ended_ms: number | null;
  error: ErrorBody | null;
  exit_code: number | null;
  id: string;
  journal_hash: string | null;
  language: string;
  memory_bytes: number | null;
  session_id: string | null;
  signal: string | null;
  status: "cancelled" | "completed" | "failed" | "interrupted" | "queued" | "running" | "suspended";
  stderr: string;
  stdout: string;
  time_ms: number | null;
}

/** A page of runs, newest first, without what they printed. */
export interface RunList {
  items: Array<RunDocument>;
  next: string | null;
}

/** A script. With `wait` false it is answered at once, and looked at later. `tools` names a tool set of the server; `session` is what "always" and "never" hold for, this run alone where it is empty. */
export interface ScriptBody {
  language?: "javascript" | "python" | "typescript";
  mode?: "dry-run" | "enabled";
  params?: Record<string, unknown> | null;
  session?: string;
  source: string;
  tools?: string;
  wait?: boolean;
}

/** A script and what became of it. The `id` is empty where nothing ran. */
export interface ScriptDocument {
  created_ms: number;
  error: Record<string, unknown> | null;
  id: string;
  journal_id: string | null;
  output: string;
  script_id: string;
  session: string;
  status: "cancelled" | "checked" | "completed" | "failed" | "queued" | "rejected" | "rolled_back" | "running" | "skipped" | "suspended";
  tool_calls: Array<Record<string, unknown>>;
  tools: string;
  usage: Record<string, number>;
  value: unknown;
}

/** A page of scripts, newest first, without what they printed and called. */
export interface ScriptList {
  items: Array<ScriptDocument>;
  next: string | null;
}

/** A secret: its value, and where it may go. */
export interface SecretBody {
  domains: Array<string>;
  inject_as?: "basic" | "bearer" | "header" | "placeholder" | "query";
  key?: string;
  methods?: Array<string>;
  paths?: Array<string>;
  ports?: Array<number>;
  value: string;
}

/** All of a secret but its value. */
export interface SecretDocument {
  created_ms: number;
  domains: Array<string>;
  inject_as: "basic" | "bearer" | "header" | "placeholder" | "query";
  key: string;
  methods: Array<string>;
  name: string;
  paths: Array<string>;
  ports: Array<number>;
  rotating: boolean;
  scope: string;
  updated_ms: number;
  used_ms: number | null;
}

/** A page of secrets by list and name, without their values. */
export interface SecretList {
  items: Array<SecretDocument>;
  next: string | null;
}

/** The next value of a secret; the one before is still scrubbed for `overlap_ms`. */
export interface SecretValueBody {
  overlap_ms?: number | null;
  value: string;
}

/** A session to be created. */
export interface SessionBody {
  image?: string | null;
  language: string;
  limits?: LimitsBody | null;
  modules?: Array<FileBody>;
  name?: string | null;
  now_ns?: number | null;
  policy?: Record<string, unknown> | null;
  seed?: number | null;
}

/** A session. */
export interface SessionDocument {
  changed_ms: number;
  created_ms: number;
  cwd: string;
  id: string;
  language: string;
  name: string | null;
  operation_count: number;
}

/** A page of sessions in the order of their ids. */
export interface SessionList {
  items: Array<SessionDocument>;
  next: string | null;
}

/** A run in a session: a program, or the session's file `entrypoint`. */
export interface SessionRunBody {
  args?: Array<string>;
  code?: string | null;
  entrypoint?: string | null;
  env?: Record<string, string>;
  filename?: string;
  limits?: LimitsBody | null;
  policy?: Record<string, unknown> | null;
  stdin?: string;
  stdin_encoding?: "base64" | "hex" | "utf8";
}

/** What one stage printed, and how it ended. */
export interface StageDocument {
  exit_code: number | null;
  signal: string | null;
  stderr: string;
  stdout: string;
}

/** What was called at each host, the busiest first. */
export interface StatsDocument {
  hosts: Array<HostDocument>;
}

/** One operation of a session. */
export interface StepDocument {
  operation: string;
  ordinal: number;
  path: string | null;
  run_id: string | null;
}

/** A tenant: the limits that hold for it, those of them that are its own, and what it has. `use` is null in lists. */
export interface TenantDocument {
  id: string;
  limits: Record<string, number>;
  own: Record<string, number>;
  use: TenantUse | null;
}

/** A page of tenants by name. */
export interface TenantList {
  items: Array<TenantDocument>;
  next: string | null;
}

/** What a tenant has now. */
export interface TenantUse {
  sessions: number;
  stored_bytes: number;
}

/** The effects of a run in the order in which they began. */
export interface TimelineDocument {
  effects: Array<EffectDocument>;
  run_id: string;
}

/** A tool that scripts may call, as the name `tools` of its set and its own name say it. `parameters` and `returns` are JSON Schema; `asks` says whether a person is asked before a call, `rule` that this depends on the arguments. */
export interface ToolDocument {
  asks: "no" | "rule" | "yes";
  description: string;
  id: string;
  name: string;
  parameters: Record<string, unknown>;
  read_only: boolean;
  returns: Record<string, unknown>;
  tools: string;
}

/** A page of tools, by set and name. */
export interface ToolList {
  items: Array<ToolDocument>;
  next: string | null;
}

/** Whether a call would be allowed, and which rules say so, in their order. */
export interface VerdictDocument {
  allowed: boolean;
  code: string | null;
  host: string | null;
  limits: Record<string, number> | null;
  method: string;
  reason: string | null;
  scope: string | null;
  steps: Array<RuleDocument>;
  url: string;
}

/** One set of files of an app. */
export interface VersionDocument {
  created_ms: number;
  file_count: number;
  id: string;
  number: number;
  size_bytes: number;
  state: "canary" | "kept" | "live";
  who: string;
}

/** Where to tell what; all events when none are named. */
export interface WebhookBody {
  events?: Array<"approval.requested" | "ping" | "run.ended" | "script.ended">;
  url: string;
}

/** A webhook; its secret is there only when it was just made or rotated. */
export interface WebhookDocument {
  created_ms: number;
  disabled: string;
  events: Array<"approval.requested" | "ping" | "run.ended" | "script.ended">;
  id: string;
  secret: string | null;
  url: string;
}
