// Where one film looks most like another. Part of the script of Compare (app/compare.py).
//
// Two models' films of the same factor of the same picture may run opposite ways, reach differently far, or begin at
// another hue. So a place in one is followed to the frame of the other that is nearest to it, pixel by pixel, on small
// copies.

const SMALL = 12;                // pixels of a copy

function copies(film) {          // the frames, small, as bytes
  if (film.copies) return film.copies;
  const pen = new OffscreenCanvas(film.frames * SMALL, SMALL).getContext("2d", { willReadFrequently: true });
  pen.drawImage(film.sheet, 0, film.row * SIDE, film.frames * SIDE, SIDE, 0, 0, film.frames * SMALL, SMALL);
  film.copies = Array.from({ length: film.frames }, (_, k) => pen.getImageData(k * SMALL, 0, SMALL, SMALL).data);
  return film.copies;
}

function distance(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k] - b[k]) ** 2;
  return sum;
}

const pairs = new WeakMap();     // film -> film -> for each frame of the one the place in the other

function pairing(one, other) {
  if (!pairs.has(one)) pairs.set(one, new WeakMap());
  const known = pairs.get(one);
  if (!known.has(other)) {
    const there = copies(other);
    known.set(other, copies(one).map((frame) => {
      const far = there.map((candidate) => distance(frame, candidate)), k = far.indexOf(Math.min(...far));
      const [a, b, c] = [far[k - 1], far[k], far[k + 1]];   // a parabola through the best and its neighbours
      return k > 0 && k < far.length - 1 && a + c > 2 * b ? k + (a - c) / (2 * (a - 2 * b + c)) : k;
    }));
  }
  return known.get(other);
}

function follow(one, other, at) {   // a share of film `one` as a share of film `other`
  const places = pairing(one, other), x = at * (one.frames - 1), k = Math.min(Math.floor(x), one.frames - 2);
  const [a, b] = [places[k], places[k + 1]], last = other.frames - 1;
  const place = Math.abs(a - b) <= last / 3 ? a + (b - a) * (x - k) : places[Math.round(x)];   // hues begin again
  return place / last;
}
