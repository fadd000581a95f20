/** Draws a series as a line inside the band of its intervals. */

import { serverNow } from "./clock.js";
import { whole } from "./format.js";
import { WINDOW_MS } from "./series.js";

const GUTTER = 40;
const PAD = 7;
const LABEL_GAP = 13;

/** @typedef {import("./series.js").Point} Point */

export class Sparkline {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.width = 0;
    this.height = 0;
    this.sizes = new ResizeObserver(([entry]) => {
      ({ width: this.width, height: this.height } = entry.contentRect);
      this.draw(this.last ?? [], this.gapMs);
    });
    this.sizes.observe(canvas);
  }

  stop() {
    this.sizes.disconnect();
  }

  /**
   * @param {Point[]} points
   * @param {number} gapMs a longer silence than this breaks the line
   */
  draw(points, gapMs = 15000) {
    this.last = points;
    this.gapMs = gapMs;
    const now = serverNow();
    const shown = points.filter((point) => point.at >= now - WINDOW_MS);
    this.#describe(shown);
    if (this.width === 0) return;
    const pen = this.#prepare();
    const ink = getComputedStyle(this.canvas);
    if (shown.length === 0) return this.#nothing(pen, ink);
    const scale = this.#scale(shown, now);
    for (const run of runs(shown, gapMs)) {
      band(pen, run, scale, ink.getPropertyValue("--spark-band"));
      line(pen, run, scale, ink.getPropertyValue("--spark-line"));
    }
    head(pen, shown.at(-1), scale, ink.getPropertyValue("--spark-line"));
    this.#labels(pen, ink, shown, scale);
  }

  /** Sizes the canvas in device pixels and lets the pen draw in CSS pixels. */
  #prepare() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    return pen;
  }

  /** @param {Point[]} shown */
  #scale(shown, now) {
    let low = Math.min(...shown.map((point) => point.interval?.[0] ?? point.count));
    let high = Math.max(...shown.map((point) => point.interval?.[1] ?? point.count));
    if (high - low < 4) [low, high] = [(low + high) / 2 - 2, (low + high) / 2 + 2];
    const right = this.width - GUTTER;
    const tall = this.height - 2 * PAD;
    return {
      x: (at) => Math.min(right, Math.max(0, right * (1 - (now - at) / WINDOW_MS))),
      y: (value) => PAD + tall * (1 - (value - low) / (high - low)),
    };
  }

  #labels(pen, ink, shown, scale) {
    const [low, high] = extremes(shown);
    pen.font = `11px ${ink.fontFamily}`;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    pen.fillStyle = ink.color;
    const middle = (scale.y(low) + scale.y(high)) / 2;
    const apart = Math.max(LABEL_GAP, scale.y(low) - scale.y(high)) / 2;
    if (whole(low) === whole(high)) return pen.fillText(whole(high), this.width, middle);
    pen.fillText(whole(high), this.width, middle - apart);
    pen.fillText(whole(low), this.width, middle + apart);
  }

  /** No readings: a dotted line, which nobody takes for a measured zero. */
  #nothing(pen, ink) {
    pen.setLineDash([1, 6]);
    pen.lineCap = "round";
    pen.lineWidth = 1.5;
    pen.strokeStyle = ink.getPropertyValue("--edge-strong");
    pen.strokeRect(1, this.height / 2, this.width - 2, 0);
    pen.setLineDash([]);
  }

  #describe(shown) {
    const [low, high] = extremes(shown).map(whole);
    const text = shown.length === 0 ? "no readings" : `between ${low} and ${high}`;
    const label = `Last 5 minutes: ${text}`;
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
  }
}

/** @param {Point[]} points @returns {[number, number]} */
function extremes(points) {
  const counts = points.map((point) => point.count);
  return [Math.min(...counts), Math.max(...counts)];
}

/** Cuts the points where nothing came for too long: a straight line there would be invented. */
function runs(points, gapMs) {
  /** @type {Point[][]} */
  const found = [];
  for (const [index, point] of points.entries()) {
    if (index === 0 || point.at - points[index - 1].at > gapMs) found.push([]);
    found.at(-1).push(point);
  }
  return found;
}

function band(pen, run, scale, colour) {
  const known = run.filter((point) => point.interval);
  if (known.length < 2) return;
  pen.beginPath();
  for (const point of known) pen.lineTo(scale.x(point.at), scale.y(point.interval[1]));
  for (const point of known.reverse()) pen.lineTo(scale.x(point.at), scale.y(point.interval[0]));
  pen.closePath();
  pen.fillStyle = colour;
  pen.fill();
}

function line(pen, run, scale, colour) {
  pen.beginPath();
  for (const point of run) pen.lineTo(scale.x(point.at), scale.y(point.count));
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.lineJoin = pen.lineCap = "round";
  pen.stroke();
}

function head(pen, point, scale, colour) {
  pen.beginPath();
  pen.arc(scale.x(point.at), scale.y(point.count), 2.5, 0, 2 * Math.PI);
  pen.fillStyle = colour;
  pen.fill();
}
