/** Numbers as people read them. */

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const NOTHING = "–";

/** @param {unknown} value @returns {value is number} */
export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** @param {number|null|undefined} value */
export function whole(value) {
  return isNumber(value) ? grouped.format(Math.max(0, Math.round(value))) : NOTHING;
}

/**
 * Rounds outwards, so that the interval shown never promises more than the one sent.
 *
 * @param {[number, number]|null|undefined} interval
 */
export function range(interval) {
  if (!isNumber(interval?.[0]) || !isNumber(interval?.[1])) return "no interval";
  const low = grouped.format(Math.max(0, Math.floor(interval[0])));
  return `${low} to ${grouped.format(Math.max(0, Math.ceil(interval[1])))}`;
}

/** @param {number} ms */
export function ago(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s ago`;
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}

/** Nothing for none: it takes two readings to tell. @param {number|null|undefined} fps */
export function perSecond(fps) {
  if (!isNumber(fps) || fps <= 0) return "";
  return `· ${fps < 10 ? fps.toFixed(fps < 0.1 ? 2 : 1) : Math.round(fps)} fps`;
}

/**
 * What a camera sends, and how much of it is decoded.
 *
 * @param {import("./protocol.js").Stream|null|undefined} stream
 */
export function streamed(stream) {
  if (!stream) return "";
  const pace = isNumber(stream.fps) ? `${Math.round(stream.fps)} fps` : "";
  const decoding = stream.decoding === "keyframes" ? "key frames only" : "";
  return [stream.codec, `${stream.width} × ${stream.height}`, pace, decoding].filter(Boolean).join(" · ");
}
