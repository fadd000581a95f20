/** The live page: one connection, one card for each camera, one total. */

import { Card } from "./card.js";
import { learnServerTime } from "./clock.js";
import { Connection } from "./connection.js";
import { NOTHING, whole } from "./format.js";
import { SCHEMA } from "./protocol.js";

const READINGS_PER_SECOND = 5;
const REFRESH_MS = 250;
const HEATMAPS_KEY = "throng.heatmaps";

/** @param {string} role @returns {HTMLElement} */
const part = (role) => document.querySelector(`[data-role="${role}"]`);

/** @type {Map<string, Card>} */
const cards = new Map();
let staleAfterMs = 5000;
let greeted = false;

const toggle = /** @type {HTMLInputElement} */ (part("heatmaps"));
const connection = new Connection("v1/live", { onMessage, onHeatmap, onState });

// ---- what the server says

const handlers = {
  hello(message) {
    greeted = true;
    staleAfterMs = message.stale_after_ms ?? staleAfterMs;
    if (message.now) learnServerTime(message.now, 0);
    part("model").textContent = `Crowd counting · ${message.model}`;
    part("version").textContent = `Version ${message.version}`;
    notice(message.schema === SCHEMA ? "" : "This page is older than the service: reload it.");
    keepOnly(message.cameras);
    subscribe();
  },
  camera(message) {
    addCamera({ ...message, id: message.camera });
  },
  removed(message) {
    cards.get(message.camera)?.remove();
    cards.delete(message.camera);
  },
  state(message) {
    cards.get(message.camera)?.setState(message.state, message.reason);
  },
  stream(message) {
    cards.get(message.camera)?.setStream(message);
  },
  reading(message) {
    learnServerTime(message.captured_at, message.age_ms);
    const card = cards.get(message.camera);
    card?.setReading(message);
    card?.refresh(staleAfterMs, toggle.checked);
  },
};

function onMessage(message) {
  if (!Object.hasOwn(handlers, message.type)) return;
  handlers[message.type](message);
  if (message.type !== "reading") refresh();
}

function onHeatmap(head, picture) {
  if (toggle.checked) cards.get(head.camera)?.picture.show(picture, head.age_ms);
}

function onState(state, waitMs) {
  const node = part("connection");
  const text = state === "reconnecting" ? `reconnecting in ${Math.ceil(waitMs / 1000)} s` : state;
  if (node.textContent !== text) node.textContent = text;
  node.dataset.state = state;
  document.body.dataset.connection = state;
}

// ---- what the page asks for

/** Nobody sees the pictures of a hidden tab, so it does not ask for them. */
function subscribe() {
  const heatmaps = toggle.checked && !document.hidden;
  connection.send({ type: "subscribe", cameras: null, rate: READINGS_PER_SECOND, heatmaps });
}

toggle.addEventListener("change", () => {
  remember(toggle.checked);
  subscribe();
  refresh();
});
document.addEventListener("visibilitychange", subscribe);

// ---- the cards

/** @param {import("./protocol.js").Camera} camera */
function addCamera(camera) {
  const known = cards.get(camera.id);
  if (known) return known.describe(camera);
  const card = new Card(camera, document.querySelector("template#card"));
  cards.set(camera.id, card);
  part("grid").append(card.root);
  card.loadHistory();
}

/** After a reconnection: drops what went away, and fills in what was missed meanwhile. */
function keepOnly(cameras) {
  const ids = new Set(cameras.map((camera) => camera.id));
  for (const id of cards.keys()) if (!ids.has(id)) handlers.removed({ camera: id });
  for (const card of cards.values()) card.loadHistory();
  cameras.forEach(addCamera);
}

function refresh() {
  document.body.dataset.heatmaps = String(toggle.checked);
  for (const card of cards.values()) card.refresh(staleAfterMs, toggle.checked);
  showTotal();
  part("empty").hidden = !greeted || cards.size > 0;
}

/** Only current numbers are added up: a sum with an old number in it would look new. */
function showTotal() {
  const current = [...cards.values()].filter((card) => card.isCurrent(staleAfterMs));
  const sum = current.reduce((total, card) => total + (card.reading.count ?? 0), 0);
  part("total").dataset.blank = String(current.length === 0);
  part("total").textContent = current.length > 0 ? whole(sum) : NOTHING;
  part("total-detail").textContent = cards.size > 0 ? `${current.length} of ${cards.size} cameras` : "no cameras";
}

function notice(text) {
  part("notice").textContent = text;
  part("notice").hidden = text === "";
}

// ---- start

/** Storage may be forbidden; then the choice lasts as long as the page. */
function remember(on) {
  try {
    localStorage.setItem(HEATMAPS_KEY, on ? "on" : "off");
  } catch {}
}

function recall() {
  try {
    return localStorage.getItem(HEATMAPS_KEY) !== "off";
  } catch {
    return true;
  }
}

function showExample() {
  const address = new URL("v1/cameras/entrance", document.baseURI);
  part("curl").textContent = [
    `curl -X PUT ${address} \\`,
    `  -H 'content-type: application/json' \\`,
    `  -d '{"source": "rtsp://camera.example/stream"}'`,
  ].join("\n");
}

toggle.checked = recall();
showExample();
refresh();
setInterval(refresh, REFRESH_MS);
connection.open();
