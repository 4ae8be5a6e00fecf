/** Jobs that this browser has asked for, kept in it alone. */

import { element, formula } from "./elements.js";

const NAME = "rhocast-recent";
const MOST = 6;

function read() {
  try {
    return JSON.parse(localStorage.getItem(NAME)) ?? [];
  } catch {
    return [];
  }
}

/** Puts a job first among the recent ones. */
export function remember({ id, formula, want, created_at }) {
  const others = read().filter((entry) => entry.id !== id);
  localStorage.setItem(NAME, JSON.stringify([{ id, formula, want, created_at }, ...others].slice(0, MOST)));
}

/** Leaves out a job that is gone. */
export function forget(id) {
  localStorage.setItem(NAME, JSON.stringify(read().filter((entry) => entry.id !== id)));
}

/** Shows the list in its section, hidden while there is none. */
export function list(section) {
  const entries = read();
  section.hidden = !entries.length;
  section
    .querySelector("ul")
    .replaceChildren(
      ...entries.map(({ id, formula: text, want, created_at }) =>
        element(
          "li",
          {},
          element("a", { href: `#job=${id}` }, ...formula(text)),
          ` ${want.join(", ")}, `,
          element(
            "time",
            { datetime: created_at },
            new Date(created_at).toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" }),
          ),
        ),
      ),
    );
}
