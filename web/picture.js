/** The structure and surfaces round it, drawn by 3Dmol.js. */

import { cartesian, fractional, normalsOf } from "./volume.js";

const VIEWER = "/web/vendor/3dmol-2.5.5/3Dmol-min.js";
const EDGE_TOLERANCE = 0.01;
const TURN_DEGREES = 10;
const SMALLEST_REACH = 0.5; // Å, of a structure from its middle
const MARGIN = { crystal: 0.4, molecule: 1.2 }; // Å round the outermost atoms and corners
const LABEL_DISTANCE = 0.6; // Å behind the end of a cell vector

let loading;

/** The library, loaded when it is first needed. */
function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = VIEWER;
    script.onload = () => resolve(window.$3Dmol);
    script.onerror = () => reject(new Error("found that the viewer could not be loaded; reload the page"));
    document.head.append(script);
  });
  return loading;
}

/** Atoms to draw: those of a crystal inside the cell, once more wherever one lies on a face, edge or corner. */
export function drawnAtoms({ symbols, positions, cell, is_periodic: isPeriodic }) {
  if (!isPeriodic) return positions.map((position, index) => ({ symbol: symbols[index], position, index }));
  return positions.flatMap((position, index) => {
    const places = fractional(position, cell).map((f) => {
      const inside = f - Math.floor(f + EDGE_TOLERANCE);
      return Math.abs(inside) < EDGE_TOLERANCE ? [inside, inside + 1] : [inside];
    });
    const combined = places[0].flatMap((a) => places[1].flatMap((b) => places[2].map((c) => [a, b, c])));
    return combined.map((place) => ({ symbol: symbols[index], position: cartesian(place, cell), index }));
  });
}

/** Quaternion (x, y, z, w) of a turn about an axis. */
function turn(axis, degrees) {
  const half = (degrees * Math.PI) / 360;
  return [axis === "x" ? Math.sin(half) : 0, axis === "y" ? Math.sin(half) : 0, 0, Math.cos(half)];
}

/** Quaternion of one turn after another. */
function product([ax, ay, az, aw], [bx, by, bz, bw]) {
  return [
    aw * bx + ax * bw + ay * bz - az * by,
    aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw,
    aw * bw - ax * bx - ay * by - az * bz,
  ];
}

/** A corner of a cell; bits 0, 1 and 2 are its steps along a, b and c. */
const cornerOf = (cell, bits) => cartesian([bits & 1, (bits >> 1) & 1, (bits >> 2) & 1], cell);

/** Distance of the farthest position from the middle of all. */
function reachOf(positions) {
  const middle = [0, 1, 2].map((axis) => {
    const values = positions.map((position) => position[axis]);
    return (Math.min(...values) + Math.max(...values)) / 2;
  });
  return Math.max(
    SMALLEST_REACH,
    ...positions.map((position) => Math.hypot(...position.map((x, axis) => x - middle[axis]))),
  );
}

const point = ([x, y, z]) => ({ x, y, z });

/** A picture in an element of the page, which takes the keyboard: arrows turn it, + and − zoom, 0 resets. */
export class Picture {
  /** @param {HTMLElement} frame The element; its children are replaced. */
  constructor(frame) {
    this.frame = frame;
    this.surfaces = [];
    this.arrows = [];
  }

  /** Makes the canvas. Throws where the browser cannot draw in three dimensions. */
  async open() {
    this.library = await library();
    this.frame.replaceChildren();
    this.viewer = this.library.createViewer(this.frame, {
      antialias: true,
      disableFog: true,
      minimumZoomToDistance: SMALLEST_REACH,
    });
    if (!this.viewer) throw new Error("found no WebGL in this browser, which the picture needs");
    this.frame.querySelector("canvas")?.setAttribute("aria-hidden", "true");
    this.paintBackground();
    this.frame.addEventListener("keydown", (event) => this.#onKey(event));
    // A page shall scroll past a picture that nobody has touched.
    const keepScrolling = (event) => this.frame.contains(document.activeElement) || event.stopPropagation();
    this.frame.addEventListener("wheel", keepScrolling, { capture: true });
    this.frame.addEventListener("pointerdown", () => this.frame.focus({ preventScroll: true }));
    new ResizeObserver(() => this.viewer.resize()).observe(this.frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paintBackground());
  }

  paintBackground() {
    const style = getComputedStyle(this.frame);
    this.viewer.setBackgroundColor(style.getPropertyValue("--picture").trim());
    this.ink = style.getPropertyValue("--picture-ink").trim();
    if (this.structure) this.showStructure(this.structure);
  }

  /** Draws atoms, bonds and cell; surfaces stay. */
  showStructure(structure) {
    const isNew = structure !== this.structure;
    this.structure = structure;
    this.atoms = drawnAtoms(structure);
    this.viewer.removeAllModels();
    this.viewer.removeAllLabels();
    this.frameShapes?.forEach((shape) => this.viewer.removeShape(shape));
    const lines = this.atoms.map(({ symbol, position }) => `${symbol} ${position.join(" ")}`);
    this.viewer.addModel(`${lines.length}\n\n${lines.join("\n")}\n`, "xyz");
    this.viewer.setStyle(
      {},
      { sphere: { scale: 0.16, colorscheme: "Jmol" }, stick: { radius: 0.07, colorscheme: "Jmol" } },
    );
    this.frameShapes = structure.is_periodic ? this.#drawCell(structure.cell) : [];
    if (isNew) this.#lookAtAll();
    this.viewer.render();
  }

  #drawCell(cell) {
    const corner = (bits) => point(cornerOf(cell, bits));
    ["a", "b", "c"].forEach((name, axis) => {
      const beyond = 1 + LABEL_DISTANCE / Math.hypot(...cell[axis]);
      const place = cell[axis].map((x) => beyond * x);
      const look = { fontColor: this.ink, showBackground: false, fontSize: 15, inFront: true, alignment: "center" };
      this.viewer.addLabel(name, { position: point(place), ...look });
    });
    const pairs = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((bits) =>
      [1, 2, 4].filter((bit) => !(bits & bit)).map((bit) => [bits, bits | bit]),
    );
    return pairs.map(([one, other]) =>
      this.viewer.addCylinder({
        start: corner(one),
        end: corner(other),
        radius: 0.018,
        color: this.ink,
        fromCap: 1,
        toCap: 1,
      }),
    );
  }

  /**
   * Draws surfaces in place of those before.
   *
   * @param {{mesh: object, color: string}[]} surfaces Meshes of `isosurface`.
   * @param {number} opacity From 0 to 1.
   */
  showSurfaces(surfaces, opacity) {
    this.surfaces.forEach((shape) => this.viewer.removeShape(shape));
    this.surfaces = surfaces
      .filter(({ mesh }) => mesh.triangles.length)
      .map(({ mesh, color }) =>
        this.viewer.addCustom({
          vertexArr: mesh.vertices,
          normalArr: normalsOf(mesh),
          faceArr: mesh.triangles,
          color,
          opacity,
        }),
      );
    this.viewer.render();
  }

  /** Draws a force on each atom, the largest 1.5 Å long, or none. */
  showForces(forces) {
    this.arrows.forEach((shape) => this.viewer.removeShape(shape));
    const largest = Math.max(...(forces ?? []).map((force) => Math.hypot(...force)));
    const arrows = largest > 1e-3 ? this.atoms.map(({ position, index }) => ({ position, force: forces[index] })) : [];
    this.arrows = arrows
      .filter(({ force }) => Math.hypot(...force) > 0.02 * largest)
      .map(({ position, force }) =>
        this.viewer.addArrow({
          start: point(position),
          end: point(position.map((x, axis) => x + (1.5 * force[axis]) / largest)),
          radius: 0.06,
          color: "#c23b5a",
        }),
      );
    this.viewer.render();
  }

  setAtomsVisible(isVisible) {
    const model = this.viewer.getModel();
    if (isVisible) model.show();
    else model.hide();
    this.viewer.render();
  }

  /** The first view, that is before there were surfaces. */
  reset() {
    this.viewer.setView(this.firstView);
    this.viewer.render();
  }

  /** Of a crystal with c upwards, a little from above and from the side. */
  #lookAtAll() {
    const { cell, is_periodic: isPeriodic } = this.structure;
    const upright = isPeriodic ? turn("x", -90) : [0, 0, 0, 1];
    this.viewer.zoomTo();
    this.#turnTo(product(turn("x", 14), product(turn("y", -24), upright)));
    const corners = isPeriodic ? [0, 1, 2, 3, 4, 5, 6, 7].map((bits) => cornerOf(cell, bits)) : [];
    const reach = reachOf([...corners, ...this.atoms.map(({ position }) => position)]);
    this.viewer.zoom(reach / (reach + (isPeriodic ? MARGIN.crystal : MARGIN.molecule)));
    this.firstView = this.viewer.getView();
  }

  #turnTo(quaternion) {
    const view = this.viewer.getView();
    this.viewer.setView([...view.slice(0, 4), ...quaternion, ...view.slice(8)]);
  }

  /** Turns the picture about an axis of the screen. */
  #turn(axis, degrees) {
    this.#turnTo(product(turn(axis, degrees), this.viewer.getView().slice(4, 8)));
  }

  #onKey(event) {
    const actions = {
      ArrowLeft: () => this.#turn("y", -TURN_DEGREES),
      ArrowRight: () => this.#turn("y", TURN_DEGREES),
      ArrowUp: () => this.#turn("x", -TURN_DEGREES),
      ArrowDown: () => this.#turn("x", TURN_DEGREES),
      "+": () => this.viewer.zoom(1.15),
      "=": () => this.viewer.zoom(1.15),
      "-": () => this.viewer.zoom(1 / 1.15),
      0: () => this.reset(),
    };
    if (!(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
    this.viewer.render();
  }
}
