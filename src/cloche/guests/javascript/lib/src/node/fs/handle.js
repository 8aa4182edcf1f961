// FileHandle: what fs.promises.open gives.

import { EventEmitter } from "../events.js";
import { Buffer } from "../buffer.js";
import * as sync from "./sync.js";

export class FileHandle extends EventEmitter {
  #fd;

  constructor(fd) {
    super();
    this.#fd = fd;
  }

  get fd() { return this.#fd; }

  async read(buffer, ...rest) {
    const isOptions = !ArrayBuffer.isView(buffer);
    const target = (isOptions ? buffer?.buffer : buffer) ?? Buffer.alloc(16384);
    const bytesRead = sync.readSync(this.#fd, target, ...(isOptions ? [buffer ?? {}] : rest));
    return { bytesRead, buffer: target };
  }

  async write(data, ...rest) {
    return { bytesWritten: sync.writeSync(this.#fd, data, ...rest), buffer: data };
  }

  async readv(buffers, position) {
    return { bytesRead: sync.readvSync(this.#fd, buffers, position), buffers };
  }

  async writev(buffers, position) {
    return { bytesWritten: sync.writevSync(this.#fd, buffers, position), buffers };
  }

  async readFile(options) { return sync.readFileSync(this.#fd, options); }
  async writeFile(data, options) { return sync.writeFileSync(this.#fd, data, options); }
  async appendFile(data, options) { return sync.appendFileSync(this.#fd, data, options); }
  async stat(options) { return sync.fstatSync(this.#fd, options); }
  async truncate(size) { return sync.ftruncateSync(this.#fd, size); }
  async utimes(atime, mtime) { return sync.futimesSync(this.#fd, atime, mtime); }
  async sync() { return sync.fsyncSync(this.#fd); }
  async datasync() { return sync.fsyncSync(this.#fd); }

  async close() {
    if (this.#fd < 0) return;
    sync.closeSync(this.#fd);
    this.#fd = -1;
    this.emit("close");
  }

  async* readLines() {
    const lines = String(await this.readFile("utf8")).split(/\r\n|\n|\r/);
    if (lines.at(-1) === "") lines.pop();
    yield* lines;
  }

  [Symbol.asyncDispose]() { return this.close(); }
}
