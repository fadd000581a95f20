/** The outlines of a camera's zones, over its picture. */

const SVG = "http://www.w3.org/2000/svg";

export class Outlines {
  /** @param {SVGSVGElement} svg lies over the image @param {HTMLImageElement} image */
  constructor(svg, image) {
    this.svg = svg;
    image.addEventListener("load", () => this.#fit(image.naturalWidth, image.naturalHeight));
  }

  /** @param {Object<string, [number, number][]>} polygons corners by zone, as shares of the picture */
  draw(polygons) {
    const shapes = Object.entries(polygons).map(([name, corners]) => {
      const shape = document.createElementNS(SVG, "polygon");
      shape.setAttribute("points", corners.map((corner) => corner.join()).join(" "));
      shape.dataset.zone = name;
      return shape;
    });
    this.svg.firstElementChild.replaceChildren(...shapes);
  }

  /** Makes one zone stand out. @param {string} name @param {boolean} lit */
  light(name, lit) {
    for (const shape of this.svg.firstElementChild.children) {
      if (shape.dataset.zone === name) shape.dataset.lit = String(lit);
    }
  }

  /** The svg scales with the picture, its unit being the whole of it. */
  #fit(width, height) {
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.firstElementChild.setAttribute("transform", `scale(${width} ${height})`);
  }
}

/**
 * @param {string} camera
 * @returns {Promise<Object<string, [number, number][]>>} none where the service does not tell
 */
export async function fetchPolygons(camera) {
  try {
    const answer = await fetch(`v1/cameras/${encodeURIComponent(camera)}`);
    return answer.ok ? (await answer.json()).zones : {};
  } catch {
    return {};
  }
}
