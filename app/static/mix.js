// Latent arithmetic: some samples minus others, as one more slider (app/mix.py). It moves the factors' own sliders, so
// that undo, locks and links know of it. Part of the script of LiveCanvas (app/live.py).

const SIGNS = ["", "plus", "minus"];
const SPOKEN = { "": "not chosen", plus: "added", minus: "taken away" };
const WHOLE = 0.95;                      // share of the difference that may pass for all of it
const POOR = 0.5, UNSTEADY = 0.3;        // shares of the way below, and above, which a warning is due
let mixOpen = false;
let signs = new Map();                   // number of a sample -> "plus" or "minus"
let mixed = null;                        // what the server says of the present choice
let mixing = false;
let mixFrom = null, mixTo = null;        // the sliders before the difference, and as it left them

const card = () => document.getElementById("mix");
const amount = () => card().querySelector("input");
const verdict = (text) => { card().querySelector(".verdict").textContent = text; };
const numbersOf = (sign) => [...signs].filter(([, own]) => own === sign).map(([number]) => `gallery:${number}`);

function toggleMix() {
  mixOpen = !mixOpen;
  tool("mix").ariaExpanded = String(mixOpen);
  card().toggleAttribute("data-open", mixOpen);
  if (!mixOpen) return;
  layOutMix();
  card().scrollIntoView({ block: "nearest" });
}

function turnMix(before) {               // another view
  mixFrom = mixTo = null;
  if (before?.model !== view.model) {
    signs = new Map();
    mixed = null;
  }
  if (mixOpen) layOutMix();
}

function layOutMix() {
  const from = document.querySelector("#gallery [role=group]"), to = card().querySelector(".samples");
  if (!from) return;
  to.style.cssText = from.style.cssText;
  to.replaceChildren(...[...from.querySelectorAll("button")].map((thumb) => {
    const copy = thumb.cloneNode();
    for (const name of ["aria-pressed", "tabindex"]) copy.removeAttribute(name);
    copy.addEventListener("click", () => choose(copy));
    return copy;
  }));
  to.querySelectorAll("button").forEach(markSample);
  if (!amount().dataset.live) amount().addEventListener("input", (event) => addDifference(event.timeStamp));
  amount().dataset.live = "";
  markMix();
}

function markSample(thumb) {
  const sign = signs.get(thumb.dataset.index) ?? "";
  thumb.dataset.sign = sign;
  thumb.ariaLabel = `Sample ${Number(thumb.dataset.index) + 1}, ${SPOKEN[sign]}`;
}

function choose(thumb) {
  const { index, sign } = thumb.dataset, next = SIGNS[(SIGNS.indexOf(sign) + 1) % SIGNS.length];
  if (next) signs.set(index, next);
  else signs.delete(index);
  markSample(thumb);
  mixed = mixFrom = mixTo = null;
  markMix();
  const plus = numbersOf("plus"), minus = numbersOf("minus");
  if (!plus.length || !minus.length) return verdict("");
  const name = JSON.stringify([view.model, plus, minus]);
  verdict("Measuring …");
  askMix(name, { ...request(), plus, minus }, (answer) => {
    if (name !== JSON.stringify([view.model, numbersOf("plus"), numbersOf("minus")])) return;
    mixed = answer;
    verdict(honest(answer));
    markMix();
  }, () => verdict(""));
}

function honest({ steps, covered, mean, spread, aside, count }) {
  const most = view.factors.map(({ name, low, high }, i) => [steps[name] / (high - low), i])
    .filter(([share]) => Math.abs(share) >= FAINT).sort(([a], [b]) => Math.abs(b) - Math.abs(a)).slice(0, FEW)
    .map(([share, i]) => `${title(i)} ${percent(share)}`);
  const share = (value) => `${Math.round(100 * value)} %`;
  const trust = mean < POOR || spread > UNSTEADY || aside > UNSTEADY ? " Do not expect it to do the same everywhere." : "";
  return `${most.length ? `Mostly ${most.join(", ")} of their ranges. ` : ""}Added to ${count} pictures, it moves them `
    + `by ${share(mean)} ± ${share(spread)} of the way and by ${share(aside)} aside, as the model reads them.`
    + `${covered < WHOLE ? ` The sliders say ${share(covered)} of the difference.` : ""}${trust}`;
}

function addDifference(since) {
  mixFrom ??= [...values];
  mixing = true;
  const part = Number(amount().value);
  arrange(view.factors.flatMap(({ name, minimum, maximum }, i) => {
    const value = Math.min(maximum, Math.max(minimum, mixFrom[i] + part * mixed.steps[name]));
    return locked(i) ? [] : [[i, part ? value : mixFrom[i]]];
  }), false, since);
  mixTo = [...values];
  mixing = false;
  note("mix");
  markMix();
}

function markMix() {                     // sliders that something else moved are where the next difference begins
  if (!mixOpen || mixing) return;
  if (mixTo?.some((value, i) => value !== values[i])) mixFrom = mixTo = null;
  if (!mixTo) amount().value = 0;
  amount().disabled = !mixed;
  const output = card().querySelector("output"), told = `${Math.round(100 * amount().value)} %`;
  if (output.textContent !== told) output.textContent = told;      // else `dress` would be called for ever
}

work.mix = toggleMix;
