/**
 * A density on a grid, and its surfaces of one level.
 *
 * The surfaces are made here and only drawn by 3Dmol.js, whose own ones snap to grid points (2.5.5): they would jump
 * while the level moves, and lie half a voxel off.
 */

/** Determinant of a cell whose rows are vectors. */
export function determinant([a, b, c]) {
  return a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
}

/** Cartesian position of fractional coordinates. */
export function cartesian(fractional, cell) {
  return [0, 1, 2].map((axis) => fractional.reduce((sum, f, row) => sum + f * cell[row][axis], 0));
}

/** Fractional coordinates of a Cartesian position, by Cramer's rule. */
export function fractional(position, cell) {
  const volume = determinant(cell);
  return [0, 1, 2].map((row) => determinant(cell.map((vector, k) => (k === row ? position : vector))) / volume);
}

const DROPPED_BITS = 13;

/** Values on a grid, ready for surfaces at many levels. */
export class Volume {
  /**
   * @param {Float64Array|Float32Array} values e/Å³, last index fastest.
   * @param {number[]} shape Points along each cell vector.
   * @param {number[][]} cell Cell vectors in Å, one a row.
   * @param {boolean} isPeriodic Whether the grid repeats; then its surfaces end at the faces of the cell.
   */
  constructor(values, shape, cell, isPeriodic) {
    this.shape = shape;
    this.cell = cell;
    this.isPeriodic = isPeriodic;
    this.voxel = Math.abs(determinant(cell)) / (shape[0] * shape[1] * shape[2]);
    this.padding = isPeriodic ? 1 : 0;
    this.points = shape.map((n) => n + 3 * this.padding); // one before the cell, two behind
    this.values = padded(values, shape, this.points, this.padding);
    this.ranking = new Ranking(values);
  }

  /** Electrons (of a difference: shifted electrons, both ways) where the magnitude is above a level. */
  enclosed(level) {
    return this.ranking.sumAbove(Math.abs(level)) * this.voxel;
  }

  /** Integral of the magnitude, in electrons. */
  get total() {
    return this.ranking.sumAbove(0) * this.voxel;
  }
}

function padded(values, shape, points, padding) {
  if (!padding) return Float32Array.from(values);
  const [n0, n1, n2] = shape;
  const [m0, m1, m2] = points;
  const copy = new Float32Array(m0 * m1 * m2);
  for (let i = 0, to = 0; i < m0; i++) {
    for (let j = 0; j < m1; j++, to += m2) {
      const row = (((i - 1 + n0) % n0) * n1 + ((j - 1 + n1) % n1)) * n2;
      copy.set(values.subarray(row, row + n2), to + 1);
      copy[to] = values[row + n2 - 1];
      copy[to + n2 + 1] = values[row];
      copy[to + n2 + 2] = values[row + (1 % n2)];
    }
  }
  return copy;
}

/**
 * Sums of magnitudes above any magnitude, to 0.1 % of it: a histogram whose bins are the leading bits of a float32, for
 * these are in the order of the numbers themselves.
 */
class Ranking {
  constructor(values) {
    const float = new Float32Array(1);
    const bits = new Uint32Array(float.buffer);
    this.sums = new Float64Array((1 << (31 - DROPPED_BITS)) + 1);
    this.largest = 0;
    for (let k = 0; k < values.length; k++) {
      float[0] = Math.abs(values[k]);
      this.sums[bits[0] >>> DROPPED_BITS] += float[0];
      if (float[0] > this.largest) this.largest = float[0];
    }
    for (let bin = this.sums.length - 2; bin >= 0; bin--) this.sums[bin] += this.sums[bin + 1];
  }

  sumAbove(magnitude) {
    const bits = new Uint32Array(Float32Array.of(magnitude).buffer);
    return this.sums[bits[0] >>> DROPPED_BITS];
  }

  /** The magnitude above which a part of the whole sum lies. */
  magnitudeOf(part) {
    const wanted = part * this.sums[0];
    let [low, high] = [0, this.sums.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sums[middle] <= wanted) high = middle;
      else low = middle + 1;
    }
    return new Float32Array(Uint32Array.of(low << DROPPED_BITS).buffer)[0];
  }
}

/** Corners of a cube that an edge joins; bit 2 of a corner's number is along a, bit 1 along b, bit 0 along c. */
const EDGES = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((corner) =>
  [1, 2, 4].filter((bit) => !(corner & bit)).map((bit) => [corner, corner | bit]),
);

/**
 * Vertices and triangles of the surface where a density has one value (naive surface nets: one vertex in each voxel
 * that the surface cuts, in the middle of its cuts through the voxel's edges; Gibson 1998).
 *
 * @param {Volume} volume The density.
 * @param {number} level The value, e/Å³; a negative one encloses what lies below it.
 * @returns {{vertices: {x: number, y: number, z: number}[], triangles: number[]}} Positions in Å.
 */
export function isosurface(volume, level) {
  const sign = level < 0 ? -1 : 1;
  const threshold = Math.abs(level);
  const [m0, m1, m2] = volume.points;
  const strides = [m1 * m2, m2, 1];
  const { values } = volume;
  const offsets = [0, 1, 2, 3, 4, 5, 6, 7].map(
    (corner) => (corner & 4 ? strides[0] : 0) + (corner & 2 ? strides[1] : 0) + (corner & 1),
  );
  const net = { vertices: [], triangles: [], numbers: new Int32Array(values.length), strides, volume };
  const found = new Float32Array(8);
  for (let i = 0; i < m0 - 1; i++) {
    for (let j = 0; j < m1 - 1; j++) {
      let at = i * strides[0] + j * strides[1];
      let inside = farCorners(values, at - 1, strides, sign, threshold);
      for (let k = 0; k < m2 - 1; k++, at++) {
        inside = ((inside >> 1) & 0b01010101) | farCorners(values, at, strides, sign, threshold);
        if (inside === 0 || inside === 255) continue;
        for (let corner = 0; corner < 8; corner++) found[corner] = sign * values[at + offsets[corner]] - threshold;
        net.numbers[at] = net.vertices.length;
        net.vertices.push(vertex([i, j, k], inside, found, volume));
        addFaces(net, [i, j, k], at, inside);
      }
    }
  }
  return { vertices: net.vertices, triangles: net.triangles };
}

/** Which corners of a voxel that are far along c lie inside, as bits 1, 3, 5 and 7. */
function farCorners(values, at, strides, sign, threshold) {
  return (
    (sign * values[at + 1] > threshold ? 2 : 0) |
    (sign * values[at + strides[1] + 1] > threshold ? 8 : 0) |
    (sign * values[at + strides[0] + 1] > threshold ? 32 : 0) |
    (sign * values[at + strides[0] + strides[1] + 1] > threshold ? 128 : 0)
  );
}

/** The middle of the cuts through a voxel's edges, moved to the cell's face if the voxel lies beyond it. */
function vertex(index, inside, found, volume) {
  const sums = [0, 0, 0];
  let cuts = 0;
  for (const [one, other] of EDGES) {
    if (((inside >> one) & 1) === ((inside >> other) & 1)) continue;
    const part = found[one] / (found[one] - found[other]);
    for (let axis = 0; axis < 3; axis++) {
      const bit = 4 >> axis;
      sums[axis] += one & bit ? 1 : other & bit ? part : 0;
    }
    cuts++;
  }
  const place = sums.map((sum, axis) => {
    const n = volume.shape[axis];
    const point = index[axis] - volume.padding + sum / cuts;
    return (volume.isPeriodic ? Math.min(Math.max(point, 0), n) : point) / n;
  });
  const [x, y, z] = cartesian(place, volume.cell);
  return { x, y, z };
}

/** Joins the vertices of the four voxels round each cut edge that starts at a voxel's first corner. */
function addFaces({ numbers, triangles, strides, volume }, index, at, inside) {
  for (let axis = 0; axis < 3; axis++) {
    const [u, v] = [(axis + 1) % 3, (axis + 2) % 3];
    const isBeyond = volume.isPeriodic && (index[axis] === 0 || index[axis] > volume.shape[axis]);
    const isCut = (inside & 1) !== ((inside >> (4 >> axis)) & 1);
    if (isBeyond || !isCut || index[u] === 0 || index[v] === 0) continue;
    const [a, b] = [numbers[at], numbers[at - strides[u]]];
    const [c, d] = [numbers[at - strides[u] - strides[v]], numbers[at - strides[v]]];
    if (inside & 1) triangles.push(a, b, c, a, c, d);
    else triangles.push(a, c, b, a, d, c);
  }
}

/** Unit normals of a surface's vertices: the mean of the triangles that meet there, weighted by area. */
export function normalsOf({ vertices, triangles }) {
  const normals = vertices.map(() => ({ x: 0, y: 0, z: 0 }));
  for (let t = 0; t < triangles.length; t += 3) {
    const corners = [triangles[t], triangles[t + 1], triangles[t + 2]];
    const [a, b, c] = corners.map((corner) => vertices[corner]);
    const [ux, uy, uz] = [b.x - a.x, b.y - a.y, b.z - a.z];
    const [vx, vy, vz] = [c.x - a.x, c.y - a.y, c.z - a.z];
    for (const corner of corners) {
      normals[corner].x += uy * vz - uz * vy;
      normals[corner].y += uz * vx - ux * vz;
      normals[corner].z += ux * vy - uy * vx;
    }
  }
  for (const normal of normals) {
    const length = Math.hypot(normal.x, normal.y, normal.z) || 1;
    normal.x /= length;
    normal.y /= length;
    normal.z /= length;
  }
  return normals;
}
