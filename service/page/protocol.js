/**
 * The messages of `WS /v1/live`, as the page reads them.
 *
 * @typedef {object} Stream What a camera sends; null is not known.
 * @property {string} codec
 * @property {number} width
 * @property {number} height
 * @property {number|null} fps
 * @property {number|null} keyframe_s
 * @property {"all"|"keyframes"} decoding
 *
 * @typedef {{id: string, state: string, reason?: string, rate: number, zones: string[], stream?: Stream|null}} Camera
 *   A camera may also carry `stale_after_ms`, which then counts in place of the hello's.
 *
 * @typedef {object} Hello First message of every connection.
 * @property {"hello"} type
 * @property {number} schema
 * @property {string} version
 * @property {string} model
 * @property {number} stale_after_ms Age at which a reading is no longer current.
 * @property {string} [now] ISO time by the server's clock, where it tells it.
 * @property {Camera[]} cameras
 *
 * @typedef {object} Reading
 * @property {"reading"} type
 * @property {string} camera
 * @property {number} seq
 * @property {string} captured_at ISO time by the server's clock.
 * @property {number} age_ms Age of the picture when the server sent the message.
 * @property {number|null} count
 * @property {[number, number]|null} interval
 * @property {Object<string, number|null>} zones
 * @property {string} state
 * @property {boolean} stale
 * @property {number|null} fps
 * @property {boolean} valid whether its picture came whole and shows anything that can be counted
 * @property {"black"|"covered"|"overexposed"|"frozen"|"damaged"} [invalid] why not
 *
 * @typedef {{type: "state", camera: string, state: string, reason?: string}} StateChange
 * @typedef {{type: "stream", camera: string} & Stream} StreamChange
 * @typedef {{type: "camera", camera: string, state: string, rate: number, zones: string[]}} CameraAdded
 * @typedef {{type: "removed", camera: string}} CameraRemoved
 * @typedef {{type: "heatmap", camera: string, seq: number, age_ms: number, mime: string}} HeatmapHead
 */

/** The schema this page was written for. */
export const SCHEMA = 1;

const LENGTH_BYTES = 4;
const PICTURE_TYPES = new Set(["image/jpeg", "image/png", "image/webp"]);

/**
 * Splits a binary frame: four bytes of big-endian length, that much JSON, then the picture.
 *
 * @param {ArrayBuffer} frame
 * @returns {{head: HeatmapHead, picture: Blob} | null} null for anything but a whole heatmap
 */
export function splitHeatmap(frame) {
  if (frame.byteLength < LENGTH_BYTES) return null;
  const end = LENGTH_BYTES + new DataView(frame).getUint32(0);
  if (end > frame.byteLength) return null;
  const head = parse(new TextDecoder().decode(new Uint8Array(frame, LENGTH_BYTES, end - LENGTH_BYTES)));
  if (head?.type !== "heatmap" || !PICTURE_TYPES.has(head.mime)) return null;
  return { head, picture: new Blob([new Uint8Array(frame, end)], { type: head.mime }) };
}

/**
 * @param {string} text
 * @returns {any} the value, or null where the text is not JSON
 */
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
