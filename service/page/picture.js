/** The camera's picture: the newest one that has arrived, and how old it is. */

import { Moment } from "./clock.js";

export class Picture {
  /** @type {{blob: Blob, taken: Moment}|null} the newest one that waits for its turn */
  #next = null;
  #busy = false;
  #url = "";
  /** @type {Moment|null} when the one on show was taken */
  shown = null;

  /** @param {HTMLImageElement} image @param {HTMLElement} frame */
  constructor(image, frame) {
    this.image = image;
    this.frame = frame;
    image.onload = () => this.#done(true);
    image.onerror = () => this.#done(false);
  }

  /** Shows a picture; those that arrive faster than the browser decodes them are passed over. */
  show(blob, ageMs) {
    this.#next = { blob, taken: new Moment(ageMs) };
    if (!this.#busy) this.#load();
  }

  clear() {
    this.#next = null;
    this.#busy = false;
    this.shown = null;
    this.image.removeAttribute("src");
    this.#revoke();
    this.frame.dataset.empty = "true";
  }

  #load() {
    const old = this.#url;
    this.#url = URL.createObjectURL(this.#next.blob);
    this.taken = this.#next.taken;
    this.#next = null;
    this.#busy = true;
    this.image.src = this.#url;
    if (old) URL.revokeObjectURL(old);
  }

  #done(good) {
    if (!this.#busy) return;
    this.#busy = false;
    if (good) this.shown = this.taken;
    this.frame.dataset.empty = String(!good);
    if (this.#next) this.#load();
  }

  #revoke() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = "";
  }
}
