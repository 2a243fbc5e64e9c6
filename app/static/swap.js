// Two pictures that exchange content and style, and a matrix; runs as `js_on_load` of the stage (app/swap.py).
//
// The page keeps its state here: two bases with edits of each, further ones, ticked factors, shares. While a slider
// moves, one request is in flight and only the newest wish is remembered; at rest the exact pictures are asked for.

const REST = 140;    // milliseconds without input until the exact pictures are asked for
const PAGE = Math.random().toString(36).slice(2);
const AFTER = { a: "b", b: "contents" };   // where the next of several files goes

const find = (name) => element.querySelector(name);
const all = (name) => [...element.querySelectorAll(name)];

let about;                                 // what the server says of the model
let state;                                 // {model, a, b, contents, styles, names, content, style, edits: {a, b}}
let target = "a";
let fresh = [];                            // bases of the new contents that are shown
let resting, seen = false, waiting = false;
let wishes = 0, shown = 0;                 // how many there were, and the last one whose exact pictures are there
let passing = false;                       // the line of status tells of a request that failed
const counters = { mixed: 0, exact: 0, matrices: 0, errors: 0 };

// ---------------------------------------------------------------------------
// Requests: of the whole state, and answers for the model that is still shown.

function asker(call) {
  const ask = lane(call, (sentence) => say(sentence, false), ({ model }) => model === state.model);
  return (extra, receive) => ask({ ...state, page: PAGE, ...extra }, (answer, newest) => {
    if (passing) say("");
    return receive(answer, newest);
  });
}

const askPair = asker(server.pair), askMix = asker(server.mix), askMatrix = asker(server.matrix);
const askNew = asker(server.imagine);

const address = ({ image }) => `data:image/png;base64,${image}`;

function say(sentence, lasting = true) {    // what does not last goes with the next answer
  find(".status").textContent = sentence;
  passing = !lasting;
  if (sentence) counters.errors += 1;
}

function paint(picture, tiles) {           // tile k of the picture on the canvas of tiles[k]
  tiles.forEach((tile, k) => {
    find(`canvas[data-tile="${tile}"]`).getContext("2d").drawImage(picture, k * SIDE, 0, SIDE, SIDE, 0, 0, SIDE, SIDE);
  });
}

function fetchPair() {
  const wish = wishes;
  askPair({}, async (answer, newest) => {
    const picture = await bitmap(answer);
    if (!newest) return;
    paint(picture, [0, 1, 2, 3, 4, 5]);
    find(".pair-file").href = address(answer);
    find(".note").textContent = answer.note;
    shown = wish;
    counters.exact += 1;
  });
}

function fetchMatrix() {
  askMatrix({}, (answer) => {
    layOut(address(answer));
    find(".matrix-file").href = address(answer);
    find(".matrix-note").textContent = answer.note;
    counters.matrices += 1;
  });
}

function fetchMix() {
  const wish = wishes;
  askMix({}, async (answer) => {
    const picture = await bitmap(answer);
    if (wish > shown) paint(picture, [2, 3]);  // else it is late: the exact ones are there
    counters.mixed += 1;
  });
}

function refresh() {                       // when it is looked at: a hidden tab asks for nothing
  wishes += 1;
  waiting = !seen;
  if (waiting) return;
  fetchPair();
  fetchMatrix();
  for (const slot of ["a", "b"]) showInside(slot);
}

// ---------------------------------------------------------------------------
// The matrix: tiles of one sheet, pictures to take out at its edges, places to add more.

function layOut(sheet) {
  const rows = [state.a, state.b, ...state.contents], columns = [state.a, state.b, ...state.styles];
  const grid = find(".matrix"), tiles = [];
  const tile = (r, c) => {
    const edge = r === 0 ? c - 3 : r - 3, side = r === 0 ? "styles" : "contents";
    const removable = (r === 0) !== (c === 0) && edge >= 0;
    const made = document.createElement(removable ? "button" : "div");
    made.style.cssText = `grid-area: ${r + 1} / ${c + 1}; background-position: ${100 * c / columns.length}% ${100 * r / rows.length}%`;
    made.className = r && c ? "tile" : "tile edge";
    if (removable) {
      Object.assign(made, { type: "button", ariaLabel: `Take out ${side === "styles" ? "style" : "content"} ${edge + 3}` });
      made.addEventListener("click", () => change({ [side]: state[side].filter((_, i) => i !== edge) }));
    }
    return made;
  };
  for (let r = 0; r <= rows.length; r++) for (let c = 0; c <= columns.length; c++) if (r || c) tiles.push(tile(r, c));
  const add = (slot, words, area) => {
    const made = document.createElement("button");
    Object.assign(made, { type: "button", className: "add", textContent: "+", ariaLabel: words, title: words });
    made.dataset.slot = made.dataset.target = slot;
    made.style.gridArea = area;
    return made;
  };
  if (rows.length < about.most) tiles.push(add("contents", "Add a content", `${rows.length + 2} / 1`));
  if (columns.length < about.most) tiles.push(add("styles", "Add a style", `1 / ${columns.length + 2}`));
  grid.style.setProperty("--sheet", `url(${sheet})`);
  grid.style.setProperty("--rows", rows.length + 1);
  grid.style.setProperty("--columns", columns.length + 1);
  grid.replaceChildren(...tiles);
  mark();
}

// ---------------------------------------------------------------------------
// State.

function change(parts) {
  say("");
  Object.assign(state, parts);
  mark();
  refresh();
}

function place(base, slot) {
  if (slot === "a" || slot === "b") return change({ [slot]: base, edits: { ...state.edits, [slot]: {} } });
  if (state[slot].length + 2 >= about.most) return say(`A matrix has at most ${about.most} ${slot}.`);
  change({ [slot]: [...state[slot], base] });
}

function aim(slot) {
  target = slot;
  mark();
}

function mark() {
  for (const button of all("[data-target]")) button.ariaPressed = String(button.dataset.target === target);
  for (const thumb of all(".samples button")) {
    thumb.ariaPressed = String([state.a, state.b].includes(`gallery:${thumb.dataset.index}`));
  }
  for (const input of all("[data-share]")) input.value = state[input.dataset.share];
  for (const button of all("[data-closer]")) {
    const base = state[button.dataset.closer], fitted = isFitted(base);
    button.hidden = !fitted && !base.startsWith("upload:");
    if (!button.disabled) button.textContent = fitted ? FITTED : FIT;
  }
  markInside();
}

async function fit(button) {               // a user's picture more closely, or as it was read at first
  const slot = button.dataset.closer, { model, [slot]: base } = state;
  if (isFitted(base)) return place(asRead(base), slot);
  Object.assign(button, { disabled: true, textContent: "Fitting …" });
  const answer = await reached(server.closer({ model, base }));
  button.disabled = false;
  mark();
  if (state.model !== model || state[slot] !== base) return;
  if (answer.error) say(answer.error);
  else place(answer.base, slot);
}

function offer(answer) {                   // new contents, to look at and to use
  const row = find(".drawn");
  fresh = answer.bases;
  row.style.cssText = `--count: ${fresh.length}; --sheet: url(${address(answer)})`;
  row.replaceChildren(...fresh.map((_, i) => {
    const thumb = document.createElement("button");
    Object.assign(thumb, { type: "button", ariaLabel: `New content ${i + 1}` });
    thumb.dataset.fresh = i;
    thumb.style.setProperty("--index", i);
    return thumb;
  }));
  row.hidden = false;
}

async function upload(files, slot) {
  const wrong = [];
  for (const file of files) {
    if (file.size > about.bytes) {
      wrong.push(`${file.name}: ${about.heavy}`);
      continue;
    }
    const text = await new Promise((done) => {
      const reader = new FileReader();
      reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
      reader.onerror = () => done("");
      reader.readAsDataURL(file);
    });
    const answer = await reached(server.take({ file: text, model: state.model }));
    if (answer.error) wrong.push(`${file.name}: ${answer.error}`);
    else {
      place(answer.base, slot);
      slot = AFTER[slot] ?? slot;
    }
  }
  if (wrong.length) say(wrong.join(" "));
}

// ---------------------------------------------------------------------------
// Events.

element.addEventListener("input", ({ target: input }) => {
  const { share, knob, of } = input.dataset;
  if (share) state[share] = Number(input.value);
  else if (knob) state.edits = { ...state.edits, [of]: { ...state.edits[of], [knob]: Number(input.value) } };
  else return;
  wishes += 1;
  fetchMix();
  clearTimeout(resting);
  resting = setTimeout(() => {
    fetchPair();
    if (knob) fetchMatrix();
  }, REST);
});

find(".inside").addEventListener("toggle", () => {
  for (const slot of ["a", "b"]) showInside(slot);
});

element.addEventListener("change", ({ target: input }) => {
  if (input.type !== "file") return;
  upload([...input.files], target);
  input.value = "";
});

element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.target) aim(button.dataset.target);
  else if (button.dataset.index) place(`gallery:${button.dataset.index}`, target);
  else if (button.dataset.fresh) place(fresh[button.dataset.fresh], target);
  else if (button.dataset.closer) fit(button);
  else if (button.matches(".reset")) change({ content: 0, style: 1, edits: { a: {}, b: {} } });
  else if (button.matches(".imagine")) {
    askNew({ seed: Math.floor(Math.random() * 2 ** 32) }, offer);
  }
});

for (const kind of ["dragover", "dragleave", "drop"]) {
  element.addEventListener(kind, (event) => {
    event.preventDefault();                // else the browser would leave the page for the file
    const slot = event.target.closest?.("[data-slot]");
    for (const other of all("[data-over]")) delete other.dataset.over;
    if (slot && kind === "dragover") slot.dataset.over = "";
    if (kind !== "drop") return;
    upload([...event.dataTransfer.files], slot?.dataset.slot ?? target);
  });
}

function adopt() {
  about = JSON.parse(props.value);
  const old = state ?? { a: "gallery:none", b: "gallery:none", contents: [], styles: [], content: 0, style: 1 };
  const moved = old.model !== about.model;   // codes are of one model, and so are edits
  const usable = (base) => !(moved && base.startsWith("code:"))
    && (!base.startsWith("gallery:") || Number(base.slice(8)) < about.count);
  const kept = (base, other) => (usable(base) ? (moved ? asRead(base) : base) : other);
  state = {
    model: about.model, names: about.names, content: old.content, style: old.style,
    a: kept(old.a, about.a), b: kept(old.b, about.b), edits: moved ? { a: {}, b: {} } : old.edits,
    contents: old.contents.filter(usable).map((base) => kept(base)),
    styles: old.styles.filter(usable).map((base) => kept(base)),
  };
  find(".samples").innerHTML = about.samples;
  find(".new").hidden = !about.imagines;
  find(".inside").hidden = !about.sided;
  find(".drawn").hidden = true;
  mark();
  refresh();
}

new IntersectionObserver(([entry]) => {
  seen = entry.isIntersecting;
  if (seen && waiting) refresh();
}).observe(element);

window.unravelSwap = Object.freeze({
  get state() { return structuredClone(state); },
  get counters() { return { ...counters }; },
  get exact() { return shown === wishes; },
  choose: (names) => change({ names }),
});
watch("value", adopt);
adopt();
