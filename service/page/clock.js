/** Time by the page's own clocks, and its guess of the server's. */

/** A moment at which something was received, on both of the page's clocks. */
export class Moment {
  /** @param {number} ageMs how old the thing already was */
  constructor(ageMs = 0) {
    this.ageMs = Math.max(0, ageMs);
    this.steady = performance.now();
    this.wall = Date.now();
  }

  /**
   * The longer of the two: the steady clock may stand still while a laptop sleeps, and an
   * old number must not wake up as a new one.
   */
  age() {
    return this.ageMs + Math.max(performance.now() - this.steady, Date.now() - this.wall);
  }
}

let offsetMs = 0;

/**
 * Learns how far the server's clock is from this one's, from a time of the server's that is
 * now `ageMs` old.
 *
 * @param {string} iso
 * @param {number} ageMs
 */
export function learnServerTime(iso, ageMs) {
  const at = Date.parse(iso);
  if (Number.isFinite(at)) offsetMs = at + ageMs - Date.now();
}

/** @returns {number} milliseconds since 1970 by the server's clock, as far as known */
export const serverNow = () => Date.now() + offsetMs;
