// node:path, which is node:path/posix here: path-browserify plus what it lacks.

import posix from "path-browserify";
import { codedError, invalidType } from "./errors.js";

const path = { ...posix };
path.posix = path;
path.toNamespacedPath = (text) => text;

// path-browserify follows an older node: an extension without its dot was joined as it is.
path.format = (parts) => {
  if (parts?.ext && !parts.base && !parts.ext.startsWith(".")) {
    return posix.format({ ...parts, ext: `.${parts.ext}` });
  }
  return posix.format(parts);
};

// It says what is wrong in its own words; node's error has a code.
for (const name of [
  "basename", "dirname", "extname", "isAbsolute", "join", "normalize", "parse", "relative",
  "resolve",
]) {
  const original = posix[name];
  path[name] = (...parts) => {
    for (const part of parts) {
      if (typeof part !== "string" && (part !== undefined || name !== "basename")) {
        throw invalidType("path", "of type string", part);
      }
    }
    return original(...parts);
  };
}

path.win32 = new Proxy({}, {
  get(_target, name) {
    if (typeof name === "symbol") return undefined;
    throw codedError(
      Error, "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
      `path.win32.${name} is not available in the sandbox: paths are POSIX paths, use path.${name}`,
    );
  },
});

export default path;
