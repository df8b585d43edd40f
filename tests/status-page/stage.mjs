// A gateway and a simulator as processes, and consumers as gRPC streams over node's own HTTP/2.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const HOSTILE_TAG = "<img src=x onerror=alert(1)>";
const DEADLINE = 60_000;
const RULES = { cats: "cat", dogs: "dog", japanese: "lang:ja", links: "has:links", retweets: "is:retweet", "news.economy": "market", "news.sport": "goal" };

/** Waits for a condition. */
export async function eventually(what, condition) {
  const end = Date.now() + DEADLINE;
  let last = null;
  while (Date.now() < end) {
    try {
      const found = await condition();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`not within ${DEADLINE} ms: ${what}${last ? ` (${last})` : ""}`);
}

function freePort() {
  return new Promise((done) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export class Stage {
  constructor(gateway) {
    this.gateway = gateway;
    this.dir = mkdtempSync(join(tmpdir(), "status-page-"));
    this.children = new Map();
    this.channels = [];
  }

  async start() {
    [this.x, this.grpc, this.admin] = [await freePort(), await freePort(), await freePort()];
    const rules = Object.entries(RULES).flatMap(([tag, value]) => ["--rule", `${tag}=${value}`]);
    this.spawn("simulator", ["simulate", "--listen", `127.0.0.1:${this.x}`, "--rate", "40", "--seed", "7", ...rules]);
    await eventually("the simulator listens", () => this.connects(this.x));
    await this.startGateway();
  }

  /** Starts the gateway, again or for the first time. `more` is added to its configuration. */
  async startGateway(more = {}) {
    const config = {
      data_dir: join(this.dir, "data"),
      accounts: [{ name: "main", url: `http://127.0.0.1:${this.x}`, bearer: { file: join(this.dir, "bearer") } }],
      grpc: { address: `127.0.0.1:${this.grpc}` },
      admin: { address: `127.0.0.1:${this.admin}` },
      ...more,
    };
    mkdirSync(config.data_dir, { recursive: true });
    writeFileSync(join(this.dir, "bearer"), "any");
    writeFileSync(join(this.dir, "gateway.yaml"), JSON.stringify(config));
    this.spawn("gateway", ["serve", "--config", join(this.dir, "gateway.yaml")]);
    await eventually("the gateway is ready", async () => (await fetch(`http://127.0.0.1:${this.admin}/readyz`)).ok);
  }

  spawn(name, args) {
    const child = spawn(this.gateway, args, { cwd: this.dir, stdio: ["ignore", "pipe", "pipe"] });
    child.log = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (child.log += data));
    child.ended = new Promise((done) => child.on("exit", done));
    this.children.set(name, child);
  }

  async stop(name) {
    const child = this.children.get(name);
    this.children.delete(name);
    child.kill("SIGTERM");
    await child.ended;
  }

  connects(port) {
    return new Promise((done) => {
      const socket = net.connect(port, "127.0.0.1", () => { socket.destroy(); done(true); });
      socket.on("error", () => done(false));
    });
  }

  /** Calls the simulator. */
  async play(path, body = null) {
    const answer = await fetch(`http://127.0.0.1:${this.x}/simulator/${path}`, { method: "POST", body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  }

  /** Opens a session. A filter without terms selects everything. */
  subscribe(channel, consumer, tags = []) {
    const field = (number, bytes) => Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
    const filter = Buffer.concat(tags.map((tag) => field(1, Buffer.from(tag))));
    // SubscribeRequest: consumer = 2, filter = 3, latest = 8.
    const message = Buffer.concat([field(2, Buffer.from(consumer)), field(3, filter), field(8, Buffer.alloc(0))]);
    const stream = channel.request({
      ":method": "POST", ":path": "/powerstream.gateway.v1.StreamService/Subscribe",
      "content-type": "application/grpc", te: "trailers",
    });
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    stream.on("error", () => {});
    stream.end(Buffer.concat([head, message]));
    return stream;
  }

  channel() {
    const channel = http2.connect(`http://127.0.0.1:${this.grpc}`);
    channel.on("error", () => {});
    this.channels.push(channel);
    return channel;
  }

  /** Opens this many sessions, and reads from all except the stalled ones. */
  sessions(count, stalled = 0) {
    const names = ["indexer", "archive", "alerts", "dashboard", "search"];
    let channel = null;
    for (let n = 0; n < count; n++) {
      if (n % 50 === 0) channel = this.channel();
      const tag = Object.keys(RULES)[n % 4];
      const stream = this.subscribe(channel, `${names[n % names.length]}-${n}`, n % 7 === 0 ? [] : [tag]);
      if (n >= stalled) stream.resume();
    }
  }

  async close() {
    this.channels.forEach((channel) => channel.destroy());
    await Promise.all([...this.children.keys()].map((name) => this.stop(name)));
    rmSync(this.dir, { recursive: true, force: true });
  }
}
