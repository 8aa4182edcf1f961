// The types of the client. Documents keep the names that they have on the wire.

import type {
  ActionDocument,
  AppDocument,
  ApprovalDocument,
  ApprovalList,
  ApproveBody,
  AuditList,
  CacheDocument,
  CallBody,
  CallList,
  DeliveryDocument,
  DeployDocument,
  EntryBody,
  EntryDocument,
  EntryList,
  FileDocument,
  KeyBody,
  KeyDocument,
  KeyList,
  LogDocument,
  MessageBody,
  PromiseDocument,
  RejectBody,
  ReplayDocument,
  RequestDocument,
  RequestReplayDocument,
  RunBody,
  RunDocument,
  RunList,
  ScriptBody,
  ScriptDocument,
  ScriptList,
  SecretBody,
  SecretDocument,
  SecretList,
  SecretValueBody,
  SessionBody,
  SessionDocument,
  SessionList,
  SessionRunBody,
  StatsDocument,
  StepDocument,
  TenantDocument,
  TenantList,
  TimelineDocument,
  ToolList,
  VerdictDocument,
  VersionDocument,
  WebhookBody,
  WebhookDocument,
} from "./documents.js";

export type * from "./documents.js";

export type Content = string | Uint8Array | ArrayBuffer | ArrayBufferView | Blob;
/** A `File` of the platform is one. */
export type NamedContent = File | { name: string; content: Content };

export interface CallOptions {
  /** Aborting ends the call with the signal's reason; a run that is waited for is stopped. */
  signal?: AbortSignal;
}

export interface PostOptions extends CallOptions {
  /** 1 to 200 visible characters; the same key again gets the same answer. Made when left out. */
  idempotencyKey?: string;
}

export interface PageOptions extends CallOptions {
  limit?: number;
  /** The `next` of the page before. */
  after?: string;
}

type Sent<Body, Given extends string> = Omit<Body, Given | "stdin_encoding"> & PostOptions;

export interface RunOptions extends Sent<RunBody, "code" | "files" | "stdin" | "seed" | "now_ns"> {
  files?: Iterable<NamedContent>;
  stdin?: Content;
  seed?: number | bigint;
  /** Nanoseconds are more than a number holds: give a BigInt. */
  now_ns?: number | bigint;
}

export interface SessionRunOptions extends Sent<SessionRunBody, "code" | "stdin"> {
  stdin?: Content;
}

export interface SessionOptions
  extends Sent<SessionBody, "language" | "modules" | "seed" | "now_ns"> {
  modules?: Iterable<NamedContent>;
  seed?: number | bigint;
  now_ns?: number | bigint;
}

/** What a run says. `id` is what `follow` takes as `lastEventId`. */
export type RunEvent =
  | { type: "start"; id: string; run_id: string }
  | { type: "stdout" | "stderr"; id: string; text: string }
  | { type: "finished"; id: string; run: RunDocument }
  | { type: "failed"; id: string; error: ClocheError };

export type Events = AsyncGenerator<RunEvent, void, void>;

export interface ClientOptions {
  /** How often a request is sent at most when the connection breaks or the server is busy; 3. */
  attemptCount?: number;
  fetch?: typeof fetch;
}

export class ClocheError extends Error {
  constructor(
    document: {
      code: string;
      message: string;
      blame?: string;
      retryable?: boolean;
      fields?: Record<string, unknown>;
    },
    about?: { status?: number | null; run?: RunDocument | null; cause?: unknown },
  );
  /** Stable; compare this. */
  readonly code: string;
  readonly blame: string;
  readonly retryable: boolean;
  readonly fields: Record<string, unknown>;
  /** Of the answer that refused; null for everything else. */
  readonly status: number | null;
  /** The run that failed, with all that it printed; null for everything else. */
  readonly run: RunDocument | null;
}

export class Client {
  constructor(url: string | URL, key: string, options?: ClientOptions);
  readonly sessions: Sessions;
  readonly scripts: Scripts;
  readonly approvals: Approvals;
  readonly apps: Apps;
  readonly net: Net;
  readonly tenants: Tenants;
  readonly webhooks: Webhooks;
  run(code: string, options?: RunOptions): Promise<RunDocument>;
  events(code: string, options?: RunOptions): Events;
  start(code: string, options?: RunOptions): Promise<RunDocument>;
  follow(runId: string, options?: CallOptions & { lastEventId?: string }): Events;
  getRun(runId: string, options?: CallOptions): Promise<RunDocument>;
  listRuns(options?: PageOptions & { session?: string }): Promise<RunList>;
  cancelRun(runId: string, options?: PostOptions): Promise<RunDocument>;
  resumeRun(runId: string, options?: PostOptions): Promise<RunDocument>;
  replayRun(runId: string, options?: PostOptions): Promise<ReplayDocument>;
  runJournal(runId: string, options?: CallOptions): Promise<string[]>;
  runTimeline(runId: string, options?: CallOptions): Promise<TimelineDocument>;
  completePromise(
    promiseId: string,
    /** Plain JSON; null when left out. */
    value?: unknown,
    options?: PostOptions,
  ): Promise<PromiseDocument>;
  createKey(
    scopes: Iterable<KeyBody["scopes"][number]>,
    options?: Omit<KeyBody, "scopes"> & PostOptions,
  ): Promise<KeyDocument>;
  listKeys(options?: PageOptions): Promise<KeyList>;
  rotateKey(keyId: string, options?: PostOptions & { overlapMs?: number }): Promise<KeyDocument>;
  revokeKey(keyId: string, options?: CallOptions): Promise<KeyDocument>;
  audit(options?: PageOptions): Promise<AuditList>;
  limits(options?: CallOptions): Promise<Record<string, Record<string, number>>>;
  limitsSchema(
    options?: CallOptions,
  ): Promise<Record<string, Record<string, Record<string, unknown>>>>;
}

type EntryOptions = Partial<Omit<EntryBody, "entry" | "host" | "action">> & PostOptions;

interface ListOptions extends CallOptions {
  /** The list; `global` when left out. */
  scope?: string;
}

export class Net {
  private constructor();
  allow(entry: string, options?: EntryOptions): Promise<EntryDocument>;
  deny(entry: string, options?: EntryOptions): Promise<EntryDocument>;
  entries(options?: PageOptions & ListOptions): Promise<EntryList>;
  entry(entryId: string, options?: CallOptions): Promise<EntryDocument>;
  remove(entryId: string, options?: CallOptions): Promise<void>;
  test(url: string, options?: Omit<CallBody, "url"> & PostOptions): Promise<VerdictDocument>;
  putSecret(
    name: string,
    value: string,
    domains: Iterable<string>,
    options?: Omit<SecretBody, "value" | "domains"> & ListOptions,
  ): Promise<SecretDocument>;
  rotateSecret(
    name: string,
    value: string,
    options?: Omit<SecretValueBody, "value"> & ListOptions,
  ): Promise<SecretDocument>;
  secrets(options?: PageOptions & ListOptions): Promise<SecretList>;
  secret(name: string, options?: ListOptions): Promise<SecretDocument>;
  removeSecret(name: string, options?: ListOptions): Promise<void>;
  logs(
    options?: PageOptions & { host?: string; scope?: string; run?: string; errors?: boolean },
  ): Promise<CallList>;
  stats(options?: CallOptions): Promise<StatsDocument>;
  cache(options?: CallOptions): Promise<CacheDocument>;
  clearCache(options?: CallOptions): Promise<void>;
}

export class Tenants {
  private constructor();
  list(options?: PageOptions): Promise<TenantList>;
  get(name: string, options?: CallOptions): Promise<TenantDocument>;
  set(
    name: string,
    limits: Record<string, number>,
    options?: CallOptions,
  ): Promise<TenantDocument>;
}

export class Webhooks {
  private constructor();
  create(
    url: string | URL,
    options?: PostOptions & { events?: Iterable<NonNullable<WebhookBody["events"]>[number]> },
  ): Promise<WebhookDocument>;
  list(options?: CallOptions): Promise<WebhookDocument[]>;
  get(webhookId: string, options?: CallOptions): Promise<WebhookDocument>;
  remove(webhookId: string, options?: CallOptions): Promise<void>;
  rotate(webhookId: string, options?: PostOptions): Promise<WebhookDocument>;
  ping(webhookId: string, options?: PostOptions): Promise<DeliveryDocument>;
  deliveries(
    webhookId: string,
    options?: CallOptions & {
      /** How many at most; all when left out. */
      limit?: number;
      /** The `id` of the last one of those before. */
      after?: string;
    },
  ): Promise<DeliveryDocument[]>;
}

type ScriptOptions = Omit<ScriptBody, "source" | "wait"> & PostOptions;

export class Scripts {
  private constructor();
  run(source: string, options?: ScriptOptions): Promise<ScriptDocument>;
  start(source: string, options?: ScriptOptions): Promise<ScriptDocument>;
  message(
    message: unknown,
    options: Omit<MessageBody, "message"> & PostOptions,
  ): Promise<ScriptDocument[]>;
  list(options?: PageOptions): Promise<ScriptList>;
  get(scriptId: string, options?: CallOptions): Promise<ScriptDocument>;
  journal(scriptId: string, options?: CallOptions): Promise<string[]>;
  timeline(scriptId: string, options?: CallOptions): Promise<TimelineDocument>;
  resume(scriptId: string, options?: PostOptions): Promise<ScriptDocument>;
  cancel(scriptId: string, options?: PostOptions): Promise<ScriptDocument>;
  rollback(scriptId: string, options?: PostOptions): Promise<ScriptDocument>;
  tools(options?: PageOptions & { tools?: string }): Promise<ToolList>;
  prompt(
    tools: string,
    options?: CallOptions & { language?: "typescript" | "python" },
  ): Promise<string>;
}

export class Approvals {
  private constructor();
  list(options?: PageOptions & { run?: string }): Promise<ApprovalList>;
  get(approvalId: string, options?: CallOptions): Promise<ApprovalDocument>;
  approve(approvalId: string, options?: ApproveBody & PostOptions): Promise<ApprovalDocument>;
  reject(approvalId: string, options?: RejectBody & PostOptions): Promise<ApprovalDocument>;
}

export class Apps {
  private constructor();
  deploy(
    name: string,
    archive: Content,
    options?: PostOptions & { env?: Record<string, string>; canary?: number },
  ): Promise<DeployDocument>;
  list(options?: CallOptions): Promise<AppDocument[]>;
  get(name: string, options?: CallOptions): Promise<AppDocument>;
  remove(name: string, options?: CallOptions): Promise<void>;
  versions(name: string, options?: CallOptions): Promise<VersionDocument[]>;
  actions(name: string, options?: CallOptions): Promise<ActionDocument[]>;
  rollback(name: string, options?: PostOptions & { to?: string }): Promise<AppDocument>;
  promote(name: string, options?: PostOptions): Promise<AppDocument>;
  stop(name: string, options?: PostOptions): Promise<AppDocument>;
  start(name: string, options?: PostOptions): Promise<AppDocument>;
  setEnv(
    name: string,
    values: Record<string, string>,
    options?: PostOptions & { remove?: Iterable<string> },
  ): Promise<AppDocument>;
  logs(
    name: string,
    options?: LogOptions & { afterMs?: number; limit?: number },
  ): Promise<LogDocument[]>;
  followLogs(name: string, options?: LogOptions): AsyncGenerator<LogDocument, void, void>;
  requests(name: string, options?: CallOptions & { limit?: number }): Promise<RequestDocument[]>;
  requestJournal(name: string, requestId: string, options?: CallOptions): Promise<string[]>;
  replay(
    name: string,
    requestId: string,
    options?: PostOptions,
  ): Promise<RequestReplayDocument>;
}

interface LogOptions extends CallOptions {
  /** The least grave. */
  level?: LogDocument["level"];
  /** Only lines of this request. */
  request?: string;
}

export class Sessions {
  private constructor();
  create(language: string, options?: SessionOptions): Promise<Session>;
  open(idOrName: string, options?: CallOptions): Promise<Session>;
  import(archive: Content, options?: PostOptions & { name?: string }): Promise<Session>;
  list(options?: PageOptions): Promise<SessionList>;
}

export class Session {
  private constructor();
  readonly id: SessionDocument["id"];
  readonly name: SessionDocument["name"];
  readonly language: SessionDocument["language"];
  run(code?: string, options?: SessionRunOptions): Promise<RunDocument>;
  runStreaming(code?: string, options?: SessionRunOptions): Events;
  start(code?: string, options?: SessionRunOptions): Promise<RunDocument>;
  resume(options?: PostOptions): Promise<RunDocument>;
  upload(file: NamedContent, options?: CallOptions & { readOnly?: boolean }): Promise<void>;
  writeFile(
    path: string,
    content: Content,
    options?: CallOptions & { readOnly?: boolean },
  ): Promise<void>;
  download(path: string, options?: CallOptions): Promise<Uint8Array>;
  uploadArchive(
    archive: Content,
    options?: PostOptions & { path?: string; readOnly?: boolean },
  ): Promise<FileDocument[]>;
  downloadArchive(path?: string, options?: CallOptions): Promise<Uint8Array>;
  remove(path: string, options?: CallOptions): Promise<void>;
  listFiles(
    path?: string,
    options?: CallOptions & { recursive?: boolean },
  ): Promise<FileDocument[]>;
  workingDir(options?: CallOptions): Promise<string>;
  setWorkingDir(path: string, options?: CallOptions): Promise<void>;
  history(options?: CallOptions): Promise<StepDocument[]>;
  fork(name?: string, options?: PostOptions): Promise<Session>;
  snapshot(options?: PostOptions): Promise<string>;
  restore(snapshot: string, options?: PostOptions): Promise<void>;
  revert(options: PostOptions & ({ last: number } | { to: number })): Promise<void>;
  export(options?: CallOptions): Promise<Uint8Array>;
  delete(options?: CallOptions): Promise<void>;
}
