// ws, the WebSocket library of Node, as a server: an outside reference, all of it JavaScript but zlib and, where the
// environment has it, bufferutil. The process under test of server rows. usage: ws_server.js SPEC (the JSON of spec.py)
"use strict";

const { execFileSync } = require("node:child_process");
const { randomBytes } = require("node:crypto");
const { WebSocketServer } = require("ws");

const MESSAGE_LIMIT = 16 * 1024 * 1024; // as in spec.py
const BACKLOG = 1024;
// As websockets has by default: 12 bits of window, memory level 5, a context for each connection.
const DEFLATE = { zlibDeflateOptions: { windowBits: 12, memLevel: 5 }, serverMaxWindowBits: 12, threshold: 0 };

const spec = JSON.parse(process.argv[2]);
const message = randomBytes(spec.size);

function masking() {
  try {
    const version = require("bufferutil/package.json").version;
    // Where its binary cannot be loaded it quietly takes functions in JavaScript instead.
    if (String(require("bufferutil").unmask).includes("[native code]")) return `bufferutil ${version}`;
  } catch {}
  return "masks in JavaScript";
}

function echo(socket) {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
}

function broadcast(socket, server) {
  socket.on("message", () => {
    for (let count = 0; count < spec.repeat; count++) {
      for (const each of server.clients) each.send(message);
    }
  });
}

function main() {
  execFileSync("taskset", ["-acp", String(spec.cpu), String(process.pid)]);
  setTimeout(() => process.exit(1), (60 + 5 * spec.seconds) * 1000).unref();
  process.on("SIGUSR1", () => global.gc()); // the generator of the memory rows asks for it
  const server = new WebSocketServer({
    host: "127.0.0.1",
    port: spec.port,
    backlog: BACKLOG,
    maxPayload: MESSAGE_LIMIT,
    perMessageDeflate: spec.deflate ? DEFLATE : false,
  });
  server.on("connection", (socket) => (spec.server === "broadcast" ? broadcast : echo)(socket, server));
  server.on("listening", () => {
    const facts = {
      library: `ws ${require("ws/package.json").version}`,
      node: process.version,
      implementation: masking(),
      loop: `libuv ${process.versions.uv}`,
      compression: spec.deflate ? "12 bits, memory level 5, a context for each connection" : null,
      max_payload: MESSAGE_LIMIT,
      broadcast: "send on each",
    };
    console.log(JSON.stringify({ port: server.address().port, pid: process.pid, facts }));
  });
}

main();
