// fs.constants: Linux numbers, because programs compare with them.

export const constants = Object.freeze({
  F_OK: 0, R_OK: 4, W_OK: 2, X_OK: 1,
  COPYFILE_EXCL: 1, COPYFILE_FICLONE: 2, COPYFILE_FICLONE_FORCE: 4,
  O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2, O_CREAT: 0o100, O_EXCL: 0o200, O_TRUNC: 0o1000,
  O_APPEND: 0o2000, O_SYNC: 0o4010000, O_DIRECTORY: 0o200000, O_NOFOLLOW: 0o400000,
  S_IFMT: 0o170000, S_IFREG: 0o100000, S_IFDIR: 0o40000, S_IFCHR: 0o20000, S_IFLNK: 0o120000,
  S_IRWXU: 0o700, S_IRUSR: 0o400, S_IWUSR: 0o200, S_IXUSR: 0o100,
  S_IRWXG: 0o70, S_IRGRP: 0o40, S_IWGRP: 0o20, S_IXGRP: 0o10,
  S_IRWXO: 0o7, S_IROTH: 0o4, S_IWOTH: 0o2, S_IXOTH: 0o1,
  UV_FS_COPYFILE_EXCL: 1, UV_DIRENT_FILE: 1, UV_DIRENT_DIR: 2, UV_DIRENT_LINK: 3,
});

const FLAGS = {
  r: 0, rs: 0, "r+": 2, "rs+": 2,
  w: 0o1101, wx: 0o1301, "w+": 0o1102, "wx+": 0o1302,
  a: 0o2101, ax: 0o2301, "a+": 0o2102, "ax+": 0o2302, as: 0o2101, "as+": 0o2102,
};
const SWAPPED = {
  sr: "rs", "sr+": "rs+", xw: "wx", "xw+": "wx+", xa: "ax", "xa+": "ax+", sa: "as", "sa+": "as+",
};

/** Turn `"w+"` or a number into bits; undefined when there is no such flag. */
export function flagBits(flags) {
  if (flags === undefined || flags === null) return constants.O_RDONLY;
  if (typeof flags === "number") return flags;
  return FLAGS[SWAPPED[flags] ?? flags];
}
