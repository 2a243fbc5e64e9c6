// A cloud of points; runs as `js_on_load` of PointCloud (app/points.py).
//
// They are painted by static/paint.js, which runs first. Clouds of one group share what is under the pointer, the
// lasso, and the colour. A line over the points, and where something stands on it, come from elsewhere
// (static/trail.js).

const REACH = 14;       // pixels around the pointer in which a point is found
const ZOOM = [0.5, 400];

const plot = element.querySelector(".plot"), canvas = plot.querySelector("canvas");
const lasso = plot.querySelector(".lasso"), ring = plot.querySelector(".ring"), thumb = plot.querySelector(".thumb");
const tools = element.querySelector(".tools"), said = element.querySelector(".said");
const pen = canvas.getContext("2d", { alpha: false });

let cloud;                              // from the server
let at, columns, shade, palette;        // positions (n * dims) in [0, 1], colour numbers by each colouring, the one
                                        // shown, its colours
let sx, sy, order;                      // where points are on the canvas, in its pixels; painted in this order
let chosen = null;                      // 1 for points inside the lasso, or null
let view, home;                         // centre, pixels a unit, and in three dimensions two angles
let image, pixels, ratio = 1;           // of the canvas, and its pixels per CSS pixel
let painted = 0, moving = false, resting, asked = false;
let found = -1;                         // the point under the pointer or the keyboard
let held = -1;                          // the point chosen last, which is shown when there is none under the pointer
let numbers, numbered;                  // what the points are, and the point of each number; undefined if the same
let trail = {};                         // {path, here}: places in [0, 1] of a line over the points and of a ring
let gesture = null;                     // what the pointer is doing
const pointers = new Map();
const counters = { frames: 0, painted: 0 };

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

// ---------------------------------------------------------------------------
// What there is to see.

function adopt() {
  const next = JSON.parse(props.value);
  if (!next.count) { cloud = undefined; element.dataset.empty = ""; return; }
  delete element.dataset.empty;
  const same = cloud?.key === next.key;
  cloud = next;
  const raw = new Uint16Array(bytes(cloud.position).buffer);
  at = Float32Array.from(raw, (v) => v / 65535);
  columns = cloud.colours.map(({ values }) => bytes(values));
  sx = new Float32Array(cloud.count);
  sy = new Float32Array(cloud.count);
  order = null;
  numbers = cloud.numbers && new Int32Array(bytes(cloud.numbers).buffer);
  numbered = numbers && new Map(Array.from(numbers, (number, i) => [number, i]));
  if (!same) {
    chosen = null;
    held = -1;
    trail = {};
  }
  canvas.ariaLabel = cloud.title;
  canvas.setAttribute("aria-description", cloud.about);
  element.querySelector(".name").textContent = cloud.name;
  colour(same ? Math.min(cloud.colour, cloud.colours.length - 1) : cloud.colour);
  home = { x: 0.5, y: 0.5, z: 0.5, scale: 0.92, yaw: 0.6, pitch: 0.35 };
  if (!same || !view) view = { ...home };
  find(-1);
  resize();
  window.dispatchEvent(new CustomEvent("unravel:cloud", { detail: { key: cloud.key } }));
}

function colour(number) {
  cloud.colour = number;
  const column = cloud.colours[number];
  shade = columns[number];
  const raw = bytes(cloud.palettes[column.palette]);
  palette = new Uint32Array(raw.length / 3);
  for (let k = 0; k < palette.length; k++) palette[k] = (255 << 24 | raw[3 * k + 2] << 16 | raw[3 * k + 1] << 8 | raw[3 * k]) >>> 0;
  dress();
}

const css = (c) => `rgb(${c & 255} ${c >> 8 & 255} ${c >> 16 & 255})`;

function dress() {                      // the line below: what colours mean, and the buttons
  const column = cloud.colours[cloud.colour];
  const parts = [];
  if (cloud.colours.length > 1) {
    const menu = document.createElement("select");
    menu.ariaLabel = "Colour by";
    cloud.colours.forEach((c, i) => menu.add(new Option(c.name, i, false, i === cloud.colour)));
    menu.addEventListener("change", () => tell({ colour: cloud.colours[menu.value].name }));
    parts.push(menu);
  }
  const legend = document.createElement("span");
  legend.className = "legend";
  if (column.labels) {
    column.labels.slice(0, 12).forEach((label, k) => {
      const chip = document.createElement("i");
      chip.style.background = css(palette[k]);
      legend.append(chip, `${label} `);
    });
  } else {
    const bar = document.createElement("i");
    bar.className = "bar";
    bar.style.background = `linear-gradient(90deg, ${[0, 51, 102, 153, 204, 255].map((k) => css(palette[k])).join(", ")})`;
    legend.append(`${column.low} `, bar, ` ${column.high}`);
  }
  parts.push(legend);
  if (cloud.tools) {
    parts.push(button("Lasso", "Draw around points", () => {
      element.toggleAttribute("data-lasso");
      refreshTools();
    }));
    parts.push(button("Whole map", "Show everything again", () => { view = { ...home }; choose(null); move(); }));
  }
  tools.replaceChildren(...parts);
  refreshTools();
}

function button(text, title, act) {
  const made = document.createElement("button");
  Object.assign(made, { type: "button", textContent: text, title });
  made.addEventListener("click", act);
  return made;
}

function refreshTools() {
  const first = tools.querySelector("button");
  if (first) first.ariaPressed = String(element.hasAttribute("data-lasso"));
}

// ---------------------------------------------------------------------------
// One point: under the pointer, under the keyboard, or under the pointer of a neighbour.

function nearest(x, y, reach, allowed = () => true) {  // canvas pixels
  let best = -1, least = reach * reach;
  for (let i = 0; i < cloud.count; i++) {
    const dx = sx[i] - x, dy = sy[i] - y, d = dx * dx + dy * dy;
    if (d < least && allowed(dx, dy)) { least = d; best = i; }
  }
  return best;
}

function find(i, from = element, aloud = false) {
  found = i < 0 ? held : i;
  place();
  if (i >= 0 && aloud) said.textContent = describe(i);
  if (from === element && cloud) tell({ number: i < 0 ? -1 : numbers?.[i] ?? i });
  if (i < 0 || from !== element) { thumb.hidden = true; return; }
  picture(i);
}

const describe = (i) => cloud.colours.map(({ name, labels, low, high }, k) => {
  const v = columns[k][i];
  return `${name} ${labels ? labels[v] : `${Math.round(v / 2.55)} % from ${low} to ${high}`}`;
}).join(", ");

function hold(i) {                      // a click: this point stays lit, here and in the clouds of the group
  held = i;
  find(i, element, true);
  if (cloud.group) tell({ held: i < 0 ? -1 : numbers?.[i] ?? i });
}

function place() {
  draw();
  ring.hidden = found < 0 || !cloud;
  if (ring.hidden) return;
  const x = sx[found] / ratio, y = sy[found] / ratio;
  ring.style.translate = `${x}px ${y}px`;
  thumb.style.translate = `${clamp(x + 14, 0, plot.clientWidth - 100)}px ${clamp(y - 110, 0, plot.clientHeight - 100)}px`;
}

const LEAP = 0.05;                      // of the unit: a longer step is a jump from one region to another

function draw() {                       // the line, dotted where it jumps, its ends, and the ring
  const path = cloud && trail.path ? trail.path.map(onScreen) : [];
  const steps = { trail: "", leap: "" };
  for (let k = 1; k < path.length; k++) {
    const far = Math.hypot(...trail.path[k].map((v, d) => v - trail.path[k - 1][d])) > LEAP;
    steps[far ? "leap" : "trail"] += `M${path[k - 1].join(" ")}L${path[k].join(" ")}`;
  }
  for (const kind of ["trail", "leap"]) plot.querySelector(`path.${kind}`).setAttribute("d", steps[kind]);
  const ends = { start: path[0], end: path.at(-1), here: cloud && trail.here && onScreen(trail.here) };
  for (const [kind, at] of Object.entries(ends)) {
    const mark = plot.querySelector(`circle.${kind}`);
    mark.style.display = at ? "" : "none";
    if (at) [mark.cx.baseVal.value, mark.cy.baseVal.value] = at;
  }
}

async function picture(i) {
  if (cloud.sheet) {
    const { image: address, columns: wide } = cloud.sheet;
    const rows = Math.ceil(cloud.count / wide), x = i % wide, y = Math.floor(i / wide);
    thumb.style.background = `url(${address}) ${(100 * x) / Math.max(1, wide - 1)}% ${(100 * y) / Math.max(1, rows - 1)}% / ${100 * wide}% ${100 * rows}%`;
    thumb.hidden = false;
  } else if (server.thumb) {
    const answer = await server.thumb({ key: cloud.key, index: i }).catch(() => undefined);
    if (found !== i || !answer?.image) return;
    thumb.style.background = `url(data:image/jpeg;base64,${answer.image}) 0 0 / 100% 100%`;
    thumb.hidden = false;
  }
}

function choose(polygon) {              // CSS pixels, or null
  chosen = null;
  if (polygon?.length > 2) {
    chosen = new Uint8Array(cloud.count);
    const indices = [];
    for (let i = 0; i < cloud.count; i++) {
      if (inside(polygon, sx[i] / ratio, sy[i] / ratio)) { chosen[i] = 1; indices.push(i); }
    }
    if (!indices.length) chosen = null;
    if (cloud.group) tell({ chosen: indices.map((i) => numbers?.[i] ?? i) });
    said.textContent = `${indices.length} points chosen`;
    trigger("input", { indices: indices.slice(0, 20000), total: indices.length });
  } else if (cloud.tools) {
    trigger("input", { indices: [], total: 0 });
    if (cloud.group) tell({ chosen: [] });
  }
  ask();
}

function follow(others) {               // the lasso of a cloud of the group
  chosen = others.length ? new Uint8Array(cloud.count) : null;
  for (const number of others) {
    const i = numbered ? numbered.get(number) : number;
    if (i !== undefined) chosen[i] = 1;
  }
  ask();
}

function inside(polygon, x, y) {
  let within = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [ax, ay] = polygon[i], [bx, by] = polygon[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
  }
  return within;
}

// ---------------------------------------------------------------------------
// Pointer, wheel, keys.

const local = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

function zoom(factor, x, y) {           // about CSS pixels x, y
  const before = unit() / ratio;
  view.scale = clamp(view.scale * factor, ...ZOOM);
  const after = unit() / ratio, dx = x - plot.clientWidth / 2, dy = y - plot.clientHeight / 2;
  if (cloud.dims === 2) {
    view.x += dx / before - dx / after;
    view.y -= dy / before - dy / after;
  }
  move();
}

function drag(dx, dy) {                 // CSS pixels
  if (cloud.dims === 3) {
    view.yaw += dx * 0.008;
    view.pitch = clamp(view.pitch + dy * 0.008, -1.57, 1.57);
  } else {
    view.x -= (dx * ratio) / unit();
    view.y += (dy * ratio) / unit();
  }
  move();
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, local(event));
  const drawing = (element.hasAttribute("data-lasso") || event.shiftKey) && cloud.tools && pointers.size === 1;
  gesture = { kind: drawing ? "lasso" : "drag", travelled: 0, trail: [local(event)] };
});

canvas.addEventListener("pointermove", (event) => {
  if (!cloud) return;
  const [x, y] = local(event), before = pointers.get(event.pointerId);
  if (!before) {
    const i = nearest(x * ratio, y * ratio, REACH * ratio);
    if (i !== found) find(i);
    return;
  }
  const others = [...pointers].filter(([id]) => id !== event.pointerId);
  if (others.length) {                  // two fingers: their distance is the zoom
    const [[, [ox, oy]]] = others;
    zoom(Math.hypot(x - ox, y - oy) / Math.max(1, Math.hypot(before[0] - ox, before[1] - oy)), (x + ox) / 2, (y + oy) / 2);
  } else if (gesture.kind === "lasso") {
    gesture.trail.push([x, y]);
    lasso.setAttribute("d", `M${gesture.trail.map((p) => p.join(" ")).join("L")}Z`);
  } else {
    drag(x - before[0], y - before[1]);
  }
  gesture.travelled += Math.hypot(x - before[0], y - before[1]);
  pointers.set(event.pointerId, [x, y]);
});

for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    pointers.delete(event.pointerId);
    if (!gesture || pointers.size) return;
    const { kind: what, travelled, trail } = gesture;
    gesture = null;
    lasso.removeAttribute("d");
    if (kind === "pointercancel") return;
    if (what === "lasso" && travelled > 8) {
      choose(trail);
    } else if (travelled < 4) {
      const [x, y] = local(event), i = nearest(x * ratio, y * ratio, REACH * ratio);
      hold(i);
      if (i >= 0) trigger("select", { index: i });
      else if (cloud.dims === 2) trigger("click", position(x, y));
    }
  });
}

const position = (x, y) => ({           // in the cloud's own coordinates, [0, 1]
  x: view.x + ((x - plot.clientWidth / 2) * ratio) / unit(), y: view.y - ((y - plot.clientHeight / 2) * ratio) / unit(),
});

canvas.addEventListener("pointerleave", () => pointers.size || find(-1));
canvas.addEventListener("dblclick", () => { view = { ...home }; move(); });
canvas.addEventListener("wheel", (event) => {
  if (!cloud) return;
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * 0.0015), ...local(event));
}, { passive: false });

canvas.addEventListener("keydown", (event) => {
  if (!cloud) return;
  const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (way && event.shiftKey) drag(-60 * way[0], -60 * way[1]);
  else if (way) {
    const from = found >= 0 ? [sx[found], sy[found]] : [canvas.width / 2, canvas.height / 2];
    const ahead = (dx, dy) => dx * way[0] + dy * way[1] > Math.abs(dx * way[1]) + Math.abs(dy * way[0]) && (dx || dy);
    const i = found < 0 ? nearest(...from, Infinity) : nearest(...from, Infinity, ahead);
    if (i >= 0) find(i, element, true);
  } else if (event.key === "Enter" && found >= 0) {
    hold(found);
    trigger("select", { index: found });
  }
  else if (event.key === "+" || event.key === "=") zoom(1.25, plot.clientWidth / 2, plot.clientHeight / 2);
  else if (event.key === "-") zoom(0.8, plot.clientWidth / 2, plot.clientHeight / 2);
  else if (event.key === "0") { view = { ...home }; move(); }
  else if (event.key === "Escape") {
    hold(-1);
    choose(null);
  }
  else return;
  event.preventDefault();
});

function tell(news) {                   // itself and the clouds of its group
  window.dispatchEvent(new CustomEvent("unravel:points", { detail: { from: element, group: cloud.group, ...news } }));
}

window.addEventListener("unravel:points", ({ detail: { from, group, number, held: kept, chosen: others, colour: name } }) => {
  if (!cloud || (from !== element && (!group || cloud.group !== group))) return;
  const point = (what) => (numbered && what >= 0 ? numbered.get(what) ?? -1 : what);
  if (name !== undefined) {
    const known = cloud.colours.findIndex((c) => c.name === name);
    if (known >= 0) { colour(known); ask(); }
  } else if (from === element) return;
  else if (kept !== undefined) { held = point(kept); find(held, from); }
  else if (others) follow(others);
  else find(point(number), from);
});

window.addEventListener("unravel:trail", ({ detail: { key, ...news } }) => {
  if (cloud?.key !== key) return;
  trail = news;
  draw();
});

plot.unravel = Object.freeze({    // for tests and benchmarks
  get counters() { return { ...counters }; },
  get view() { return { ...view }; },
  get dims() { return cloud?.dims; },
  get found() { return found; },
  get trail() { return structuredClone(trail); },
  place: (i) => [sx[i] / ratio, sy[i] / ratio],
});

watch("value", adopt);
new ResizeObserver(resize).observe(plot);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ask);
adopt();
