// Made from the server's OpenAPI by generate_types.py; do not edit.

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

/** A key to be made. */
export interface KeyBody {
  expires_ms?: number | null;
  name?: string;
  scopes: Array<"admin" | "approve" | "run" | "session">;
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
  scopes: Array<"admin" | "approve" | "run" | "session">;
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

/** One operation of a session. */
export interface StepDocument {
  operation: string;
  ordinal: number;
  path: string | null;
  run_id: string | null;
}
