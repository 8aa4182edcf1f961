// POSIX errors: the host answers with WASI numbers, programs expect node's Linux numbers.

// name: [WASI preview 1 errno, Linux errno, libuv's message]
const ERRNO = {
  E2BIG: [1, 7, "argument list too long"],
  EACCES: [2, 13, "permission denied"],
  EAGAIN: [6, 11, "resource temporarily unavailable"],
  EBADF: [8, 9, "bad file descriptor"],
  EBUSY: [10, 16, "resource busy or locked"],
  EEXIST: [20, 17, "file already exists"],
  EFAULT: [21, 14, "bad address in system call argument"],
  EFBIG: [22, 27, "file too large"],
  EILSEQ: [25, 84, "illegal byte sequence"],
  EINTR: [27, 4, "interrupted system call"],
  EINVAL: [28, 22, "invalid argument"],
  EIO: [29, 5, "i/o error"],
  EISDIR: [31, 21, "illegal operation on a directory"],
  ELOOP: [32, 40, "too many symbolic links encountered"],
  EMFILE: [33, 24, "too many open files"],
  EMLINK: [34, 31, "too many links"],
  ENAMETOOLONG: [37, 36, "name too long"],
  ENFILE: [41, 23, "file table overflow"],
  ENOENT: [44, 2, "no such file or directory"],
  ENOMEM: [48, 12, "not enough memory"],
  ENOSPC: [51, 28, "no space left on device"],
  ENOSYS: [52, 38, "function not implemented"],
  ENOTDIR: [54, 20, "not a directory"],
  ENOTEMPTY: [55, 39, "directory not empty"],
  ENOTSUP: [58, 95, "operation not supported on socket"],
  EOVERFLOW: [61, 75, "value too large for defined data type"],
  EPERM: [63, 1, "operation not permitted"],
  EPIPE: [64, 32, "broken pipe"],
  EROFS: [69, 30, "read-only file system"],
  ESPIPE: [70, 29, "invalid seek"],
  EXDEV: [75, 18, "cross-device link not permitted"],
  // WASI refuses a path outside its grant with a number of its own; node knows it as EPERM.
  ENOTCAPABLE: [76, 1, "operation not permitted"],
};
const UNKNOWN = ["EIO", ERRNO.EIO];
const byWasi = new Map(Object.entries(ERRNO).map((entry) => [entry[1][0], entry]));

/** os.constants.errno: name to Linux number. */
export const numbers = Object.fromEntries(
  Object.entries(ERRNO)
    .filter(([name]) => name !== "ENOTCAPABLE")
    .map(([name, row]) => [name, row[1]]),
);

/** The name of a negative errno as node shows it. */
export const nameOfErrno = (errno) =>
  Object.keys(numbers).find((name) => numbers[name] === -errno);

/** Rows of util.getSystemErrorMap: [-errno, [name, message]]. */
export const codeOfErrno = () =>
  Object.keys(numbers).map((name) => [-numbers[name], [name, ERRNO[name][2]]]);

/** The name of a WASI errno. */
export const nameOfWasi = (wasi) => {
  const name = (byWasi.get(wasi) ?? UNKNOWN)[0];
  return name === "ENOTCAPABLE" ? "EPERM" : name;
};

/**
 * Make node's error for a failed file operation:
 * `ENOENT: no such file or directory, open '/x'`, with errno, code, syscall, path and dest.
 */
export function systemError(code, syscall, path, dest) {
  const [, number, text] = ERRNO[code] ?? UNKNOWN[1];
  let message = `${code}: ${text}, ${syscall}`;
  if (path !== undefined) message += ` '${path}'`;
  if (dest !== undefined) message += ` -> '${dest}'`;
  const error = new Error(message);
  error.errno = -number;
  error.code = code;
  error.syscall = syscall;
  if (path !== undefined) error.path = path;
  if (dest !== undefined) error.dest = dest;
  return error;
}
