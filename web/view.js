/** The picture of an answer with its controls: which density, at which level. */

import { newKey, request, submit } from "./api.js";
import { significant } from "./elements.js";
import { floatArray } from "./npz.js";
import { Picture } from "./picture.js";
import { Volume, isosurface } from "./volume.js";
import { watch } from "./watch.js";

/** Points above which a picture is made from a second, coarser prediction: 12 MB as npz. */
const MOST_POINTS = 1_500_000;
const COARSE_POINTS = 500_000;
/** Part of its whole that the first surface of each quantity encloses: bonds show, and atoms are still apart. */
const FIRST_PART = { density: 0.85, difference: 0.4, error: 0.4 };
const DECADES = 4;
const COLORS = { density: "#4a86b8", error: "#8a5fa8", more: "#3f86cf", less: "#de8a2e" };

const find = (id) => document.getElementById(id);

/** The figure of the page. It is made once and shows one answer after another. */
export class View {
  constructor() {
    this.picture = new Picture(find("picture"));
    this.volumes = {};
    find("level").addEventListener("input", () => this.#setLevel(this.#levelOfSlider()));
    find("level-number").addEventListener("change", () => this.#typedLevel());
    find("opacity").addEventListener("input", () => this.#draw());
    find("show-atoms").addEventListener("change", (event) => this.picture.setAtomsVisible(event.target.checked));
    find("show-forces").addEventListener("change", () => this.#drawForces());
    find("reset").addEventListener("click", () => this.picture.reset());
    find("quantity").addEventListener("change", (event) => this.#change(event.target.value));
  }

  /**
   * Shows a job that has succeeded.
   *
   * @param {object} job The job.
   * @param {(text: string) => void} say Told what is going on, and what could not be drawn.
   * @param {AbortSignal} signal Ends it when another job is looked at.
   */
  async show(job, say, signal) {
    this.signal = signal;
    this.say = say;
    this.volumes = {};
    this.forces = job.result.potential?.forces ?? null;
    find("view").hidden = false;
    find("surface-controls").hidden = true;
    find("quantity").hidden = true;
    find("show-forces-row").hidden = !this.forces;
    find("show-forces").checked = false;
    find("show-atoms").checked = true;
    this.opened ??= this.picture.open();
    await this.opened;
    this.picture.showSurfaces([], 1);
    this.picture.showForces(null);
    this.#describe(job);
    this.picture.showStructure(job.result.structure);
    if (!job.result.density) return;
    say("Fetching the density for the picture …");
    this.shown = await drawable(job, signal);
    if (this.shown !== job) this.picture.showStructure(this.shown.result.structure);
    await this.#choose("density");
    find("surface-controls").hidden = false;
    this.#offerQuantities(this.shown.result.density);
    const coarse =
      this.shown === job ? "" : ` Drawn from a coarser grid, ${this.shown.result.density.shape.join(" × ")}.`;
    say(coarse.trim());
  }

  #describe(job) {
    find("picture").setAttribute(
      "aria-label",
      `Atoms${job.result.density ? " and electron density" : ""} of ${job.formula}`,
    );
  }

  /** The difference to free atoms needs their coefficients; the error, one of each atom. */
  #offerQuantities({ artifacts, uncertainty }) {
    const offered = { density: true, difference: "coefficients" in artifacts, error: Boolean(uncertainty.per_atom) };
    for (const radio of document.getElementsByName("quantity")) radio.parentElement.hidden = !offered[radio.value];
    find("quantity").hidden = !offered.difference && !offered.error;
  }

  async #change(quantity) {
    this.say("Fetching it …");
    try {
      await this.#choose(quantity);
      this.say("");
    } catch (error) {
      if (this.signal.aborted) return;
      document.querySelector(`input[name=quantity][value=${this.quantity}]`).checked = true;
      this.say(`No picture: ${error.message}.`);
    }
  }

  async #choose(quantity) {
    const signal = this.signal;
    this.volumes[quantity] ??= await this.#load(quantity);
    if (signal.aborted) return;
    this.quantity = quantity;
    this.volume = this.volumes[quantity];
    document.querySelector(`input[name=quantity][value=${quantity}]`).checked = true;
    const { maximum, mantissa_bits: bits } = this.shown.result.density;
    this.isNoise = quantity === "difference" && this.volume.ranking.largest < maximum * 2 ** -bits;
    this.#setLevel(this.volume.ranking.magnitudeOf(FIRST_PART[quantity]));
  }

  async #load(quantity) {
    const { density, structure } = this.shown.result;
    const path = `/v1/jobs/${this.shown.id}/density?format=npz${quantity === "density" ? "" : `&quantity=${quantity}`}`;
    const response = await request(path, { signal: this.signal });
    const { values, shape } = floatArray(await response.arrayBuffer(), "values");
    return new Volume(values, shape, structure.cell, structure.is_periodic);
  }

  #levelOfSlider() {
    return this.volume.ranking.largest * 10 ** (DECADES * (find("level").value / 1000 - 1));
  }

  #typedLevel() {
    const level = Number(find("level-number").value);
    this.#setLevel(level > 0 ? Math.min(level, this.volume.ranking.largest) : this.level);
  }

  #setLevel(level) {
    this.level = level;
    const place = 1000 * (1 + Math.log10(level / this.volume.ranking.largest) / DECADES);
    if (document.activeElement !== find("level")) find("level").value = Math.round(place);
    find("level-number").value = Number(level.toPrecision(3));
    find("level").setAttribute("aria-valuetext", `${significant(level)} e/Å³, ${this.#meaning()}`);
    find("level-note").textContent = `${this.#meaning()}.`;
    this.#draw();
  }

  /** What the surface encloses, in words. */
  #meaning() {
    if (this.isNoise) return "no difference beyond the rounding of the grid";
    const enclosed = this.volume.enclosed(this.level);
    const part = `${Math.round((100 * enclosed) / this.volume.total)} %`;
    return {
      density: `encloses ${significant(enclosed, 3)} of ${significant(this.volume.total, 4)} electrons, ${part}`,
      difference: `blue: more electrons than free atoms have, orange: fewer; encloses ${part} of what moved`,
      error: `encloses ${part} of the expected error`,
    }[this.quantity];
  }

  /** Draws at most once a frame, however fast a slider moves. */
  #draw() {
    find("opacity-number").textContent = `${Math.round(100 * find("opacity").value)} %`;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      const opacity = Number(find("opacity").value);
      const surfaces = this.#surfaces();
      this.picture.showSurfaces(surfaces, opacity);
      const n = surfaces.reduce((sum, { mesh }) => sum + mesh.triangles.length / 3, 0);
      find("picture").dataset.triangles = n;
    });
  }

  #surfaces() {
    const surface = (level, color) => ({ mesh: isosurface(this.volume, level), color });
    if (this.isNoise) return [];
    return this.quantity === "difference"
      ? [surface(this.level, COLORS.more), surface(-this.level, COLORS.less)]
      : [surface(this.level, COLORS[this.quantity])];
  }

  #drawForces() {
    this.picture.showForces(find("show-forces").checked ? this.forces : null);
  }
}

/** The job itself if its grid is small enough for a picture, else one of a coarser grid and the same model. */
async function drawable(job, signal) {
  const { shape, artifacts, provenance } = job.result.density;
  const points = shape.reduce((product, n) => product * n, 1);
  if (points <= MOST_POINTS && artifacts.npz) return job;
  const factor = Math.cbrt(COARSE_POINTS / points);
  const { symbols, positions, cell, is_periodic: isPeriodic } = job.result.structure;
  const body = {
    structure: { symbols, positions, cell: isPeriodic ? cell : null },
    want: ["density"],
    model: [provenance.model],
    grid: { shape: shape.map((n) => Math.max(8, Math.round(n * factor))) },
  };
  const { id } = await submit(body, newKey());
  let coarse;
  await watch(id, (state) => (coarse = state), signal);
  if (coarse.status !== "succeeded") throw new Error(`found no coarser grid for the picture (${coarse.error.detail})`);
  return coarse;
}
