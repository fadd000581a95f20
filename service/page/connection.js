/** One websocket that comes back by itself. */

import { parse, splitHeatmap } from "./protocol.js";

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 30000;
const HELLO_WITHIN_MS = 10000;

/**
 * Exponential back-off with jitter: between half of the step and all of it, so that many
 * pages that lost the service together do not come back together.
 *
 * @param {number} attempt 0 for the first wait
 * @returns {number} milliseconds
 */
export function backoff(attempt, random = Math.random) {
  const step = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return step * (0.5 + 0.5 * random());
}

/**
 * @typedef {object} Handlers
 * @property {(message: any) => void} onMessage a parsed text message
 * @property {(head: import("./protocol.js").HeatmapHead, picture: Blob) => void} onHeatmap
 * @property {(state: "connecting"|"live"|"reconnecting", waitMs: number) => void} onState
 */

export class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  #attempt = 0;
  #dueAt = 0;
  #helloTimer = 0;
  #live = false;

  /**
   * @param {string} path relative to the page
   * @param {Handlers} handlers
   */
  constructor(path, handlers) {
    this.url = new URL(path, document.baseURI);
    this.url.protocol = this.url.protocol === "https:" ? "wss:" : "ws:";
    this.handlers = handlers;
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    setInterval(() => this.#tick(), 250);
  }

  open() {
    this.#dueAt = 0;
    this.handlers.onState("connecting", 0);
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.#receive(socket, event.data);
    socket.onclose = () => this.#lost(socket);
    this.#helloTimer = setTimeout(() => this.#abandon(socket), HELLO_WITHIN_MS);
    this.#socket = socket;
  }

  /** Sends now when the connection is live; says whether it did. */
  send(message) {
    if (!this.#live) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** @param {WebSocket} socket @param {string|ArrayBuffer} data */
  #receive(socket, data) {
    if (socket !== this.#socket) return;
    if (typeof data !== "string") {
      const heatmap = splitHeatmap(data);
      if (heatmap) this.handlers.onHeatmap(heatmap.head, heatmap.picture);
      return;
    }
    const message = parse(data);
    if (message?.type === "hello") this.#greeted();
    if (message) this.handlers.onMessage(message);
  }

  /** Only a hello counts as success: a proxy may accept the socket and then drop it. */
  #greeted() {
    clearTimeout(this.#helloTimer);
    this.#attempt = 0;
    this.#live = true;
    this.handlers.onState("live", 0);
  }

  /** Does not wait for the close handshake, which a dead peer never answers. */
  #abandon(socket) {
    socket.close();
    this.#lost(socket);
  }

  /** @param {WebSocket} socket */
  #lost(socket) {
    if (socket !== this.#socket) return;
    clearTimeout(this.#helloTimer);
    this.#socket = null;
    this.#live = false;
    this.#dueAt = performance.now() + backoff(this.#attempt++);
    this.#tick();
  }

  #tick() {
    if (this.#dueAt === 0) return;
    const wait = this.#dueAt - performance.now();
    if (wait <= 0) this.open();
    else this.handlers.onState("reconnecting", wait);
  }

  /** The network is back or somebody looks at the page again: try at once. */
  #hurry() {
    if (this.#dueAt !== 0) this.open();
  }
}
