// node:assert: checks that throw AssertionError. Messages are node's, without its colored diffs.

import { inspect } from "../host.js";
import { isDeepLooseEqual, isDeepStrictEqual } from "./deep_equal.js";
import { codedError, describe, invalidType, requireFunction } from "./errors.js";

const LINES_MAX = 50;

export class AssertionError extends Error {
  constructor({ message, actual, expected, operator }) {
    super(message === undefined ? composeMessage(actual, expected, operator) : String(message));
    this.generatedMessage = message === undefined;
    this.code = "ERR_ASSERTION";
    this.actual = actual;
    this.expected = expected;
    this.operator = operator;
    Object.defineProperty(this, "name", {
      value: "AssertionError", writable: true, configurable: true,
    });
  }

  toString() { return `${this.name} [${this.code}]: ${this.message}`; }
}

const HEADS = {
  strictEqual: "Expected values to be strictly equal:",
  deepStrictEqual: "Expected values to be strictly deep-equal:",
  notStrictEqual: "Expected \"actual\" to be strictly unequal to:",
  notDeepStrictEqual: "Expected \"actual\" not to be strictly deep-equal to:",
  deepEqual: "Expected values to be loosely deep-equal:",
  notDeepEqual: "Expected \"actual\" not to be loosely deep-equal to:",
};

const show = (value) => {
  const lines = inspect(value, { depth: 1000, maxArrayLength: 200, sorted: true }).split("\n");
  return lines.length <= LINES_MAX ? lines.join("\n")
    : [...lines.slice(0, LINES_MAX), "..."].join("\n");
};

function composeMessage(actual, expected, operator) {
  if (operator === "==" || operator === "!=") {
    return `${show(actual)} ${operator} ${show(expected)}`;
  }
  const head = HEADS[operator];
  if (!head) return "Failed";
  if (operator.startsWith("not")) {
    const shown = show(actual);
    return shown.includes("\n") ? `${head}\n\n${shown}\n` : `${head} ${shown}`;
  }
  return composeDifference(head, operator, show(actual), show(expected));
}

const ONE_LINE_MAX = 80;

function composeDifference(head, operator, left, right) {
  if (operator === "deepEqual") {
    return `${head}\n\n${left}\n\nshould loosely deep-equal\n\n${right}`;
  }
  const isShort = !left.includes("\n") && !right.includes("\n") &&
    left.length + right.length < ONE_LINE_MAX && left !== right;
  if (isShort && operator === "strictEqual") return `${head}\n\n${left} !== ${right}\n`;
  const lines = difference(left.split("\n"), right.split("\n"));
  return `${head}\n+ actual - expected\n\n${lines.join("\n")}`;
}

// The common beginning and end stay, the middle is what differs: enough to see where.
function difference(left, right) {
  let start = 0;
  while (start < left.length && start < right.length && left[start] === right[start]) start += 1;
  let end = 0;
  const room = Math.min(left.length, right.length) - start;
  while (end < room && left.at(-1 - end) === right.at(-1 - end)) end += 1;
  const mark = (sign) => (line) => `${sign} ${line}`;
  return [
    ...left.slice(0, start).map(mark(" ")),
    ...left.slice(start, left.length - end).map(mark("+")),
    ...right.slice(start, right.length - end).map(mark("-")),
    ...left.slice(left.length - end).map(mark(" ")),
  ];
}

function fail(options, message) {
  if (Error.isError(message)) throw message;
  throw new AssertionError({ ...options, message });
}

function assert(value, message) {
  ok(value, message, arguments.length);
}

function ok(value, message, count = arguments.length) {
  if (value) return;
  // node quotes the expression from the source; without it, it says what it says here.
  const text = count === 0 ? "No value argument passed to `assert.ok()`"
    : message ?? `${inspect(value)} == true`;
  const generated = message === undefined || message === null;
  if (Error.isError(message)) throw message;
  const facts = { actual: value, expected: true, operator: "==" };
  const error = new AssertionError({ ...facts, message: text });
  error.generatedMessage = generated;
  throw error;
}

const check = (operator, holds) => (actual, expected, message) => {
  if (!holds(actual, expected)) fail({ actual, expected, operator }, message);
};
const isLooselyEqual = (left, right) => left == right || (left !== left && right !== right);

Object.assign(assert, {
  AssertionError,
  ok(...args) { ok(args[0], args[1], args.length); },
  fail(message = "Failed") { fail({ operator: "fail" }, message); },
  equal: check("==", isLooselyEqual),
  notEqual: check("!=", (left, right) => !isLooselyEqual(left, right)),
  strictEqual: check("strictEqual", Object.is),
  notStrictEqual: check("notStrictEqual", (left, right) => !Object.is(left, right)),
  deepEqual: check("deepEqual", isDeepLooseEqual),
  notDeepEqual: check("notDeepEqual", (left, right) => !isDeepLooseEqual(left, right)),
  deepStrictEqual: check("deepStrictEqual", isDeepStrictEqual),
  notDeepStrictEqual: check("notDeepStrictEqual", (left, right) => !isDeepStrictEqual(left, right)),
  partialDeepStrictEqual: check("partialDeepStrictEqual", includesDeeply),

  ifError(error) {
    if (error === null || error === undefined) return;
    const shown = typeof error === "object" && typeof error.message === "string"
      ? error.message || error.constructor.name : inspect(error);
    fail({ actual: error, expected: null, operator: "ifError" },
      `ifError got unwanted exception: ${shown}`);
  },

  match(text, pattern, message) { matchWith("match", text, pattern, message); },
  doesNotMatch(text, pattern, message) { matchWith("doesNotMatch", text, pattern, message); },

  throws(action, expected, message) {
    requireFunction(action, "fn");
    expectThrown("throws", attempt(action), expected, message);
  },
  doesNotThrow(action, expected, message) {
    requireFunction(action, "fn");
    expectQuiet("doesNotThrow", attempt(action), expected, message);
  },
  async rejects(source, expected, message) {
    expectThrown("rejects", await attemptAsync(source), expected, message);
  },
  async doesNotReject(source, expected, message) {
    expectQuiet("doesNotReject", await attemptAsync(source), expected, message);
  },
});

function includesDeeply(actual, expected) {
  if (typeof expected !== "object" || expected === null) return Object.is(actual, expected);
  if (typeof actual !== "object" || actual === null) return false;
  return Object.keys(expected).every((key) => includesDeeply(actual[key], expected[key]));
}

function matchWith(operator, text, pattern, message) {
  if (!(pattern instanceof RegExp)) throw invalidType("regexp", "an instance of RegExp", pattern);
  const wantsMatch = operator === "match";
  if (typeof text === "string" && pattern.test(text) === wantsMatch) return;
  const reason = typeof text !== "string"
    ? `The "string" argument must be of type string.${describe(text)}`
    : wantsMatch ? "The input did not match the regular expression"
      : "The input was expected to not match the regular expression";
  const detail = ` ${inspect(pattern)}. Input:\n\n${inspect(text)}\n`;
  const shown = typeof text === "string" ? reason + detail : reason;
  fail({ actual: text, expected: pattern, operator }, message ?? shown);
}

function attempt(action) {
  try {
    action();
    return undefined;
  } catch (error) {
    return { error };
  }
}

async function attemptAsync(source) {
  let promise = source;
  if (typeof source === "function") {
    promise = source();
    if (typeof promise?.then !== "function") {
      throw codedError(
        TypeError, "ERR_INVALID_RETURN_VALUE",
        "Expected instance of Promise to be returned from the \"promiseFn\" function",
      );
    }
  } else if (typeof source?.then !== "function") {
    throw invalidType("promiseFn", "of type function or an instance of Promise", source);
  }
  try {
    await promise;
    return undefined;
  } catch (error) {
    return { error };
  }
}

function expectThrown(operator, outcome, expected, message) {
  if (typeof expected === "string") return expectThrown(operator, outcome, undefined, expected);
  if (!outcome) {
    const what = operator === "rejects" ? "rejection" : "exception";
    const named = expected?.name ? ` (${expected.name})` : "";
    const detail = message && !Error.isError(message) ? `: ${message}` : ".";
    return fail({ expected, operator },
      Error.isError(message) ? message : `Missing expected ${what}${named}${detail}`);
  }
  if (expected !== undefined) checkThrown(operator, outcome.error, expected, message);
  return undefined;
}

function checkThrown(operator, error, expected, message) {
  const refuse = (text) => fail({ actual: error, expected, operator }, message ?? text);
  if (expected instanceof RegExp) {
    if (expected.test(String(error))) return;
    refuse(`The input did not match the regular expression ${inspect(expected)}. Input:\n\n` +
      `${inspect(String(error))}\n`);
  } else if (typeof expected === "function") {
    if (expected.prototype !== undefined && error instanceof expected) return;
    if (Error.isPrototypeOf(expected)) {
      const received = error?.constructor?.name ? `"${error.constructor.name}"` : inspect(error);
      refuse(`The error is expected to be an instance of "${expected.name}". ` +
        `Received ${received}\n\nError message:\n\n${error?.message}`);
    }
    if (Reflect.apply(expected, {}, [error]) === true) return;
    const name = expected.name ? `"${expected.name}" ` : "";
    refuse(`The ${name}validation function is expected to return "true". Received ` +
      `${inspect(false)}\n\nCaught error:\n\n${inspect(error)}`);
  } else if (typeof expected === "object" && expected !== null) {
    checkShape(error, expected, refuse);
  } else {
    const wanted = "of type function or an instance of Error, RegExp, or Object";
    throw invalidType("expected", wanted, expected);
  }
}

function checkShape(error, expected, refuse) {
  const keys = Object.keys(expected);
  if (Error.isError(expected)) keys.push("name", "message");
  for (const key of keys) {
    const wanted = expected[key];
    const isMatch = wanted instanceof RegExp && typeof error?.[key] === "string"
      ? wanted.test(error[key]) : key in Object(error) && isDeepStrictEqual(error[key], wanted);
    if (isMatch) continue;
    const pick = (source) => Object.fromEntries(
      keys.filter((name) => name in Object(source)).map((name) => [name, source[name]]),
    );
    refuse(composeDifference(HEADS.deepStrictEqual, "deepStrictEqual", show(pick(error)),
      show(pick(expected))));
  }
}

function expectQuiet(operator, outcome, expected, message) {
  if (!outcome) return;
  const text = typeof expected === "string" ? expected : message;
  const what = operator === "doesNotReject" ? "rejection" : "exception";
  const detail = text ? `: ${text}` : ".";
  fail({ actual: outcome.error, expected, operator },
    `Got unwanted ${what}${detail}\nActual message: "${outcome.error?.message}"`);
}

/** The strict variant: the loose names mean the strict checks. */
const strict = Object.assign((...args) => ok(args[0], args[1], args.length), assert, {
  equal: assert.strictEqual,
  notEqual: assert.notStrictEqual,
  deepEqual: assert.deepStrictEqual,
  notDeepEqual: assert.notDeepStrictEqual,
});
strict.strict = strict;
assert.strict = strict;

export { strict };
export default assert;
