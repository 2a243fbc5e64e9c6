// Two factors at once: a square of pictures with a spot to drag. Frames come from one sheet of the square, fetched
// before; its four nearest pictures are cross-faded. Part of the script of LiveCanvas (app/live.py).

const SIDES = [5, 9, 17];       // pictures along a side of the square: of one sheet after the other
const TILES = 9;                // of which so many are shown at most behind the spot
const SLOW = 1000;              // milliseconds that the next finer sheet may take the server
const PLANES = 4;               // sheets kept
const FINE = 1 / 40, WIDE = 1 / 8;  // steps of the arrow keys, in shares of the range
const planes = new Map();       // key of a square -> {sheet, side, ms, last}, oldest first
let axes = [0, 1];              // the factors across and up
let padOpen = false;

const pad = () => document.getElementById("pad");
const planeKey = () => {
  const others = Object.entries(edits()).filter(([name]) => !axes.some((i) => view.factors[i].name === name));
  return JSON.stringify([view.model, view.base, axes, others]);
};
const tiles = () => Math.min(TILES, planeNow()?.side ?? TILES);
const planeNow = () => (padOpen && axes[1] in view.factors ? planes.get(planeKey()) : undefined);

function togglePad() {
  padOpen = !padOpen;
  tool("pad").ariaExpanded = String(padOpen);
  pad().toggleAttribute("data-open", padOpen);
  if (!padOpen) return;
  equipPad();
  fetchPlane();
  markPad();
  pad().querySelector(".plane").focus({ preventScroll: true });
  pad().scrollIntoView({ block: "nearest" });
}

function turnPad() {            // another view
  axes = [0, 1];
  tool("pad").disabled = view.factors.length < 2;
  if (padOpen && tool("pad").disabled) togglePad();
  if (padOpen) fetchPlane();
}

function equipPad() {
  const plane = pad().querySelector(".plane");
  if (plane.dataset.live) return;
  plane.dataset.live = "";
  const grab = (event) => {     // picture k's centre is where the spot shows picture k
    const box = plane.getBoundingClientRect(), side = tiles();
    const along = (share) => (share * side - 0.5) / (side - 1);
    place([along((event.clientX - box.left) / box.width), along(1 - (event.clientY - box.top) / box.height)], event.timeStamp);
  };
  plane.addEventListener("pointerdown", (event) => {
    plane.setPointerCapture(event.pointerId);
    scrubbing = true;
    grab(event);
  });
  for (const kind of ["pointerup", "pointercancel"]) plane.addEventListener(kind, letGo);
  plane.addEventListener("pointermove", (event) => event.buttons && grab(event));
  plane.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    place(shares().map((share, k) => share + step[k] * (event.shiftKey ? WIDE : FINE)), event.timeStamp);
    pad().querySelector(".there").textContent = where();
  });
  for (const menu of pad().querySelectorAll("select")) {
    menu.addEventListener("change", () => {
      const k = Number(menu.dataset.axis), chosen = Number(menu.value);
      axes = axes.map((i, which) => (which === k ? chosen : i === chosen ? axes[k] : i));
      fetchPlane();
      markPad();
    });
  }
}

function letGo() {              // Gradio's own values follow
  scrubbing = false;
  quiet = true;
  for (const i of axes) put(i, values[i]);
  quiet = false;
}

const shares = () => axes.map((i) => (values[i] - view.factors[i].low) / (view.factors[i].high - view.factors[i].low));
const where = () => axes.map((i) => `${title(i)} ${range(i).value}`).join(", ");

function place(wanted, since) { // shares of the ranges, across and up
  arrange(axes.map((i, k) => {
    const { low, high } = view.factors[i];
    return [i, low + Math.min(1, Math.max(0, wanted[k])) * (high - low)];
  }), false, since);
  note("pad");
}

function scrubPlane(since) {    // false if there is no sheet for the present sliders
  const film = planeNow();
  if (!film) return false;
  const at = shares().map((share) => Math.min(1, Math.max(0, share)) * (film.side - 1));
  const [c, r] = at.map((v) => Math.min(film.side - 2, Math.floor(v))), [u, v] = [at[0] - c, at[1] - r];
  let sum = 0;                  // drawn over one another so that each has its own weight in the end
  for (const [column, row, weight] of [
    [c, r, (1 - u) * (1 - v)], [c + 1, r, u * (1 - v)], [c, r + 1, (1 - u) * v], [c + 1, r + 1, u * v],
  ]) {
    if (weight < 0.004) continue;
    sum += weight;
    pen.globalAlpha = weight / sum;
    pen.drawImage(film.sheet, column * SIDE, row * SIDE, SIDE, SIDE, 0, 0, SIDE, SIDE);
  }
  pen.globalAlpha = 1;
  counters.scrubbed += 1;
  report("preview", -1, axes.map((i) => values[i]), since, film.ms);
  return true;
}

function fetchPlane() {
  if (!padOpen || document.hidden) return;
  const name = planeKey(), known = planes.get(name), next = SIDES.indexOf(known?.side) + 1, side = SIDES[next];
  projectPlane();
  if (known?.last) return;
  const others = Object.fromEntries(JSON.parse(name)[3]), wanted = axes.map((i) => view.factors[i].name);
  const wish = { ...request(), edits: others, axes: wanted, count: side };
  askPlane(`${name} ${side}`, wish, async (answer) => {
    const last = !SIDES[next + 1] || answer.ms.computed * (SIDES[next + 1] / side) ** 2 > SLOW;
    const sheet = await bitmap(answer);
    planes.get(name)?.sheet.close();
    planes.delete(name);
    planes.set(name, { sheet, side, ms: answer.ms, last });
    counters.planes += 1;
    if (planes.size > PLANES) {
      const [oldest, { sheet: worn }] = planes.entries().next().value;
      planes.delete(oldest);
      worn.close();
    }
    fetchPlane();
  });
}

function projectPlane() {       // the sheet behind the spot, the high end at the top
  const film = planeNow();
  Object.assign(pad().dataset, { tiles: tiles(), whole: Boolean(film?.last) });
  if (!film) return;
  const screen = pad().querySelector("canvas"), ink = screen.getContext("2d"), side = tiles();
  const size = screen.width / side, every = (film.side - 1) / (side - 1);
  for (let row = 0; row < side; row++) for (let column = 0; column < side; column++) {
    const from = [column * every * SIDE, row * every * SIDE, SIDE, SIDE];
    ink.drawImage(film.sheet, ...from, column * size, screen.height - (row + 1) * size, size, size);
  }
}

function markPad() {
  if (!padOpen) return;
  const side = tiles(), spot = pad().querySelector(".spot");
  const [x, y] = shares().map((share) => (Math.min(1, Math.max(0, share)) * (side - 1) + 0.5) / side);
  spot.style.left = `${100 * x}%`;
  spot.style.top = `${100 * (1 - y)}%`;
  for (const menu of pad().querySelectorAll("select")) {
    const names = view.factors.map((_, i) => title(i)), chosen = String(axes[menu.dataset.axis]);
    if (menu.dataset.names !== names.join("\n")) {
      menu.replaceChildren(...names.map((name, i) => new Option(name, i)));
      menu.dataset.names = names.join("\n");
    }
    if (menu.value !== chosen) menu.value = chosen;
  }
}

work.pad = togglePad;
