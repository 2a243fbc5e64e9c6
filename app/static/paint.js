// How a cloud of points is painted; runs before static/points.js, in one scope with it, and paints what is there.
//
// Points are painted by the processor straight into the pixels of a canvas. That needs no WebGL, and where
// WebGL is software it is several times faster. While the view moves, only as many points are painted as fit
// into a part of a frame; they come in random order, so fewer of them are a thinner picture of the same. At
// rest the others follow.

const BUDGET = 7;       // milliseconds of painting in a frame
const REST = 120;       // milliseconds without movement until all points are painted
const DIMMED = 26;      // alpha of 256 of what is outside the selection

function resize() {
  if (!cloud) return;
  ratio = Math.min(2, window.devicePixelRatio || 1);
  const width = Math.round(plot.clientWidth * ratio), height = Math.round(plot.clientHeight * ratio);
  if (!width || !height) return;
  if (canvas.width !== width || canvas.height !== height || !image) {
    canvas.width = width;
    canvas.height = height;
    image = pen.createImageData(width, height);
    pixels = new Uint32Array(image.data.buffer);
  }
  ask();
}

const unit = () => view.scale * Math.min(canvas.width, canvas.height);

function project() {
  const u = unit(), left = canvas.width / 2, top = canvas.height / 2, n = cloud.count;
  if (cloud.dims === 2) {
    for (let i = 0; i < n; i++) {
      sx[i] = left + (at[2 * i] - view.x) * u;
      sy[i] = top - (at[2 * i + 1] - view.y) * u;
    }
    return;
  }
  const c = Math.cos(view.yaw), s = Math.sin(view.yaw), d = Math.cos(view.pitch), t = Math.sin(view.pitch);
  const depth = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    const x = at[3 * i] - view.x, y = at[3 * i + 1] - view.y, z = at[3 * i + 2] - view.z;
    const across = c * x + s * z, away = c * z - s * x;
    sx[i] = left + across * u * 0.8;
    sy[i] = top - (d * y - t * away) * u * 0.8;
    depth[i] = d * away + t * y;
  }
  order = layered(depth);
}

function onScreen(place) {              // of one place in [0, 1], in CSS pixels
  const u = unit() / ratio, left = plot.clientWidth / 2, top = plot.clientHeight / 2;
  const [x, y, z] = [place[0] - view.x, place[1] - view.y, (place[2] ?? 0) - view.z];
  if (cloud.dims === 2) return [left + x * u, top - y * u];
  const c = Math.cos(view.yaw), s = Math.sin(view.yaw), d = Math.cos(view.pitch), t = Math.sin(view.pitch);
  return [left + (c * x + s * z) * u * 0.8, top - (d * y - t * (c * z - s * x)) * u * 0.8];
}

function layered(depth) {               // numbers of points, far ones first, random within a layer
  const layers = 48, counts = new Uint32Array(layers + 1), layer = new Uint8Array(depth.length);
  for (let i = 0; i < depth.length; i++) {
    layer[i] = clamp(Math.floor((1 - (depth[i] + 0.87) / 1.74) * layers), 0, layers - 1);
    counts[layer[i] + 1]++;
  }
  for (let k = 0; k < layers; k++) counts[k + 1] += counts[k];
  const sorted = new Uint32Array(depth.length);
  for (let i = 0; i < depth.length; i++) sorted[counts[layer[i]]++] = i;
  return sorted;
}

function brush(radius) {                // a round one with a soft rim: offsets in pixels, alpha of 256
  const reach = Math.ceil(radius), across = [], alpha = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const a = clamp(radius + 0.5 - Math.hypot(x, y), 0, 1);
      if (a > 0.05) { across.push(x + y * canvas.width); alpha.push(a); }
    }
  }
  return { reach, across: Int32Array.from(across), alpha: Float32Array.from(alpha) };
}

function paint() {
  asked = false;
  if (!cloud || !image) return;
  const begun = performance.now();
  if (painted === 0) {
    project();
    pixels.fill(background());
  }
  const { width, height } = canvas, n = cloud.count;
  const room = Math.sqrt((width * height) / n) * Math.min(view.scale, 3);
  const { reach, across, alpha } = brush(clamp(room * 0.22, 1.1 * ratio, 5 * ratio));
  const strength = n > 10000 ? 150 : 225;
  const strong = alpha.map((a) => a * strength | 0), weak = alpha.map((a) => a * DIMMED | 0);
  // Of points that are painted far to near, few must still be a thinner picture of all.
  const stride = order && moving ? Math.max(1, Math.round(n / 6000)) : 1;
  let k = painted;
  for (; k < n; k += stride) {
    if ((k & 511) === 0 && performance.now() - begun > BUDGET) break;
    const i = order ? order[k] : k;
    const x = sx[i] | 0, y = sy[i] | 0;
    if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
    const c = palette[shade[i]], odd = c & 0xff00ff, even = c & 0x00ff00, middle = y * width + x;
    const alphas = chosen && !chosen[i] ? weak : strong;
    for (let j = 0; j < across.length; j++) {
      const place = middle + across[j], a = alphas[j], old = pixels[place];
      const oldOdd = old & 0xff00ff, oldEven = old & 0x00ff00;
      pixels[place] = 0xff000000
        | (oldOdd + (Math.imul(odd - oldOdd, a) >>> 8)) & 0xff00ff
        | (oldEven + (Math.imul(even - oldEven, a) >>> 8)) & 0x00ff00;
    }
  }
  painted = Math.min(k, n);
  pen.putImageData(image, 0, 0);
  counters.frames += 1;
  counters.painted = painted;
  place();
  if (painted < n && !moving) request();
}

function background() {
  const [r, g, b] = getComputedStyle(plot).backgroundColor.match(/\d+(\.\d+)?/g).map(Number);
  return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
}

function request() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(paint);
}

function ask() {
  painted = 0;
  request();
}

function move() {
  moving = true;
  ask();
  clearTimeout(resting);
  resting = setTimeout(() => { moving = false; ask(); }, REST);
}
