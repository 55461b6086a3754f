// A peer made of Node's `ws`: a server that echoes and takes orders, or a client that is driven over stdin.
//
//     node peer.js '{"role": "server", "compress": true, "pem": "server.pem"}'
//     node peer.js '{"role": "client", "url": "wss://...", "compress": true, "authority": "authority.pem"}'
//
// It prints a line of JSON for everything that its user waits for, and ends with its stdin.

"use strict";

const fs = require("fs");
const http = require("http");
const https = require("https");
const readline = require("readline");
const { WebSocket, WebSocketServer } = require("ws");

const options = JSON.parse(process.argv[2]);
// Everything is compressed, however short.
const perMessageDeflate = options.compress ? { threshold: 0 } : false;
const maxPayload = 4 << 20;

function say(what) {
  process.stdout.write(JSON.stringify(what) + "\n");
}

function describe(data, isBinary) {
  return isBinary ? { binary: data.toString("base64") } : { text: data.toString() };
}

// --- server ---

function sendFragments(socket, parts) {
  parts.forEach((part, index) => socket.send(part, { fin: index === parts.length - 1 }));
}

function obey(socket, order) {
  const [verb, ...rest] = order.split(" ");
  if (verb === "!fragments") {
    const parts = ["one ", "two ", "three"];
    sendFragments(socket, rest[0] === "binary" ? parts.map((part) => Buffer.from(part)) : parts);
  } else if (verb === "!ping") {
    socket.once("pong", (data) => socket.send("pong " + data.toString()));
    socket.ping("are you there");
  } else if (verb === "!close") {
    socket.close(Number(rest[0]), rest.slice(1).join(" "));
  }
}

function serve() {
  const pem = options.pem && fs.readFileSync(options.pem);
  const server = pem ? https.createServer({ key: pem, cert: pem }) : http.createServer();
  const sockets = new WebSocketServer({ server, perMessageDeflate, maxPayload });
  sockets.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => {
      if (!isBinary && data[0] === 0x21) obey(socket, data.toString());
      else socket.send(data, { binary: isBinary });
    });
    socket.on("close", (code, reason) => say({ closed: [code, reason.toString()] }));
    socket.on("error", (error) => say({ error: String(error) }));
  });
  server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
}

// --- client ---

function dial() {
  const ca = options.authority && fs.readFileSync(options.authority);
  const socket = new WebSocket(options.url, { perMessageDeflate, maxPayload, ca });
  socket.on("open", () => say({ extensions: socket.extensions }));
  socket.on("message", (data, isBinary) => say(describe(data, isBinary)));
  socket.on("pong", (data) => say({ pong: data.toString() }));
  socket.on("close", (code, reason) => say({ closed: [code, reason.toString()] }));
  socket.on("error", (error) => say({ error: String(error) }));
  return socket;
}

function payload(part) {
  return part.binary === undefined ? part.text : Buffer.from(part.binary, "base64");
}

function drive(socket, order) {
  if (order.send) sendFragments(socket, order.send.map(payload));
  else if (order.ping !== undefined) socket.ping(order.ping);
  else if (order.close) socket.close(...order.close);
}

const socket = options.role === "server" ? serve() : dial();
const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => drive(socket, JSON.parse(line)));
lines.on("close", () => process.exit(0));
