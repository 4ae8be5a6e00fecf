/** An answer as text: numbers with their units, where they come from, files to download. */

import { key, request } from "./api.js";
import { element, number, significant, table } from "./elements.js";

const GPA = 160.21766208; // of 1 eV/Å³
const MOST_ROWS = 500;

const FILES = {
  chgcar: ["CHGCAR", "VASP, VESTA, pymatgen"],
  chg: ["CHG", "VASP, fewer digits"],
  cube: ["cube", "Gaussian cube, any viewer"],
  npz: ["npz", "numpy, e/Å³"],
  zarr: ["Zarr", "zipped, in chunks"],
  coefficients: ["coefficients", "some kB that the SDK evaluates on any grid"],
};

/**
 * The tables, files and provenance of a job that has succeeded.
 *
 * @param {object} job The job.
 * @param {object[]} models What `/v1/models` answers.
 * @param {(error: Error) => void} complain Told why a download failed.
 */
export function answer(job, models, complain) {
  const { density, potential } = job.result;
  return [
    element("h3", {}, "Numbers"),
    table(["quantity", "value", "unit"], [...densityRows(density), ...potentialRows(job)], { class: "numbers" }),
    ...unknownErrors(density, potential),
    byAtom(job),
    element("h3", {}, "Files"),
    files(job, complain),
    element("h3", {}, "Where this comes from"),
    ...[density, potential].filter(Boolean).map((part) => provenance(part.provenance, models)),
    element("p", { class: "note" }, timing(job)),
  ].filter(Boolean);
}

function densityRows(density) {
  if (!density) return [];
  return [
    ["Electrons", number(density.n_electrons, 4), "e"],
    ["Integral of the grid", number(density.integral, 6), "e"],
    ["Smallest, largest density", `${significant(density.minimum)}, ${significant(density.maximum)}`, "e/Å³"],
    ["Grid", density.shape.join(" × "), "points"],
    ["Grid spacing", density.spacing.map((length) => number(length, 3)).join(", "), "Å"],
    ...errorRows(density.uncertainty),
  ];
}

/** How far to trust a density, if anybody knows. */
function errorRows({ value, upper, coverage }) {
  const percent = (part) => significant(100 * part, 2);
  const rows = value === null ? [] : [["Expected error (NMAE)", percent(value), "%"]];
  if (typeof upper === "number")
    rows.push([`Error in ${percent(coverage)} of 100 such structures`, `< ${percent(upper)}`, "%"]);
  return rows;
}

function potentialRows(job) {
  const { potential } = job.result;
  if (!potential) return [];
  const { forces, stress } = potential;
  const rows = [
    ["Energy", number(potential.energy, 4), "eV"],
    ["Energy per atom", number(potential.energy_per_atom, 4), "eV"],
  ];
  if (forces) {
    const largest = Math.max(...forces.map((force) => Math.hypot(...force)));
    rows.push(["Largest force", number(largest, 4), "eV/Å"]);
  }
  if (stress) rows.push(["Pressure", number((-GPA * (stress[0][0] + stress[1][1] + stress[2][2])) / 3, 3), "GPa"]);
  return rows;
}

/** Why nobody knows how far to trust a number. */
function unknownErrors(density, potential) {
  const parts = [
    ["Density", density],
    ["Energy and forces", potential],
  ].filter(([, part]) => part?.uncertainty.reason);
  return parts.map(([name, { uncertainty }]) =>
    element("p", { class: "note" }, `${name}: the error is not known, for ${uncertainty.reason}.`),
  );
}

/** What there is of each atom, folded away. */
function byAtom(job) {
  const { density, potential, structure } = job.result;
  const stress = potential?.stress;
  const columns = [
    ...(potential?.forces ? ["x", "y", "z"] : []).map((axis, k) => [
      `force along ${axis}, eV/Å`,
      (atom) => number(potential.forces[atom][k], 4),
    ]),
    potential?.magmoms && ["moment, μB", (atom) => number(potential.magmoms[atom], 3)],
    density?.uncertainty.per_atom && ["expected error, e", (atom) => number(density.uncertainty.per_atom[atom], 4)],
  ].filter(Boolean);
  if (!stress && !columns.length) return null;
  const symbols = structure.symbols.slice(0, MOST_ROWS);
  const rows = symbols.map((symbol, atom) => [`${atom} ${symbol}`, ...columns.map(([, value]) => value(atom))]);
  const left = structure.symbols.length - rows.length;
  const head = ["atom, from 0", ...columns.map(([name]) => name)];
  return element(
    "details",
    {},
    element("summary", {}, [columns.length && "Each atom", stress && "stress"].filter(Boolean).join(" and ")),
    stress ? stressTable(stress) : null,
    columns.length ? scrolling(table(head, rows)) : null,
    left ? element("p", { class: "note" }, `and ${left} more, in the JSON`) : null,
  );
}

function stressTable(stress) {
  const rows = stress.map((row, index) => ["xyz"[index], ...row.map((value) => number(GPA * value, 3))]);
  return table(["stress in GPa, tension positive", "x", "y", "z"], rows);
}

const scrolling = (child) =>
  element("div", { class: "scrolling", tabindex: "0", role: "region", "aria-label": "Values of each atom" }, child);

function files(job, complain) {
  const found = Object.entries(job.result.density?.artifacts ?? {}).filter(([format]) => format in FILES);
  const links = found.map(([format, path]) => [...FILES[format], path]);
  links.push(["JSON", "this answer", job.links.self]);
  return element(
    "ul",
    { id: "files" },
    ...links.map(([name, what, path]) =>
      element(
        "li",
        {},
        element(
          "a",
          {
            href: path,
            download: name === "JSON" ? `${job.id}.json` : true,
            onclick: (event) => fetchWithKey(event, complain),
          },
          name,
        ),
        element("span", {}, what),
      ),
    ),
  );
}

/** Downloads by hand where a key is needed, which a link cannot carry. */
async function fetchWithKey(event, complain) {
  if (!key.get()) return;
  event.preventDefault();
  const { href, download } = event.currentTarget;
  try {
    const response = await request(href);
    const name = /filename="?([^";]+)/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
    const url = URL.createObjectURL(new Blob([await response.arrayBuffer()], { type: "application/octet-stream" }));
    element("a", { href: url, download: download || name || "density" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    complain(error);
  }
}

function provenance(source, models) {
  const licence = models.find((entry) => entry.info.name === source.model)?.info.licence;
  const counted = Object.entries(source.valence_electrons ?? {}).map(([symbol, n]) => `${symbol} ${n}`);
  const facts = [
    ["Model", source.model],
    ["Level of theory", source.level_of_theory],
    ["Kind of density", source.density_kind],
    ["Electrons counted", counted.join(", ")],
    ["Zero of energy", source.energy_reference],
    ["Forces", source.is_conservative === false ? "not the derivative of the energy" : ""],
    ["Licence of the weights", licence],
    ["Weights (SHA-256)", source.weights_sha256.slice(0, 16)],
    ["Code", source.code_version],
  ].filter(([, fact]) => fact);
  return element("dl", {}, ...facts.flatMap(([name, fact]) => [element("dt", {}, name), element("dd", {}, fact)]));
}

function timing(job) {
  const day = new Date(job.expires_at).toLocaleDateString(undefined, { dateStyle: "long" });
  const seconds = job.was_cached
    ? "It was known already."
    : `The models took ${significant(job.compute_seconds, 2)} s.`;
  return `${seconds} Kept until ${day}; the address of this page shows it again.`;
}
