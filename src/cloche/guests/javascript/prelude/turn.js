// Turns: start a program, go on with it, say how it ended. Last of the prelude.
"use strict";
(() => {
  const internal = globalThis.__cloche;
  const { parse } = JSON; // programs replace it
  const { library } = internal;
  const REPORT = 3;
  const STDOUT = 16;
  const STDERR = 17;
  const EXIT = 22;
  const GLOBAL_ASYNC = 128; // JS_EVAL_FLAG_ASYNC: top-level await, declarations stay global
  const EXIT_UNSETTLED = 13; // as node
  const PENDING = 0;
  const FULFILLED = 1;

  const REPL = "<repl>"; // programs of this name show their last value, as at a prompt

  let program; // promise of the program's own evaluation
  let source = "";
  let exitCode = 0;
  let isResumed = false; // whether a run of a session was here before

  // A string, so that nothing of what a program may have broken is needed to send it.
  const BROKEN = '{"state":"failed","stage":"run","exit_code":1,"error":{"name":"Error",' +
    '"message":"the program broke what its runtime needs to end it"}}';

  const reply = (report) => { internal.call(REPORT, internal.encode(report)); };
  const replyUnlessFine = (report) => (
    (report.state === "done" && report.exit_code === 0) || reply(report)
  );

  /** True: done with exit code 0, which needs no report. */
  internal.turn = (text) => {
    try {
      return runTurn(text);
    } catch {
      internal.call(REPORT, BROKEN);
      return undefined;
    }
  };

  // The runs of a session differ in what comes after the settings: they are parsed once. Within a
  // string the quotes of these marks would be escaped.
  const SETTINGS_END = ',"seed":';
  const NOW = ',"now_ns":"';
  const CODE = '","code":';
  let settingsText;
  let settings;

  // What an app is asked is all that its runs differ in: "ask", the time, the question.
  const ASK = "ask ";

  const readJob = (text) => {
    if (text.startsWith(ASK)) {
      const end = text.indexOf(" ", ASK.length);
      settings.now_ns = text.slice(ASK.length, end);
      settings.code = text.slice(end + 1);
      return settings;
    }
    if (!text.startsWith('{"op":"start"')) return parse(text);
    const end = text.lastIndexOf(SETTINGS_END);
    const head = text.slice(0, end);
    if (head !== settingsText) {
      settings = parse(`${head}}`);
      settingsText = head;
    }
    const now = text.indexOf(NOW, end) + NOW.length;
    const code = text.indexOf(CODE, now);
    settings.now_ns = text.slice(now, code);
    settings.code = parse(text.slice(code + CODE.length, -1));
    return settings;
  };

  const runTurn = (text) => {
    const job = readJob(text);
    if (job.op === "start") {
      const failed = start(job);
      if (failed) return reply(failed);
    } else if (job.op === "deliver") {
      internal.deliver(job.completions);
    }
    const waiting = runToTheEnd();
    if (internal.failure()) return reply(fail(internal.failure().error));
    if (waiting) {
      // wake_ns is written without quotes: it has more digits than a number keeps.
      internal.call(REPORT, `{"state":"waiting","wake_ns":${waiting.wake_ns}}`);
      return undefined;
    }
    return replyUnlessFine(finish());
  };

  internal.isProgram = (promise) => promise === program;

  /** Run the loop until it waits or is empty, and no listener of "beforeExit" fills it again. */
  const runToTheEnd = () => {
    for (;;) {
      const waiting = internal.runLoop();
      if (waiting || internal.failure()) return waiting;
      try {
        if (!library.emitBeforeExit?.()) return undefined;
      } catch (error) {
        internal.reportError(error);
      }
      internal.drain(internal.reportError);
      if (!internal.isAlive()) return internal.runLoop();
    }
  };

  const start = (job) => {
    internal.input = job;
    source = job.code;
    program = undefined;
    if (job.persist) {
      internal.resumeLoop();
      internal.enterModules(job.filename, job.cwd);
      if (!isResumed) internal.defineGlobal("require", internal.makeRequire(internal.mainPath()));
      isResumed = true;
    } else {
      internal.resetLoop();
      internal.resetModules(job.filename, job.cwd);
    }
    internal.resetRandom();
    library.beginRun?.();
    const code = source.startsWith("#!") ? `//${source}` : source;
    let begin;
    try {
      if (job.persist) {
        program = internal.evaluate(code, job.filename, GLOBAL_ASYNC, 1);
      } else if (internal.isCommonJs(job.filename, code)) {
        begin = internal.compileCommonJs(code, job.filename);
      } else {
        internal.defineGlobal("require", internal.makeRequire(internal.mainPath()));
        program = internal.evaluateModule(code, job.filename);
      }
    } catch (error) {
      // Nothing of the program has run yet: what it throws itself comes as a rejected promise.
      if (error instanceof SyntaxError) return compileFailure(error);
      internal.fail(error);
    }
    try {
      program = begin ? begin() : program;
    } catch (error) {
      internal.reportError(error);
    }
    return undefined;
  };

  const compileFailure = (error) => {
    internal.call(STDERR, `${excerpt(placeOf(error))}${error.name}: ${error.message}\n`);
    return {
      __proto__: null, state: "failed", stage: "compile", exit_code: 1, error: described(error),
    };
  };

  // ---- how it ended ----

  const finish = () => {
    if (program === undefined) return ended();
    const state = isPromise(program) ? internal.promiseState(program) : undefined;
    if (state === PENDING) {
      internal.call(STDERR, "Warning: Detected unsettled top-level await: nothing is left that " +
        "could settle it\n");
      return done(library.emitExit?.(EXIT_UNSETTLED) ?? EXIT_UNSETTLED);
    }
    if (state === FULFILLED && internal.input.filename === REPL) echo(program);
    return ended();
  };

  const ended = () => {
    try {
      return done((library.emitExit?.() ?? 0) & 255);
    } catch (error) {
      return fail(error);
    }
  };

  const echo = (promise) => {
    const result = internal.promiseResult(promise);
    const value = typeof result === "object" && result !== null && "value" in result ? result.value : result;
    if (value !== undefined) internal.call(STDOUT, `${internal.inspect(value)}\n`);
  };

  /** Stop the program here. A session lives on; else the instance is over. */
  internal.exit = (code) => {
    if (!internal.input.persist) internal.call(EXIT, new Uint8Array([code, 0, 0, 0]));
    internal.end(code);
  };
  /** The same for an instance that is used again: the host need not stop it. */
  internal.end = (code = 0) => {
    exitCode = code;
    internal.leave();
  };
  internal.left = () => replyUnlessFine(done(exitCode));

  // Reports have no prototype: a program may have given Object.prototype a toJSON.
  const done = (code) => ({ __proto__: null, state: "done", exit_code: code });

  const isPromise = (value) => value instanceof Promise;

  const fail = (error) => {
    let shown;
    try {
      shown = display(error);
    } catch (second) {
      shown = `Uncaught error that cannot be shown: ${text(() => second.message)}`;
    }
    internal.call(STDERR, `${shown}\n`);
    let code = 1;
    try {
      code = library.emitExit?.(1) || 1;
    } catch {
      // A listener for "exit" failed too; the first error is the one to tell.
    }
    return {
      __proto__: null, state: "failed", stage: "run", exit_code: code & 255,
      error: described(error), resource: resource(error),
    };
  };

  const resource = (error) => {
    try {
      if (error instanceof RangeError && /stack size exceeded/i.test(error.message)) return "stack";
      if (error?.code === "ENOSPC" || error?.code === "EFBIG" || error?.code === "EDQUOT") {
        return "files";
      }
    } catch {
      // A proxy, or a getter of the program's: such an error says nothing about resources.
    }
    return null;
  };

  const text = (make) => {
    try { return String(make()).slice(0, 10000); } catch { return ""; }
  };

  const hasMessage = (error) => {
    try { return typeof error === "object" && error !== null && "message" in error; } catch {
      return false;
    }
  };

  const described = (error) => {
    const isError = hasMessage(error);
    return {
      __proto__: null,
      name: isError ? text(() => error.name) : "Error",
      message: text(() => isError ? error.message : internal.inspect(error)),
      stack: isError ? text(() => userStack(error.stack)) : "",
    };
  };

  // ---- traces ----


  const userStack = (stack) => String(stack ?? "").split("\n")
    .filter((line) => line.trim() !== "" && !internal.isHiddenFrame(line)).join("\n");

  const placeOf = (error) => {
    for (const line of String(error?.stack ?? "").split("\n")) {
      const match = /(?:\(|at )([^()\s][^()]*?):(\d+):(\d+)\)?\s*$/.exec(line);
      if (match && !internal.isHiddenFrame(line)) {
        return { filename: match[1], line: +match[2], column: +match[3] };
      }
    }
    return undefined;
  };

  /** `main.js:3:7`, the line, and a caret below the column. */
  const excerpt = (place) => {
    if (!place) return "";
    const head = `${place.filename}:${place.line}:${place.column}\n`;
    if (place.filename !== internal.input.filename) return head;
    const line = source.split("\n")[place.line - 1] ?? "";
    const indent = line.slice(0, Math.max(place.column - 1, 0)).replace(/[^\t]/g, " ");
    return `${head}${line.slice(0, 300)}\n${indent.slice(0, 300)}^\n\n`;
  };

  const display = (error) => {
    if (error instanceof Error || (typeof error === "object" && error !== null && error.stack)) {
      return excerpt(placeOf(error)) + internal.inspect(error);
    }
    return `Uncaught ${internal.inspect(error)}`;
  };

  delete globalThis.__cloche;
})();
