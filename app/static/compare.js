// One picture through several models; runs as `js_on_load` of Compare (app/compare.py).
//
// Each ticked model is a column with its own edits. Factors that mean the same stand in one row: dragging one moves
// the others to where their films look most alike (alike.js). While a slider moves nothing waits for the server, as
// on the tab Explore. The files that stand before this one and share its scope are named in app/compare.py.

const FILM = 9;                  // frames under a slider
const REST = 160;                // milliseconds without input until exact pictures and films are asked for
const STRIPS = 12;               // strips kept for each model
const PAGE = Math.random().toString(36).slice(2);

const find = (name) => element.querySelector(name);
const about = JSON.parse(props.value);
const counters = { boards: 0, exact: 0, strips: 0, films: 0, scrubbed: 0 };
const make = (tag, className = "", text = "") =>
  Object.assign(document.createElement(tag), { className, textContent: text });

let ticked = [], base = "", columns = [], rows = [];
let turn = 0, seen = false;      // of the board that is being made; whether the tab was looked at
let resting, touched = new Set();
const speeds = new Map();        // by model

const DRAWING = "Drawing …";
const say = (sentence) => { find(".status").textContent = sentence; };
const address = (image) => `data:image/png;base64,${image}`;

// ---------------------------------------------------------------------------
// Columns: a model, its films, and where its sliders stand.

const share = ({ low, high, neutral }) => Math.min(1, Math.max(0, (neutral - low) / (high - low)));

function columnOf(said) {
  const column = {
    ...said, edits: {}, films: new Map(), strips: new Map(), inputs: new Map(), screens: new Map(), canvas: null,
    askFrame: lane(server.frame, say), askStrip: lane(server.strip, say), askFilms: lane(server.films, say),
  };
  column.shares = new Map(said.factors.map((factor) => [factor.name, share(factor)]));
  return column;
}

const without = (column, name) => Object.fromEntries(Object.entries(column.edits).filter(([factor]) => factor !== name));

const others = (column, name) => JSON.stringify(Object.entries(without(column, name)).sort());

const request = (column, name = "") =>
  ({ model: column.name, base, factor: name, page: `${PAGE} ${column.name}`, edits: without(column, name) });

function reel(column, name) {    // the finest film that fits the other sliders
  const key = others(column, name);
  const strip = column.strips.get(`${name} ${key}`), film = column.films.get(name);
  return strip ?? (film?.key === key ? film : undefined);
}

function fetchFrame(column) {
  const key = JSON.stringify(column.edits);
  column.askFrame(request(column), async (answer) => {
    const picture = await bitmap(answer);
    if (key !== JSON.stringify(column.edits) || !column.canvas?.isConnected) return;
    column.canvas.getContext("2d").drawImage(picture, 0, 0);
    counters.exact += 1;
  });
}

function fetchFilms(column) {
  const keys = column.factors.map(({ name }) => others(column, name));
  column.askFilms(request(column), async (answer) => {
    const sheet = await bitmap(answer);
    column.factors.forEach(({ name }, row) => {
      column.films.set(name, { sheet, row, frames: answer.frames, key: keys[row] });
      const screen = column.screens.get(name);
      screen?.getContext("2d").drawImage(sheet, 0, row * SIDE, answer.frames * SIDE, SIDE, 0, 0, screen.width, SIDE);
    });
    counters.films += 1;
  });
}

function fetchStrip(column, name) {
  const key = `${name} ${others(column, name)}`;
  if (column.strips.has(key)) return;
  column.askStrip(request(column, name), async (answer) => {
    column.strips.set(key, { sheet: await bitmap(answer), row: 0, frames: answer.frames });
    if (column.strips.size > STRIPS) column.strips.delete(column.strips.keys().next().value);
    counters.strips += 1;
  });
}

function scrub(column, name) {   // false if there is no film that fits
  const film = reel(column, name);
  if (!film) return false;
  crossFade(column.canvas.getContext("2d"), film, column.shares.get(name));
  counters.scrubbed += 1;
  return true;
}

// ---------------------------------------------------------------------------
// Rows: what moves together.

const rowOf = (c, name) => rows.find((row) => row.factors[c] === name);

function move(c, name, at) {
  set(columns[c], name, at);
  (rowOf(c, name)?.factors ?? []).forEach((factor, d) => {
    if (!factor || d === c) return;
    const [one, other] = [reel(columns[c], name), reel(columns[d], factor)];
    const common = columns[c].data === columns[d].data && one && other;   // else there is nothing alike to look for
    set(columns[d], factor, common ? follow(one, other, at) : at);
  });
  find(".reset").disabled = false;
  clearTimeout(resting);
  resting = setTimeout(() => {
    for (const column of touched) {
      fetchFrame(column);
      fetchFilms(column);
    }
    touched = new Set();
  }, REST);
}

function set(column, name, at) {
  const { low, high } = column.factors.find((factor) => factor.name === name);
  column.shares.set(name, at);
  column.edits[name] = low + at * (high - low);
  project(column, name);
  touched.add(column);
  if (!scrub(column, name)) fetchFrame(column);
}

function project(column, name) {
  const input = column.inputs.get(name), at = column.shares.get(name);
  input.value = at;
  input.ariaValueText = `${Math.round(100 * at)} % of the way`;
}

// ---------------------------------------------------------------------------
// The board.

async function build() {
  const mine = ++turn;
  if (!ticked.length) {
    find(".board").replaceChildren();
    columns = [];
    return say("Tick a model.");
  }
  say(DRAWING);
  const [shared, ...told] = await Promise.all([
    reached(server.rows({ models: ticked })), ...ticked.map((model) => reached(server.column({ model, base }))),
  ]);
  if (mine !== turn) return;
  const wrong = [shared, ...told].find(({ error }) => error);
  if (wrong) return say(wrong.error);
  columns = told.map(columnOf);
  rows = shared.rows;
  touched = new Set();
  find(".reset").disabled = true;
  layOut();
  if (find(".status").textContent === DRAWING) {  // and no sentence about what was asked for since
    say(`${columns.map(({ title, name }) => `${title} (${name})`).join(", ")}: ${rows.length} factors in common.`);
  }
  columns.forEach(fetchFilms);
  counters.boards += 1;
  for (const column of columns) {            // one after the other: they are timed
    if (!speeds.has(column.name)) {
      const speed = await reached(server.speed({ model: column.name, base }));
      if (!speed.error) speeds.set(column.name, speed);
    }
    if (mine !== turn) return;
    timed(column);
  }
}

function layOut() {
  const board = find(".board"), alone = columns.map((column, c) => column.factors.filter(({ name }) => !rowOf(c, name)));
  board.style.setProperty("--columns", columns.length);
  board.replaceChildren(make("div", "heads"));
  board.firstChild.append(...columns.map(head));
  for (const row of rows) {
    const first = row.factors.findIndex(Boolean);
    board.append(title(columns[first].factors.find(({ name }) => name === row.factors[first]).label, row.why));
    board.append(...columns.map((column, c) => {
      const factor = column.factors.find(({ name }) => name === row.factors[c]);
      return factor ? cell(column, c, factor) : make("p", "none", "no such factor");
    }));
  }
  if (alone.some((factors) => factors.length)) {
    board.append(title("Only here", "no other of these models has them; each moves its own picture"));
    board.append(...columns.map((column, c) => {
      const stack = make("div", "stack");
      stack.append(...alone[c].map((factor) => cell(column, c, factor)));
      return stack;
    }));
  }
  board.append(...columns.map(({ facts, title: called }) => {
    const more = make("div", "facts");
    more.innerHTML = facts;
    more.prepend(make("h4", "", `${called} in figures`));
    return more;
  }));
}

function title(words, why) {
  const made = make("div", "row-title");
  made.append(make("h4", "", words), make("span", "", why));
  return made;
}

function head(column) {
  const card = make("article", "head");
  const canvas = Object.assign(make("canvas"), { width: SIDE, height: SIDE, ariaLabel: `What ${column.title} draws` });
  canvas.setAttribute("role", "img");
  bitmap(column).then((picture) => column.edits && !Object.keys(column.edits).length
    && canvas.getContext("2d").drawImage(picture, 0, 0));
  column.canvas = canvas;
  const heading = make("h3", "", column.title);
  heading.append(make("small", "", column.name));
  const words = make("div");
  words.append(make("p", "fidelity", `rebuilds this picture at ${column.psnr.toFixed(1)} dB PSNR`),
    make("p", "weight", `${column.parameters} parameters, ${column.size} on disk`), make("p", "speed", "being timed …"));
  card.append(heading, canvas, words);
  column.card = card;
  return card;
}

const ms = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;

function timed(column) {
  const speed = speeds.get(column.name);
  column.card.querySelector(".speed").textContent = speed
    ? `encodes in ${ms(speed.encode)}, decodes in ${ms(speed.decode)}, a film of ${FILM} in ${ms(speed.film)}`
      + (speed.refine > 5 * speed.decode ? `, the exact picture in ${ms(speed.refine)}` : "") + `; ${speed.device}`
    : "could not be timed";
}

function cell(column, c, factor) {
  const made = make("div", "cell"), strip = make("div", "strip"), words = make("p", "", factor.label);
  words.append(make("small", "", factor.note));
  const screen = Object.assign(make("canvas"), { width: FILM * SIDE, height: SIDE });
  screen.ariaHidden = "true";
  const input = Object.assign(make("input"), { type: "range", min: 0, max: 1, step: 0.005 });
  input.ariaLabel = `${factor.label} (${factor.name}) of ${column.title}, ${column.name}`;
  input.addEventListener("input", () => move(c, factor.name, Number(input.value)));
  for (const kind of ["pointerenter", "pointerdown", "focus"]) input.addEventListener(kind, () => ready(c, factor.name));
  column.screens.set(factor.name, screen);
  column.inputs.set(factor.name, input);
  strip.append(screen, input);
  made.append(words, strip);
  project(column, factor.name);
  return made;
}

function ready(c, name) {        // the finer films of a row, before the hand moves
  (rowOf(c, name)?.factors ?? columns.map((_, d) => (d === c ? name : null))).forEach(
    (factor, d) => factor && fetchStrip(columns[d], factor));
}

function reset() {
  for (const column of columns) {
    column.edits = {};
    for (const factor of column.factors) {
      column.shares.set(factor.name, share(factor));
      project(column, factor.name);
    }
    fetchFrame(column);
    fetchFilms(column);
  }
  find(".reset").disabled = true;
  say("All sliders stand where the picture has them.");
}

// ---------------------------------------------------------------------------
// What is compared.

function offer() {               // the models, those of the data set in hand first
  const now = window.unravel.state.model, { data } = about.models.find(({ name }) => name === now);
  const order = [...about.models].sort((a, b) =>
    (a.name !== now) - (b.name !== now) || (a.data !== data) - (b.data !== data) || a.data.localeCompare(b.data));
  ticked = order.filter((model) => model.data === data).slice(0, about.first).map(({ name }) => name);
  find(".models").append(...order.map(({ name, title: called, data: of }) => {
    const label = make("label"), box = Object.assign(make("input"), { type: "checkbox", value: name });
    const words = make("span", "", called);
    words.append(make("small", "", of));
    label.append(box, words);
    return label;
  }));
  tick();
}

function tick() {
  const boxes = [...element.querySelectorAll(".models input")];
  for (const box of boxes) {
    box.checked = ticked.includes(box.value);
    box.disabled = !box.checked && ticked.length >= about.most;
  }
}

async function shelve() {        // the samples of the first model's data set
  const [model] = ticked;
  const answer = model && await reached(server.shelf({ model }));
  if (!answer || answer.error || model !== ticked[0]) return;
  find(".samples").innerHTML = answer.html;
  find(".samples").dataset.model = model;
  [...element.querySelectorAll(".samples button")].slice(1).forEach((thumb) => { thumb.tabIndex = -1; });
}

async function take(answer) {
  const { error, base: given, image } = await reached(answer);
  if (error) return say(error);
  base = given;
  find(".given").src = address(image);
  await build();
}

const explore = () => {
  const { model, base: shown, edits } = window.unravel.state;
  return take(server.source({ model, base: shown, edits }));
};

async function upload([file]) {
  if (!file) return;
  if (file.size > about.bytes) return say(about.heavy);
  const text = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => done("");
    reader.readAsDataURL(file);
  });
  await take(server.take({ file: text }));
}

element.addEventListener("change", ({ target }) => {
  if (target.type === "file") {
    upload([...target.files]);
    target.value = "";
  } else if (target.type === "checkbox") {
    ticked = target.checked ? [...ticked, target.value] : ticked.filter((name) => name !== target.value);
    tick();
    shelve();
    build();
  }
});

element.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.matches(".explore")) explore();
  else if (button.matches(".reset")) reset();
  else if (button.dataset.column) sort(button);
  else if (button.dataset.index) {
    take(server.source({ model: find(".samples").dataset.model, base: `gallery:${button.dataset.index}`, edits: {} }));
  }
});

element.addEventListener("keydown", (event) => {   // arrow keys walk along the samples, which are one stop of Tab
  const thumb = event.target.closest(".samples button");
  const next = { ArrowRight: thumb?.nextElementSibling, ArrowLeft: thumb?.previousElementSibling }[event.key];
  if (!next) return;
  event.preventDefault();
  for (const other of next.parentElement.children) other.tabIndex = other === next ? 0 : -1;
  next.focus();
});

new IntersectionObserver(([entry]) => {
  if (!entry.isIntersecting || seen || !window.unravel) return;
  seen = true;
  offer();
  shelve();
  explore();
}).observe(element);

window.unravelCompare = Object.freeze({
  get counters() { return { ...counters }; },
  get columns() {
    return columns.map(({ name, edits, shares }) => ({ name, edits: { ...edits }, shares: Object.fromEntries(shares) }));
  },
  get rows() { return structuredClone(rows); },
});
