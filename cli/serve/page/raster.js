// Areas of a mask. A mask is an array of small numbers, one for each pixel, row by row: the number of its region.

/** A mask of width x height pixels. */
export class Mask {
  constructor(width, height, cells = new Uint8Array(width * height)) {
    this.width = width;
    this.height = height;
    this.cells = cells;
  }

  copy() {
    return new Mask(this.width, this.height, this.cells.slice());
  }

  /** Returns how many pixels each region has: a Map from its number. */
  counts() {
    const found = new Map();
    for (const cell of this.cells) found.set(cell, (found.get(cell) ?? 0) + 1);
    return found;
  }

  /**
   * Gives a stroke from one point to another to a region: all pixels whose centre is not farther from it than `radius`.
   * Returns the changed rectangle.
   */
  stroke(from, to, radius, region) {
    const left = clamp(Math.floor(Math.min(from.x, to.x) - radius), 0, this.width);
    const right = clamp(Math.ceil(Math.max(from.x, to.x) + radius) + 1, 0, this.width);
    const top = clamp(Math.floor(Math.min(from.y, to.y) - radius), 0, this.height);
    const bottom = clamp(Math.ceil(Math.max(from.y, to.y) + radius) + 1, 0, this.height);
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = dx * dx + dy * dy;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
        const along = length ? clamp((px * dx + py * dy) / length, 0, 1) : 0;
        if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius) this.cells[y * this.width + x] = region;
      }
    }
    return { left, top, right, bottom };
  }

  /**
   * Gives an area to a region: the pixels connected with `at`, of its region, whose colour in `pixels` (RGBA, as of
   * ImageData) differs from that at `at` by no more than `tolerance` levels in any channel. Holes in it of at most a
   * thousandth of the mask are filled, too.
   */
  fill(at, pixels, tolerance, region) {
    const { width, height, cells } = this;
    const start = clamp(Math.floor(at.y), 0, height - 1) * width + clamp(Math.floor(at.x), 0, width - 1);
    const own = cells[start];
    const alike = (index) => {
      if (cells[index] !== own) return false;
      for (let channel = 0; channel < 3; channel++) {
        if (Math.abs(pixels[4 * index + channel] - pixels[4 * start + channel]) > tolerance) return false;
      }
      return true;
    };
    const inside = new Uint8Array(width * height);
    flood(start, width, height, inside, 1, alike);
    fillHoles(inside, width, height, Math.ceil((width * height) / 1000));
    for (let index = 0; index < inside.length; index++) if (inside[index] === 1) cells[index] = region;
  }
}

/** Marks all pixels that are connected with `start` and pass the test; returns their indices. */
function flood(start, width, height, marks, mark, test) {
  const found = [start];
  marks[start] = mark;
  for (let next = 0; next < found.length; next++) {
    const index = found[next];
    const x = index % width;
    const neighbours = [x > 0 ? index - 1 : -1, x < width - 1 ? index + 1 : -1, index - width, index + width];
    for (const other of neighbours) {
      if (other < 0 || other >= width * height || marks[other] || !test(other)) continue;
      marks[other] = mark;
      found.push(other);
    }
  }
  return found;
}

/** Marks holes of at most `most` pixels in the area that is marked 1. */
function fillHoles(inside, width, height, most) {
  const outside = 2;
  for (let index = 0; index < inside.length; index++) {
    if (inside[index]) continue;
    const hole = flood(index, width, height, inside, outside, () => true);
    if (hole.length <= most) for (const cell of hole) inside[cell] = 1;
  }
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
