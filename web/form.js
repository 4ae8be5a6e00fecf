/** What is asked: a file or text, models, properties, grid. */

import { element } from "./elements.js";

const find = (id) => document.getElementById(id);
const POTENTIAL = ["energy", "forces", "stress", "magmoms"];

/** The form, and what a user has put into it. */
export class Form {
  /** @param {(body: FormData) => void} onSubmit Called with what is to be sent. */
  constructor(onSubmit) {
    this.file = null;
    this.models = [];
    find("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      onSubmit();
    });
    find("file").addEventListener("change", () => this.#takeFile(find("file").files[0] ?? null));
    find("text").addEventListener("input", () => this.#takeFile(null));
    find("examples").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.#takeExample(button.dataset.example);
    });
    for (const id of ["density-model", "potential-model"]) find(id).addEventListener("change", () => this.#describe());
    this.#acceptDrops();
  }

  #takeFile(file) {
    this.file = file;
    find("file-name").textContent = file ? file.name : "";
    if (file) find("text").value = "";
    else find("file").value = "";
  }

  async #takeExample(name) {
    const text = await (await fetch(`/web/examples/${name}`)).text();
    this.#takeFile(null);
    find("text").value = text;
  }

  #acceptDrops() {
    const zone = find("drop");
    const mark = (isOver) => zone.classList.toggle("over", isOver);
    // Anywhere on the page: a file that misses the zone would otherwise replace the page.
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      mark(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget ?? mark(false));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      mark(false);
      const [file] = event.dataTransfer.files;
      const text = event.dataTransfer.getData("text/plain");
      if (file) this.#takeFile(file);
      else if (text) {
        this.#takeFile(null);
        find("text").value = text;
      }
    });
  }

  /** Offers the models that the service has. */
  offer(entries) {
    this.models = entries;
    const offered = new Set(entries.flatMap((entry) => entry.info.provides));
    for (const box of document.getElementsByName("want")) box.disabled = !offered.has(box.value);
    fill(
      find("density-model"),
      entries.filter((entry) => entry.info.provides.includes("density")),
    );
    fill(
      find("potential-model"),
      entries.filter((entry) => entry.info.provides.includes("energy")),
    );
    this.#describe();
  }

  #describe() {
    for (const id of ["density-model", "potential-model"]) {
      const entry = this.models.find(({ info }) => info.name === find(id).value);
      find(`${id}-note`).textContent = entry ? describe(entry.info) : "the most specialised that covers the structure";
    }
  }

  /** Whether there is anything to send. */
  get isEmpty() {
    return !this.file && !find("text").value.trim();
  }

  /** The request as a form with a file. */
  body() {
    const body = new FormData();
    const content = this.file ?? new Blob([find("text").value], { type: "text/plain" });
    body.append("file", content, this.file?.name ?? "pasted");
    const want = [...document.getElementsByName("want")].filter((box) => box.checked && !box.disabled);
    if (want.length) body.append("want", want.map((box) => box.value).join(","));
    const potential = want.some((box) => POTENTIAL.includes(box.value)) ? find("potential-model").value : "";
    const density = want.some((box) => box.value === "density") ? find("density-model").value : "";
    const models = this.#named(
      density,
      potential,
      want.map((box) => box.value),
    );
    if (models.length) body.append("model", models.join(","));
    if (find("spacing").value) body.append("spacing", find("spacing").value);
    return body;
  }

  /** Names of models; where one is chosen and the other is automatic, every model of the other kind may answer. */
  #named(density, potential, want) {
    if (!density && !potential) return [];
    const others = (provides) =>
      this.models
        .filter(({ info }) => info.provides.includes(provides))
        .sort((one, other) => one.info.elements.length - other.info.elements.length)
        .map(({ info }) => info.name);
    const wantsPotential = want.some((wanted) => POTENTIAL.includes(wanted));
    return [
      ...(density ? [density] : want.includes("density") ? others("density") : []),
      ...(potential ? [potential] : wantsPotential ? others("energy") : []),
    ];
  }
}

function fill(select, entries) {
  const options = entries.map(({ info, n_workers: n }) =>
    element("option", { value: info.name }, n ? info.name : `${info.name} (no live worker)`),
  );
  select.replaceChildren(element("option", { value: "" }, "automatic"), ...options);
}

function describe({ description, elements, domains }) {
  const made = domains.map((domain) => `${domain}s`).join(" and ");
  return `${description}. ${elements.length} elements; made for ${made}.`;
}
