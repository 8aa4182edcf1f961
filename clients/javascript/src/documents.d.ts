// Made from the server's OpenAPI by generate_types.py; do not edit.

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

/** A key to be made. */
export interface KeyBody {
  expires_ms?: number | null;
  name?: string;
  scopes: Array<"admin" | "app" | "approve" | "run" | "session">;
  tenant?: string | null;
}

/** A key; its text is there only when it was just made. */
export interface KeyDocument {
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

/** A replay that came to the same bytes; another one is an error. */
export interface ReplayDocument {
  journal_hash: string | null;
  run_id: string;
  same: boolean;
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
