/** Arrays of numpy's npz, as the service writes them: stored, not compressed; small-endian; C-ordered. */

const END_OF_DIRECTORY = 0x06054b50;
const ENTRY = 0x02014b50;
const ARRAYS = { "<f8": Float64Array, "<f4": Float32Array };

/**
 * An array of floats in an npz.
 *
 * @param {ArrayBuffer} buffer The file.
 * @param {string} name Name of the array.
 * @returns {{values: Float64Array|Float32Array, shape: number[]}}
 * @throws {Error} If it is not there, or is not of the kind that the service writes.
 */
export function floatArray(buffer, name) {
  const member = memberOf(buffer, `${name}.npy`);
  const view = new DataView(buffer, member);
  const headerSize = view.getUint16(8, true);
  const header = new TextDecoder().decode(new Uint8Array(buffer, member + 10, headerSize));
  const type = /'descr': '([^']+)'/.exec(header)?.[1];
  const shape = /'shape': \(([^)]*)\)/
    .exec(header)?.[1]
    .split(",")
    .filter((n) => n.trim())
    .map(Number);
  if (!(type in ARRAYS) || !shape || !header.includes("'fortran_order': False")) {
    throw new Error(`found ${name} with the header ${header.trim()}; expected C-ordered floats`);
  }
  const n = shape.reduce((product, extent) => product * extent, 1);
  const start = member + 10 + headerSize;
  return { values: new ARRAYS[type](buffer.slice(start, start + n * ARRAYS[type].BYTES_PER_ELEMENT)), shape };
}

/** Where the bytes of a member of a zip archive start. */
function memberOf(buffer, name) {
  const view = new DataView(buffer);
  let end = buffer.byteLength - 22;
  while (end > 0 && view.getUint32(end, true) !== END_OF_DIRECTORY) end--;
  let at = end > 0 ? view.getUint32(end + 16, true) : -1;
  while (at >= 0 && view.getUint32(at, true) === ENTRY) {
    const nameSize = view.getUint16(at + 28, true);
    const found = new TextDecoder().decode(new Uint8Array(buffer, at + 46, nameSize));
    if (found === name && view.getUint16(at + 10, true) === 0) {
      const local = view.getUint32(at + 42, true);
      return local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    }
    at += 46 + nameSize + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  throw new Error(`found no ${name}; expected an npz of rhocast`);
}
