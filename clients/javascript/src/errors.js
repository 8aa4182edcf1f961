// What can go wrong: one class, told apart by `code`.

/**
 * Something that a server or a program said no to.
 *
 * Invariants: `code`, `blame`, `retryable` and `fields` are those of the error document where there
 * is one; an AbortSignal is no such error, its reason is thrown as it is.
 */
export class ClocheError extends Error {
  /**
   * @param {object} document `code`, `message`, `blame`, `retryable`, `fields`.
   * @param {{status?: number, run?: object, cause?: unknown}} [about] `status` of the answer;
   *   `run`: the document of the run that failed, with all that it printed.
   */
  constructor(document, { status = null, run = null, cause } = {}) {
    super(document.message, cause === undefined ? undefined : { cause });
    this.name = "ClocheError";
    this.code = document.code;
    this.blame = document.blame ?? "environment";
    this.retryable = document.retryable === true;
    this.fields = document.fields ?? {};
    this.status = status;
    this.run = run;
  }
}

/** Return the error for a connection that broke; what the server did is not known. */
export function unreachable(url, cause) {
  // The platform says "fetch failed" and keeps the reason one or two causes deeper.
  let deepest = cause;
  while (deepest?.cause instanceof Error) deepest = deepest.cause;
  const problem = deepest?.message || deepest?.code || String(deepest);
  return new ClocheError(
    {
      code: "CLIENT_UNREACHABLE",
      message: `no answer from ${url}: ${problem}`,
      blame: "environment",
      retryable: true,
      fields: { url, problem },
    },
    { cause },
  );
}

/** Return the error for a value that cannot be sent. */
export function unusable(field, problem) {
  return new ClocheError({
    code: "CLIENT_VALUE",
    message: `${field}: ${problem}`,
    blame: "caller",
    fields: { field, problem },
  });
}

/** Return the error that a refusal stands for. */
export function refusalOf(status, bytes) {
  let document = null;
  try {
    document = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error; // no JSON: a proxy wrote it
  }
  const known = typeof document?.code === "string" ? document : { code: "CLIENT_REFUSED" };
  const message = known.message || `the server answers ${status}`;
  return new ClocheError({ ...known, message }, { status });
}

/** Return why a run did not complete. */
export function runError(run) {
  if (run.status === "suspended") {
    return new ClocheError(
      {
        code: "RUN_SUSPENDED",
        message: `run ${run.id} waits and was put away; session.resume() goes on with it`,
        blame: "caller",
        retryable: true,
        fields: { run_id: run.id },
      },
      { run },
    );
  }
  const ended = {
    code: "RUN_ENDED",
    message: `run ${run.id} is ${run.status}`,
    retryable: run.status === "interrupted",
    fields: { run_id: run.id },
  };
  return new ClocheError(run.error ?? ended, { run });
}
