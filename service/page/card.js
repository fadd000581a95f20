/** One camera's card. */

import { Moment } from "./clock.js";
import { NOTHING, ago, perSecond, range, streamed, whole } from "./format.js";
import { Picture } from "./picture.js";
import { Series, fetchHistory } from "./series.js";
import { Sparkline } from "./sparkline.js";
import { Outlines, fetchPolygons } from "./zones.js";

const STATES = {
  connecting: "connecting",
  live: "live",
  stalled: "stalled",
  frozen: "frozen",
  dark: "dark",
  down: "down",
  auth_failed: "auth failed",
  quarantined: "quarantined",
};
const REDRAW_MS = 1000;

/** @param {Element} node @param {string} text */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export class Card {
  /** @type {import("./protocol.js").Reading|null} */
  reading = null;
  /** @type {Moment|null} when the newest reading's picture was taken */
  taken = null;
  series = new Series();
  #drawnAt = -Infinity;

  /**
   * @param {import("./protocol.js").Camera} camera
   * @param {HTMLTemplateElement} template
   */
  constructor(camera, template) {
    this.id = camera.id;
    this.root = /** @type {HTMLElement} */ (template.content.firstElementChild.cloneNode(true));
    this.parts = {};
    for (const node of this.root.querySelectorAll("[data-role]")) this.parts[node.dataset.role] = node;
    this.root.dataset.camera = camera.id;
    this.root.setAttribute("aria-label", `Camera ${camera.id}`);
    write(this.parts.name, camera.id);
    this.parts.name.title = camera.id;
    this.parts.picture.alt = `Picture of camera ${camera.id} with the crowd's density drawn over it`;
    this.outlines = new Outlines(this.parts.outlines, this.parts.picture);
    this.picture = new Picture(this.parts.picture, this.parts.picture.parentElement);
    this.sparkline = new Sparkline(this.parts.sparkline);
    this.describe(camera);
  }

  /** Takes what a hello or a camera message says. @param {import("./protocol.js").Camera} camera */
  describe(camera) {
    this.staleAfterMs = camera.stale_after_ms;
    this.rate = camera.rate > 0 ? camera.rate : 1;
    this.setZones(camera.zones ?? []);
    this.#outlineZones();
    this.setState(camera.state, camera.reason);
    this.setStream(camera.stream);
  }

  /** @param {import("./protocol.js").Stream|null|undefined} stream */
  setStream(stream) {
    write(this.parts.stream, streamed(stream));
    this.parts.stream.hidden = !stream;
  }

  async loadHistory() {
    this.series.add(...(await fetchHistory(this.id)));
    this.#drawnAt = -Infinity;
  }

  /** @param {string[]} names */
  setZones(names) {
    this.zones = new Map();
    const chips = names.map((name) => {
      const [chip, label, value] = ["li", "span", "b"].map((tag) => document.createElement(tag));
      label.textContent = name;
      value.textContent = this.#ofPeople(this.reading?.zones?.[name]);
      chip.append(label, value);
      chip.dataset.zone = name;
      chip.onpointerenter = () => this.outlines.light(name, true);
      chip.onpointerleave = () => this.outlines.light(name, false);
      this.zones.set(name, value);
      return chip;
    });
    this.parts.zones.replaceChildren(...chips);
    this.parts.zones.hidden = chips.length === 0;
  }

  async #outlineZones() {
    const zones = this.zones;
    const polygons = zones.size > 0 ? await fetchPolygons(this.id) : {};
    if (this.zones === zones) this.outlines.draw(polygons); // else they have changed meanwhile
  }

  /** @param {string} state @param {string} [reason] */
  setState(state, reason = "") {
    this.state = state;
    this.root.dataset.state = state;
    write(this.parts.state, STATES[state] ?? state);
    write(this.parts.reason, reason);
    this.parts.reason.hidden = reason === "" || state === "live";
  }

  /** @param {import("./protocol.js").Reading} reading */
  setReading(reading) {
    this.reading = reading;
    this.root.dataset.blank = "false";
    this.taken = new Moment(reading.age_ms);
    if (reading.state && reading.state !== this.state) this.setState(reading.state);
    const zones = reading.zones ?? {};
    if (Object.keys(zones).some((name) => !this.zones.has(name))) this.setZones(Object.keys(zones));
    for (const [name, value] of this.zones) write(value, this.#ofPeople(zones[name]));
    write(this.parts.count, this.#ofPeople(reading.count));
    write(this.parts.interval, this.#isValid() ? range(reading.interval) : (reading.invalid ?? "no count"));
    write(this.parts.fps, perSecond(reading.fps));
    this.series.add(reading);
  }

  #isValid() {
    return this.reading?.valid !== false;
  }

  /** What a picture without a view was counted for is no number of people. @param {number|null|undefined} value */
  #ofPeople(value) {
    return this.#isValid() ? whole(value) : NOTHING;
  }

  /**
   * Whether the number on show is not about now: the server says so, the camera is not live,
   * or nothing has come for too long by the page's own clock.
   */
  isStale(staleAfterMs) {
    if (!this.reading) return false;
    return this.reading.stale || this.state !== "live" || this.taken.age() > (this.staleAfterMs ?? staleAfterMs);
  }

  /** Whether the number may be added to a total. */
  isCurrent(staleAfterMs) {
    return this.reading !== null && this.#isValid() && !this.isStale(staleAfterMs);
  }

  /** Brings everything that depends on the time up to date. */
  refresh(defaultStaleAfterMs, heatmaps) {
    const staleAfterMs = this.staleAfterMs ?? defaultStaleAfterMs;
    const stale = this.isStale(staleAfterMs);
    const valid = this.#isValid();
    this.root.dataset.stale = String(stale);
    this.root.dataset.valid = String(valid);
    this.parts.flag.hidden = valid && !stale;
    this.parts.fps.hidden = stale;
    write(this.parts.flag, valid ? "stale" : "not valid");
    write(this.parts.age, this.taken ? ago(this.taken.age()) : "no reading yet");
    this.#refreshPicture(staleAfterMs, heatmaps);
    if (performance.now() - this.#drawnAt >= REDRAW_MS) this.#redraw(staleAfterMs);
  }

  /** A picture has an age of its own: numbers may come on while pictures do not. */
  #refreshPicture(staleAfterMs, heatmaps) {
    if (!heatmaps && this.picture.shown) this.picture.clear();
    const shown = this.picture.shown;
    const old = shown !== null && shown.age() > staleAfterMs;
    this.picture.frame.dataset.old = String(old);
    write(this.parts["picture-note"], shown ? (old ? `picture from ${ago(shown.age())}` : "") : this.#noPicture());
  }

  #noPicture() {
    return this.state === "connecting" ? "No picture yet" : "No picture";
  }

  #redraw(staleAfterMs) {
    this.#drawnAt = performance.now();
    this.sparkline.draw(this.series.points, Math.max(2 * staleAfterMs, 3000 / this.rate));
  }

  remove() {
    this.picture.clear();
    this.sparkline.stop();
    this.root.remove();
  }
}
