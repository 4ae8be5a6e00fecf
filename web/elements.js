/** Small pieces of the page. */

/**
 * An element.
 *
 * @param {string} tag Its tag.
 * @param {object} attributes Attributes; `on…` are listeners, false leaves one out, true sets it empty.
 * @param {...(Node|string|null)} children What is inside.
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A chemical formula with its numbers below the line. */
export function formula(text) {
  return text
    .split(/(\d+)/)
    .filter(Boolean)
    .map((part) => (/\d/.test(part) ? element("sub", {}, part) : part));
}

/** A number with a true minus sign. */
export const number = (value, decimals) => value.toFixed(decimals).replace("-", "−");

/** A number of some significant digits, as 0.032 or 1.2 × 10⁻⁷. */
export function significant(value, digits = 3) {
  const magnitude = Math.abs(value);
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e6)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    const raised = (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)];
    const superscript = exponent.replace("+", "").replace(/./g, raised);
    return `${mantissa.replace("-", "−")} × 10${superscript}`;
  }
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

/** A table of a header and rows. */
export function table(head, rows, attributes = {}) {
  return element(
    "table",
    attributes,
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element(
      "tbody",
      {},
      ...rows.map(([first, ...others]) =>
        element("tr", {}, element("th", { scope: "row" }, first), ...others.map((text) => element("td", {}, text))),
      ),
    ),
  );
}
