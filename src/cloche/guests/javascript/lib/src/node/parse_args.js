// util.parseArgs: command line options, as node parses them (without `tokens`).

import { codedError, invalidType, requireString } from "./errors.js";

const unknownOption = (name, allowPositionals) => codedError(
  TypeError, "ERR_PARSE_ARGS_UNKNOWN_OPTION",
  allowPositionals
    ? `Unknown option '${name}'. To specify a positional argument starting with a '-', place it ` +
      `at the end of the command after '--', as in '-- "${name}"`
    : `Unknown option '${name}'`,
);
const invalidOption = (message) => codedError(
  TypeError, "ERR_PARSE_ARGS_INVALID_OPTION_VALUE", message,
);

export function parseArgs(config = {}) {
  const argv = config.args ?? globalThis.process?.argv.slice(2) ?? [];
  const strict = config.strict ?? true;
  const reader = {
    options: checkOptions(config.options ?? {}),
    strict,
    allowPositionals: config.allowPositionals ?? !strict,
    allowNegative: config.allowNegative ?? false,
    values: { __proto__: null },
    positionals: [],
    rest: [...argv],
  };
  while (reader.rest.length) readArgument(reader, reader.rest.shift());
  for (const [name, option] of Object.entries(reader.options)) {
    if (option.default !== undefined && !(name in reader.values)) {
      reader.values[name] = option.default;
    }
  }
  return { values: reader.values, positionals: reader.positionals };
}

function checkOptions(options) {
  for (const [name, option] of Object.entries(options)) {
    if (option.type !== "string" && option.type !== "boolean") {
      throw invalidType(`options.${name}.type`, "one of: 'string', 'boolean'", option.type);
    }
    if (option.short !== undefined) requireString(option.short, `options.${name}.short`);
  }
  return options;
}

function readArgument(reader, argument) {
  if (argument === "--") {
    for (const item of reader.rest.splice(0)) addPositional(reader, item);
  } else if (argument.startsWith("--")) {
    const cut = argument.indexOf("=");
    if (cut > 2) storeOption(reader, argument.slice(0, cut), argument.slice(2, cut),
      argument.slice(cut + 1));
    else storeLong(reader, argument);
  } else if (argument.startsWith("-") && argument.length > 1) {
    readShort(reader, argument);
  } else {
    addPositional(reader, argument);
  }
}

function storeLong(reader, argument) {
  let name = argument.slice(2);
  if (reader.allowNegative && name.startsWith("no-") && reader.options[name.slice(3)]) {
    name = name.slice(3);
    if (reader.options[name].type === "boolean") return keep(reader, name, false);
  }
  return storeOption(reader, argument, name, takeValue(reader, name));
}

// `-abc` is `-a -b -c`, or `-a` with the value `bc` where `a` takes a string.
function readShort(reader, argument) {
  const letters = [...argument.slice(1)];
  for (let index = 0; index < letters.length; index += 1) {
    const name = longName(reader.options, letters[index]);
    const left = letters.slice(index + 1).join("");
    if (reader.options[name]?.type === "string" && left) {
      storeOption(reader, `-${letters[index]}`, name, left);
      return;
    }
    const value = left ? undefined : takeValue(reader, name);
    storeOption(reader, `-${letters[index]}`, name, value);
  }
}

const longName = (options, letter) =>
  Object.keys(options).find((name) => options[name].short === letter) ?? letter;

function takeValue(reader, name) {
  if (reader.options[name]?.type !== "string") return undefined;
  const next = reader.rest[0];
  if (next === undefined || (next.startsWith("-") && next.length > 1)) return undefined;
  return reader.rest.shift();
}

function storeOption(reader, shown, name, value) {
  const option = Object.hasOwn(reader.options, name) ? reader.options[name] : undefined;
  if (reader.strict) {
    if (!option) throw unknownOption(shown, reader.allowPositionals);
    const label = option.short ? `-${option.short}, --${name}` : `--${name}`;
    if (option.type === "string" && value === undefined) {
      throw invalidOption(`Option '${label} <value>' argument missing`);
    }
    if (option.type === "boolean" && value !== undefined) {
      throw invalidOption(`Option '${label}' does not take an argument`);
    }
  }
  keep(reader, name, value ?? true);
}

function keep(reader, name, value) {
  if (name === "__proto__") return;
  if (reader.options[name]?.multiple) (reader.values[name] ??= []).push(value);
  else reader.values[name] = value;
}

function addPositional(reader, argument) {
  if (!reader.allowPositionals) {
    throw codedError(
      TypeError, "ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL",
      `Unexpected argument '${argument}'. This command does not take positional arguments`,
    );
  }
  reader.positionals.push(argument);
}
