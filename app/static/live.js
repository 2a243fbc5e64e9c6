// The picture that follows the sliders; runs as `js_on_load` of LiveCanvas (app/live.py).
//
// While a slider moves nothing waits for the server: frames come from a film fetched before, the
// long strip of the factor in hand or, until that is there, its short film under the slider.
// Neighbouring frames are cross-faded. At rest one exact picture replaces the preview. Every film
// is filed under all that it depends on, so an outdated one cannot be shown. The files that stand before this
// one and share its scope are named in app/live.py.

const FILM = 9;      // frames under a slider
const REST = 140;    // milliseconds without input until the exact picture is asked for
const STRIPS = 32;   // strips kept, half a megabyte each
const PAGE = Math.random().toString(36).slice(2);
const OFFLINE = "The server does not answer; trying again.";

const pen = element.querySelector("canvas").getContext("2d");
const chip = line(".chip"), times = line(".times"), status = line(".status"), remark = line(".remark");
const original = element.querySelector(".original");   // a user's own picture, beside what became of it

let view;                       // from the server: model, base, factors
let values = [];                // where the sliders stand
let active = -1;                // the factor touched last
let films = new Map();          // key of a factor -> its short film {sheet, row, frames}
const strips = new Map();       // key of a factor -> its strip, oldest first
let shown = null;               // what is on the canvas, since when
let resting, following;         // timers
let quiet = false;              // sliders are being put where `values` says already
let scrubbing = false;          // the spot of the pad is in hand: Gradio, too slow for two, hears of it at the end
let stamp = 0;
let trouble = false;            // the line of status tells of a request that failed
const counters = { scrubbed: 0, frames: 0, exact: 0, strips: 0, films: 0, planes: 0, errors: 0 };

// ---------------------------------------------------------------------------
// State: edits are the sliders that do not stand where the picture has them.

const untouched = (i) => Math.abs(values[i] - view.factors[i].neutral) < view.factors[i].step / 2;

const edits = (except = -1) => Object.fromEntries(
  view.factors.flatMap((factor, i) => (i === except || untouched(i) ? [] : [[factor.name, values[i]]])));

const key = (i = -1) => JSON.stringify([view.model, view.base, i, edits(i)]);

const request = (i = -1) => ({
  model: view.model, base: view.base, edits: edits(i), factor: view.factors[i]?.name ?? "",
  page: PAGE, stamp: ++stamp,
});

// ---------------------------------------------------------------------------
// Requests: one in flight per lane; meanwhile only the newest wish is remembered.

function lane(call) {
  let next = null, running = false;
  async function run() {
    running = true;
    for (let failures = 0; next;) {
      const wish = next;
      const answer = await call(wish.request).catch(() => undefined);
      if (!answer) {                              // Gradio has logged why
        complain(OFFLINE);
        await new Promise((wake) => setTimeout(wake, Math.min(4000, 250 * 2 ** failures++)));
        continue;
      }
      failures = 0;
      if (next === wish) next = null;
      if (answer.error) {
        complain(answer.error);
        wish.refused?.();
      } else if (!answer.stale) {
        if (trouble) say("");
        await wish.receive(answer);
      }
    }
    running = false;
  }
  return (name, request, receive, refused) => {
    if (next?.name === name) return;
    next = { name, request, receive, refused };
    if (!running) run();
  };
}

const askFrame = lane(server.frame), askStrip = lane(server.strip), askFilms = lane(server.films);
const askLeaks = lane(server.leaks), askPlane = lane(server.plane);
const askMix = lane(server.mix), askFields = lane(server.fields);

function fetchFrame(since) {
  const name = key(), from = view, i = active, value = values[i];
  askFrame(name, request(), async (answer) => {
    const picture = await bitmap(answer);
    const exact = name === key();
    if (!exact && (view !== from || reel(active) || planeNow())) return;  // overtaken by another view or by a film
    pen.drawImage(picture, 0, 0);
    counters[exact ? "exact" : "frames"] += 1;
    report(exact ? "exact" : "frame", i, value, since, answer.ms);
    if (exact) fetchLeaks();
  });
}

function fetchStrip(i) {
  const name = key(i);
  if (document.hidden || strips.has(name)) return;
  askStrip(name, request(i), async (answer) => {
    strips.set(name, { sheet: await bitmap(answer), row: 0, frames: answer.frames, ms: answer.ms });
    counters.strips += 1;
    if (strips.size > STRIPS) {
      const [oldest, { sheet }] = strips.entries().next().value;
      strips.delete(oldest);
      sheet.close();
    }
    if (i === active && shown.kind !== "exact") scrub(i);
  });
}

function fetchFilms() {
  if (document.hidden) return;
  const names = view.factors.map((_, i) => key(i));
  askFilms(key(), request(), async (answer) => {
    const sheet = await bitmap(answer);
    const [old] = films.values();
    films = new Map(names.map((name, row) => [name, { sheet, row, frames: answer.frames, ms: answer.ms }]));
    old?.sheet.close();
    counters.films += 1;
    view.factors.forEach((_, i) => projectFilm(i));
  });
}

// ---------------------------------------------------------------------------
// Drawing.

const reel = (i) => i < 0 ? undefined : strips.get(key(i)) ?? films.get(key(i));

function scrub(i, since = performance.now()) {    // false if there is no film for the present sliders
  const film = reel(i);
  if (!film) return false;
  const { low, high } = view.factors[i];
  crossFade(pen, film, (values[i] - low) / (high - low));
  counters.scrubbed += 1;
  report("preview", i, values[i], since, film.ms);
  return true;
}

function report(kind, i, value, since, ms) {
  const at = performance.now();
  shown = { kind, factor: view.factors[i]?.name ?? "", value, at, way: Number(kind !== "preview") };
  tag(kind);
  times.data = value === undefined ? "" : `drawn in ${(at - since).toFixed(1)} ms`
    + (ms ? ` · server ${(ms.waited + ms.computed + ms.encoded).toFixed(0)} ms` : "");
}

function tag(kind) {                              // whether what is shown is what the sliders say
  shown.kind = kind;
  element.dataset.kind = kind === "exact" ? "exact" : "preview";
  caption();
}

function caption() {                              // what is shown, and by which way where a model has two
  const way = view.ways[shown.way];
  chip.data = plain.hidden ? `${element.dataset.kind}${way ? ` · ${way}` : ""}` : UNEDITED;
}

function say(sentence) {
  status.data = sentence;
  trouble = false;
}

function complain(sentence) {
  say(sentence);
  trouble = true;
  counters.errors += 1;
}

// ---------------------------------------------------------------------------
// Sliders: Gradio's own, each dressed with its film and a button to reset it.

const block = (i) => document.getElementById(`factor-${i}`);
const range = (i) => block(i)?.querySelector("input[type=range]");
const indexOf = (target) => Number(target.closest?.("[id^=factor-]")?.id.slice(7) ?? -1);

function put(i, value, aloud = true) {            // as if the user had: Gradio's own value follows, if told aloud
  range(i).value = value;
  if (aloud) range(i).dispatchEvent(new Event("input", { bubbles: true }));
  else block(i).querySelector("input[type=number]").value = range(i).value;
}

function move(i, value, since) {
  const { minimum, maximum } = view.factors[i];
  active = i;
  values[i] = Math.min(maximum, Math.max(minimum, value));
  if (!scrub(i, since)) {
    fetchFrame(since);
    fetchStrip(i);
  }
  mark(i);
  markAll();
  rest();
  note(i);
}

// Several sliders at once, [[i, value], ...]; on their steps, or exactly.
function arrange(wanted, exactly = false, since = performance.now()) {
  quiet = true;
  for (const [i, value] of wanted) {
    const { minimum, maximum } = view.factors[i];
    put(i, value, !scrubbing);
    values[i] = exactly ? Math.min(maximum, Math.max(minimum, value)) : Number(range(i).value);
    mark(i);
  }
  quiet = false;
  if (!wanted.length) return;
  active = wanted.length === 1 ? wanted[0][0] : -1;
  if (!scrub(active, since) && !scrubPlane(since)) fetchFrame(since);
  markAll();
  rest();
}

function rest() {
  clearTimeout(resting);
  if (sentence.data) showLeaks();                 // they were another picture's
  if (shown?.kind === "exact") tag("preview");
  resting = setTimeout(() => {
    fetchFrame(performance.now());
    fetchFilms();
    fetchPlane();
    fetchFields();
  }, REST);
}

function follow() {                               // sliders that Gradio moved, once it has finished
  clearTimeout(following);
  following = setTimeout(() => {
    const moved = view.factors.flatMap((factor, i) => {
      const value = Number(range(i)?.value ?? values[i]);
      return Math.abs(value - values[i]) > factor.step / 2 ? [[i, value]] : [];
    });
    arrange(moved);
    if (moved.length) changed();
  }, 60);
}

function dress() {
  view.factors.forEach((_, i) => {
    if (!range(i) || block(i).querySelector(".film")) return;
    const film = document.createElement("canvas");
    Object.assign(film, { className: "film", width: FILM * SIDE, height: SIDE, ariaHidden: "true" });
    const grab = (event) => {                     // frame k's centre is where the thumb shows frame k
      const { low, high } = view.factors[i];
      const along = ((event.offsetX / film.clientWidth) * FILM - 0.5) / (FILM - 1);
      put(i, low + along * (high - low));
    };
    film.addEventListener("pointerdown", (event) => {
      film.setPointerCapture(event.pointerId);
      grab(event);
    });
    film.addEventListener("pointermove", (event) => event.buttons && grab(event));
    const carried = Object.assign(document.createElement("i"), { className: "carried", hidden: true });
    range(i).parentElement.after(film, carried);

    equip(i);
    layStops(i);
    projectFilm(i);
    mark(i);
  });
  markAll();
}

function projectFilm(i) {
  const film = films.get(key(i)), screen = block(i)?.querySelector(".film");
  if (!film || !screen) return;
  const row = [0, film.row * SIDE, film.frames * SIDE, SIDE];
  screen.getContext("2d").drawImage(film.sheet, ...row, 0, 0, screen.width, screen.height);
}

function blankFilm(i) {
  const screen = block(i)?.querySelector(".film");
  screen?.getContext("2d").clearRect(0, 0, screen.width, screen.height);
}

function mark(i) {
  const { low, high, neutral } = view.factors[i];
  if (!block(i)?.querySelector(".undo")) return;
  markDeck(i);
  block(i).style.setProperty("--own", (neutral - low) / (high - low));
}

function markAll() {
  const resetAll = document.getElementById("reset-all");
  if (resetAll) resetAll.disabled = view.factors.every((_, i) => untouched(i) || locked(i));
  markTools();
  markPad();
  markMix();
  markFields();
  for (const thumb of document.querySelectorAll("#gallery button")) {
    thumb.ariaPressed = String(view.base === `gallery:${thumb.dataset.index}`);
  }
}

// ---------------------------------------------------------------------------
// Events.

async function adopt() {                          // the server has turned the page to another view
  const next = JSON.parse(props.value);
  say(next.notice ?? "");
  if (!next.factors) return refused(next);
  clearTimeout(resting);
  clearTimeout(following);
  const before = view, was = shown && key();
  view = next;
  values = view.factors.map(({ name, minimum, maximum, neutral }) =>
    Math.min(maximum, Math.max(minimum, next.edits[name] ?? neutral)));
  active = -1;
  if (shown?.kind === "exact" && key() !== was) tag("preview");  // of this view nothing is drawn yet
  arrive(before);
  original.hidden = !view.original;
  if (view.original) original.src = `data:image/png;base64,${view.original}`;
  turnCloser();
  dress();
  view.factors.forEach((_, i) => {
    if (before?.model !== view.model) blankFilm(i);  // it is of a factor of the other model
    layStops(i);
    mark(i);
  });
  turnPad();
  turnMix(before);
  fetchFields();
  fetchFilms();
  if (!same(edits(), next.edits)) rest();         // an edit beyond its slider, say, was brought into its range
  const since = performance.now(), picture = await bitmap(next);
  if (view !== next || active >= 0) return;       // another view, or a slider moved already
  pen.drawImage(picture, 0, 0);
  report(same(edits(), next.edits) ? "exact" : "frame", -1, undefined, since);
  fetchLeaks();
}

document.addEventListener("input", (event) => {
  const i = quiet ? -1 : indexOf(event.target);
  if (!(i in view.factors) || event.target.value === "" || !event.target.matches("[type=range], [type=number]")) return;
  if (event.target.type === "range") snap(i, event.target);
  move(i, Number(event.target.value), event.timeStamp);
}, true);

for (const kind of ["pointerover", "pointerdown", "focusin"]) {
  document.addEventListener(kind, (event) => {
    const i = indexOf(event.target);
    if (i in view.factors) fetchStrip(i);
  }, true);
}

document.addEventListener("visibilitychange", () => fetchFilms());

window.unravel = Object.freeze({
  get view() { return structuredClone({ ...view, values, edits: edits() }); },
  get shown() { return { ...shown }; },
  get counters() { return { ...counters }; },
  get state() { return structuredClone(state()); },
  apply,
  go,
  follow,
  reset,
  randomise,
});

watch("value", adopt);
new MutationObserver(dress).observe(element.closest(".gradio-container"), { childList: true, subtree: true });
adopt();
openLink();
