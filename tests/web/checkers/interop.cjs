// A client of WebSockets, made with the npm package `ws`: says things, prints what it heard as JSON.
// Arguments: the folder of the package, the address.
"use strict";
const { WebSocket } = require(process.argv[2]);
const address = process.argv[3];

function talk(path, options, act) {
  return new Promise((resolve) => {
    const heard = { messages: [], pongs: 0, subprotocol: null, extensions: null, code: null, error: null };
    const socket = new WebSocket(address + path, options.protocols || [], options);
    socket.on("open", () => {
      heard.subprotocol = socket.protocol;
      heard.extensions = socket.extensions;
      act(socket);
    });
    socket.on("message", (data, isBinary) => {
      heard.messages.push(isBinary ? ["binary", data.length, data.toString("hex").slice(0, 16)]
                                   : ["text", data.length, data.toString().slice(0, 16)]);
      if (heard.messages.length === options.expect) socket.close(options.closeWith || 1000, "done");
    });
    socket.on("pong", (data) => { heard.pongs += data.toString() === "still there?" ? 1 : 0; });
    socket.on("error", (error) => { heard.error = error.message; });
    socket.on("close", (code) => { heard.code = code; resolve(heard); });
  });
}

async function main() {
  const found = {};
  found.plain = await talk("/echo", { expect: 4, perMessageDeflate: false }, (socket) => {
    socket.ping("still there?");
    socket.send("grüß gott");
    socket.send(Buffer.from([0, 255, 1]));
    socket.send("fragments ", { fin: false });
    socket.send("of one", { fin: true });
    socket.send(Buffer.alloc(1000000, 7));
  });
  found.deflate = await talk("/deflate", { expect: 2 }, (socket) => {
    socket.send("a".repeat(100000));
    socket.send(Buffer.alloc(100000, 9));
  });
  found.subprotocol = await talk("/chat", { expect: 1, protocols: ["none", "chat"] }, (socket) => {
    socket.send("hello");
  });
  found.code = await talk("/echo", { expect: 1, closeWith: 4001 }, (socket) => socket.send("x"));
  found.closed = await talk("/close", {}, () => {});
  found.large = await talk("/echo", {}, (socket) => socket.send(Buffer.alloc((1 << 20) + 1)));
  found.refused = await talk("/none", {}, () => {});
  process.stdout.write(JSON.stringify(found) + "\n");
}

main();
