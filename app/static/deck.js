// What is done with the sliders as a whole: undo, locks, randomise, a look at the unedited picture, links.
// Part of the script of LiveCanvas (app/live.py).

const PAUSE = 700;              // milliseconds that end a run of arrow keys
const TOLD = 4000;              // milliseconds that a remark stays
const SEEDS = 10_000;
const UNEDITED = "unedited";
const LOCK = `<svg viewBox="0 0 24 24" aria-hidden="true"><rect x="5" y="11" width="14" height="9" rx="2"/>
  <path class="open" d="M8 11V7.5a4 4 0 0 1 7.6-1.8"/><path class="shut" d="M8 11V7.5a4 4 0 0 1 8 0V11"/></svg>`;

let timeline;                   // history.js
let going = null;               // a state that the server is asked for: {token, timeline, state, back}
let locks = new Set();          // names of factors
let held = 0, gestures = 0;     // the gesture of the pointer that is down
let settling, addressing, telling;

const line = (name) => {        // the text of a line, to be set
  const text = document.createTextNode("");
  element.querySelector(name).replaceChildren(text);
  return text;
};
const tool = (name) => element.querySelector(`[data-do="${name}"]`);
const plain = element.querySelector(".plain");          // the picture without edits, laid over the canvas
const locked = (i) => locks.has(view.factors[i].name);

const state = () => ({
  model: view.model, base: view.base, edits: edits(),
  locks: view.factors.map(({ name }) => name).filter((name) => locks.has(name)),
  names: Object.fromEntries(view.factors.flatMap(({ name }) => (names[name] ? [[name, names[name]]] : []))),
});

function tell(sentence) {       // a remark, for a while
  remark.data = sentence;
  clearTimeout(telling);
  telling = setTimeout(() => { remark.data = ""; }, TOLD);
}

// ---------------------------------------------------------------------------
// History.

function changed(gesture = "") {
  timeline = record(timeline, state(), gesture);
  markTools();
  addressSoon();
}

function note(i) {              // a slider moved, or the spot of the pad
  changed(held ? `held ${held}` : `moved ${i}`);
  clearTimeout(settling);
  if (!held) settling = setTimeout(() => { timeline = settle(timeline); }, PAUSE);
}

function arrive(before) {       // the server has turned the page
  const own = going && view.token === going.token ? going : null;
  if (own) {
    going = null;
    locks = new Set(own.state.locks);
    names = { ...own.state.names };
  } else if (before?.model !== view.model) {
    locks = new Set();
    names = remembered(view.model);
  }
  if (!timeline) timeline = begin(state());
  else if (own) timeline = { ...own.timeline, present: state() };
  else if (!going || !view.token) timeline = record(settle(timeline), state());
  plain.src = `data:image/png;base64,${view.plain ?? view.image}`;
  addressSoon();
}

function refused({ token }) {
  if (!going || going.token !== token) return;
  if (going.back) timeline = forget(timeline, going.state);
  going = null;
  markTools();
  addressSoon();
}

function ask(wanted, then, back = false) {
  going = { token: `${PAGE} ${++stamp}`, timeline: then, state: wanted, back };
  const { model, base, edits: set } = wanted;
  trigger("select", { state: { model, base, edits: set }, token: going.token });
}

function travel(step) {
  const to = step(going?.timeline ?? settle(timeline));
  if (!to) return;
  const { model, base } = to.present;
  if (going || model !== view.model || base !== view.base) return ask(to.present, to, true);
  timeline = to;
  restore(to.present);
  tell(step === undo ? "Undone." : "Done again.");
}

function restore({ edits: wanted, locks: shut, names: given }) {   // of the present picture
  const before = names;
  locks = new Set(shut);
  names = { ...given };
  remember(before);
  arrange(view.factors.flatMap(({ name, neutral }, i) => {
    const value = wanted[name] ?? neutral;
    return value === values[i] ? [] : [[i, value]];
  }), true);
  view.factors.forEach((_, i) => mark(i));
  markAll();
  addressSoon();
}

function apply({ edits: wanted = {}, locks: shut = [], names: given = {} }) {
  restore({ edits: wanted, locks: shut, names: given });
  changed();
}

function go(wanted) {           // to any state, by way of the server
  const whole = { edits: {}, locks: [], ...wanted, names: { ...remembered(wanted.model), ...wanted.names } };
  ask(whole, record(settle(timeline), whole));
}

// ---------------------------------------------------------------------------
// Tools.

function reset() {
  arrange(view.factors.flatMap(({ neutral }, i) => (untouched(i) || locked(i) ? [] : [[i, neutral]])));
  changed();
}

function dice(seed) {           // numbers in [0, 1), the same for the same seed (mulberry32)
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6D2B79F5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function randomise(seed = Math.floor(Math.random() * SEEDS)) {
  const draw = dice(seed);      // every factor draws, so that a lock changes no other factor's value
  arrange(view.factors.map(({ minimum, maximum }, i) => [i, minimum + draw() * (maximum - minimum)])
    .filter(([i]) => !locked(i)));
  changed();
  tell(`Randomised with seed ${seed}.`);
}

function toggleLock(i) {
  const { name } = view.factors[i];
  if (!locks.delete(name)) locks.add(name);
  mark(i);
  markAll();
  changed();
  tell(`${title(i)} is ${locks.has(name) ? "locked" : "free"}.`);
}

function compare(on) {          // the picture without edits, as long as something is held
  if (on && tool("compare").disabled) return;
  plain.hidden = !on;
  tool("compare").ariaPressed = String(on);
  caption();
}

// ---------------------------------------------------------------------------
// Links.

const link = () => toLink({ ...state(), base: view.link ?? view.base });

function addressSoon() {        // a page that was only opened keeps its address, be it without a link or on its way
  clearTimeout(addressing);
  addressing = setTimeout(() => {
    if (timeline.past.length || timeline.future.length || (location.hash && !going)) address();
  }, 250);
}

function address() {
  const told = link();
  window.history.replaceState(window.history.state, "", `#${told}`);
  stow("timeline", { link: told, ...recent(timeline) });
}

function earlier() {            // what could be undone and done again when this tab stood at its address
  const { link: told, past, future } = stowed("timeline") ?? {};
  return `#${told}` === location.hash ? { past, future } : {};
}

async function copyLink() {
  address();
  const far = view.link ? "" : " It works as long as this server remembers your picture: in this model its code is "
    + "too long for a link.";
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  tell((copied ? "Link copied." : "The link is in the address bar; copy it from there.") + far);
}

function openLink() {
  try {
    const wanted = fromLink(location.hash);
    if (!wanted) return;
    if (timeline.past.length) return go(wanted);
    const whole = { ...wanted, names: { ...remembered(wanted.model), ...wanted.names } };
    ask(whole, { ...begin(whole), ...earlier() });   // a page that opens by a link has nothing else to undo
  } catch (error) {
    say(error.message);
  }
}

// ---------------------------------------------------------------------------
// Buttons and keys.

function equip(i) {             // a slider with its buttons
  const made = (className, text, title, work) => {
    const button = document.createElement("button");
    Object.assign(button, { className, type: "button", innerHTML: text, title });
    button.addEventListener("click", work);
    return button;
  };
  block(i).querySelector("input[type=number]").after(
    made("undo", "↺", "Reset this factor", () => put(i, view.factors[i].neutral)),
    made("lock", LOCK, "Lock: Randomise and Reset leave this factor as it is", () => toggleLock(i)),
  );
  equipName(i);
}

function markDeck(i) {
  const [undo, lock] = [".undo", ".lock"].map((name) => block(i).querySelector(name));
  undo.disabled = untouched(i) || locked(i);
  undo.ariaLabel = `Reset ${title(i)}`;
  lock.ariaPressed = String(locked(i));
  lock.ariaLabel = `Lock ${title(i)}`;
  block(i).toggleAttribute("data-locked", locked(i));
  projectName(i);
}

function markTools() {
  const now = going?.timeline ?? timeline;
  tool("undo").disabled = !now.past.length;
  tool("redo").disabled = !now.future.length;
  tool("randomise").disabled = view.factors.every((_, i) => locked(i));
  tool("compare").disabled = view.factors.every((_, i) => untouched(i));
  tool("mix").disabled = !document.querySelector("#gallery button");
  if (tool("compare").disabled && !plain.hidden) compare(false);
}

const work = { undo: () => travel(undo), redo: () => travel(redo), randomise: () => randomise(), link: copyLink };

element.addEventListener("click", (event) => work[event.target.closest("[data-do]")?.dataset.do]?.());

const writes = (target) => target.matches?.(
  "textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio])");

document.addEventListener("keydown", (event) => {
  if (!element.checkVisibility() || writes(event.target)) return;
  const { key, ctrlKey, metaKey, shiftKey, altKey, repeat } = event;
  if ((ctrlKey || metaKey) && !altKey) {
    const step = { z: shiftKey ? redo : undo, y: shiftKey ? null : redo }[key.toLowerCase()];
    if (!step) return;
    event.preventDefault();
    travel(step);
  } else if (key.toLowerCase() === "b" && !altKey && !repeat && event.target.closest("#explore")) compare(true);
});
document.addEventListener("keyup", ({ key }) => key.toLowerCase() === "b" && !plain.hidden && compare(false));

tool("compare").addEventListener("pointerdown", () => compare(true));
tool("compare").addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && compare(true));
tool("compare").addEventListener("contextmenu", (event) => event.preventDefault());   // a long press on a phone
for (const kind of ["pointerup", "pointercancel", "pointerleave", "keyup", "blur"]) {
  tool("compare").addEventListener(kind, () => plain.hidden || compare(false));
}

document.addEventListener("pointerdown", ({ target }) => {
  if (indexOf(target) in view.factors || target.closest?.("#pad, #mix")) held = ++gestures;
}, true);
for (const kind of ["pointerup", "pointercancel"]) {
  window.addEventListener(kind, () => {
    if (held) timeline = settle(timeline);
    held = 0;
  });
}

window.addEventListener("hashchange", openLink);
