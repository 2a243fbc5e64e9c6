// The leak meter: at rest, which factors moved along with the edited ones, as the model reads its own pictures
// (app/leak.py). Part of the script of LiveCanvas (app/live.py).

const FAINT = 0.05;             // share of a factor's range below which nothing is said
const FEW = 3;                  // factors named in the sentence
const sentence = line(".leak");
const percent = (share) => `${share < 0 ? "−" : "+"}${Math.round(100 * Math.abs(share))} %`;

function fetchLeaks() {
  if (view.factors.every((_, i) => untouched(i))) return showLeaks();
  const name = key();
  askLeaks(name, request(), (answer) => name === key() && showLeaks(answer));
}

function showLeaks(answer) {    // nothing takes the marks away
  const carried = view.factors.map(({ name }, i) => (answer && untouched(i) ? answer.read[name] : 0));
  view.factors.forEach((_, i) => markLeak(i, Math.abs(carried[i]) >= FAINT ? carried[i] : 0));
  sentence.data = answer ? told(carried, answer) : "";
}

function markLeak(i, share) {   // a bar from where the slider stands to where the model now reads the factor
  const strip = block(i)?.querySelector(".carried");
  if (!strip) return;
  const { low, high, neutral } = view.factors[i], at = (neutral - low) / (high - low);
  const [from, to] = [at, at + share].map((v) => Math.min(1, Math.max(0, v))).sort((a, b) => a - b);
  strip.hidden = !share;
  strip.style.setProperty("--from", from);
  strip.style.setProperty("--to", to);
  strip.dataset.said = share ? `carried along ${percent(share)}` : "";
  if (share) range(i).setAttribute("aria-description", `carried along by ${percent(share)} of its range`);
  else range(i).removeAttribute("aria-description");
}

function told(carried, { asked, read }) {
  const edited = view.factors.flatMap((_, i) => (untouched(i) ? [] : [i]));
  if (edited.length === view.factors.length) return "";
  const most = carried.map((share, i) => [share, i]).filter(([share]) => Math.abs(share) >= FAINT)
    .sort(([a], [b]) => Math.abs(b) - Math.abs(a)).slice(0, FEW).map(([share, i]) => `${title(i)} (${percent(share)})`);
  const one = edited.length === 1 ? edited[0] : -1;
  const [wanted, found] = one < 0 ? [0, 0] : [asked, read].map((shares) => shares[view.factors[one].name]);
  const subject = one < 0 ? "These edits carry" : `${title(one)} carries`;
  const blind = Math.abs(wanted) >= FAINT && Math.abs(found) < Math.abs(wanted) / 2
    ? ` The model reads only ${percent(found)} of the ${percent(wanted)} asked for, so it may miss what else moved.` : "";
  if (!most.length) return `No other factor moved by as much as ${100 * FAINT} % of its range.${blind}`;
  const last = most.pop();
  return `${subject} along ${most.length ? `${most.join(", ")} and ${last}` : last}.${blind}`;
}
