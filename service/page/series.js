/** The last five minutes of one camera. */

import { isNumber } from "./format.js";
import { serverNow } from "./clock.js";

export const WINDOW_MS = 5 * 60 * 1000;

/**
 * @typedef {object} Point
 * @property {number} at milliseconds by the server's clock
 * @property {number} count
 * @property {[number, number]|null} interval
 */

/** @returns {Point|null} null where the reading holds no number to draw */
function point(reading) {
  const at = Date.parse(reading.captured_at);
  if (!Number.isFinite(at) || !isNumber(reading.count) || reading.valid === false) return null;
  const interval = isNumber(reading.interval?.[0]) && isNumber(reading.interval?.[1]) ? reading.interval : null;
  return { at, count: reading.count, interval };
}

export class Series {
  /** @type {Point[]} in the order of time */
  points = [];

  /** Adds readings from the history or a live one; the same moment twice counts once. */
  add(...readings) {
    const fresh = readings.map(point).filter((item) => item !== null);
    const last = this.points.at(-1);
    if (fresh.length === 1 && (!last || fresh[0].at > last.at)) this.points.push(fresh[0]);
    else this.#merge(fresh);
    this.#forget();
  }

  #merge(fresh) {
    const byTime = new Map([...fresh, ...this.points].map((item) => [item.at, item]));
    this.points = [...byTime.values()].sort((a, b) => a.at - b.at);
  }

  #forget() {
    const oldest = serverNow() - WINDOW_MS;
    const keep = this.points.findIndex((item) => item.at >= oldest);
    if (keep !== 0) this.points.splice(0, keep < 0 ? this.points.length : keep);
  }
}

/**
 * @param {string} camera
 * @returns {Promise<object[]>} its readings of the last five minutes; none where the service keeps none
 */
export async function fetchHistory(camera) {
  const now = serverNow();
  const query = new URLSearchParams({
    from: new Date(now - WINDOW_MS).toISOString(),
    to: new Date(now).toISOString(),
  });
  try {
    const answer = await fetch(`v1/cameras/${encodeURIComponent(camera)}/history?${query}`);
    const body = answer.ok ? await answer.json() : null;
    return Array.isArray(body?.readings) ? body.readings : [];
  } catch {
    return [];
  }
}
