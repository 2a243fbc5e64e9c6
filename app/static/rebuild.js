// The task "Rebuild this image"; runs as `js_on_load` of the stage in app/rebuild.py.
//
// While a slider moves, the picture is cross-faded from the film of that slider. When it rests, the server draws the
// exact picture and says how near it is. All that a player does is kept here, as rows that can be downloaded.

const FILM = 9;                         // frames of a film
const REST = 200;                       // milliseconds without input until a slider rests
const PAGE = Math.random().toString(36).slice(2);

const find = (name) => element.querySelector(name);
const start = find(".start"), reset = find(".reset"), skip = find(".skip"), table = find(".table"), dials = find(".dials");
const target = find("canvas.target").getContext("2d"), yours = find("canvas.yours").getContext("2d");

let opening;                            // from the server: model, title, rounds, won
let round = null;                       // what is being played: the server's deal and what was done since
let films = null;                       // {sheet, of}: short films of all sliders for the edits `of`
let seed = 0, resting, asking = 0;
const rounds = stowed("rounds") ?? [];   // that are over
const counters = { looks: 0, films: 0 };

const percent = (share) => `${Math.round(100 * share)} %`.replace("-", "−");
const seconds = () => (performance.now() - round.since) / 1000;
const say = (words) => { find(".status").textContent = words; };

function edits(except = -1) {
  return Object.fromEntries(round.factors.flatMap(({ name, neutral, step }, i) =>
    i === except || Math.abs(round.values[i] - neutral) < step / 2 ? [] : [[name, round.values[i]]]));
}

const request = () => ({ model: opening.model, seed, round: round.number, edits: edits() });

// ---------------------------------------------------------------------------
// A round.

async function deal(number) {
  const from = opening;
  start.disabled = true;
  const answer = await server.deal({ model: from.model, seed, round: number }).catch(() => undefined);
  const [there, here] = answer?.image ? await Promise.all([bitmap({ image: answer.target }), bitmap(answer)]) : [];
  if (opening !== from) return;         // another model since
  start.disabled = false;
  if (!answer || answer.error) return say(answer?.error ?? "The server does not answer; please try again.");
  round = {
    ...answer, number, values: answer.factors.map(({ neutral }) => neutral), since: performance.now(), log: [], moves: 0,
    last: -1, picture: 0, near: 0, model: opening.model, title: opening.title,
  };
  films = null;
  target.drawImage(there, 0, 0);
  yours.drawImage(here, 0, 0);
  table.hidden = reset.hidden = skip.hidden = false;
  start.hidden = true;
  dress();
  show();
  say(`Round ${number + 1} of ${opening.rounds.length}: ${answer.changed === 1 ? "one factor differs" : `${answer.changed} factors differ`}.`);
  dials.querySelector("input").focus({ preventScroll: true });
  fetchFilms();
}

function finish(won) {
  clearTimeout(resting);
  rounds.push({
    model: round.model, title: round.title, seed, round: round.number + 1, changed: round.changed, moves: round.moves,
    seconds: Number(seconds().toFixed(1)), picture: round.picture, factors: round.near, reached: won, log: round.log,
  });
  stow("rounds", rounds);
  const done = `Round ${round.number + 1} ${won ? "done" : "given up"}: ${round.moves} ${round.moves === 1 ? "move" : "moves"}, ${seconds().toFixed(0)} s.`;
  const more = round.number + 1 < opening.rounds.length;
  start.textContent = more ? `Round ${round.number + 2}` : "Play again";
  start.hidden = false;
  reset.hidden = skip.hidden = true;
  dials.querySelectorAll("input").forEach((input) => { input.disabled = true; });
  const next = more ? round.number + 1 : 0;
  round = { ...round, over: true, next };
  summary();
  say(more ? done : `${done} All rounds are played; the summary is below.`);
  start.focus();
}

function summary() {
  find(".summary").hidden = false;
  find("tbody").replaceChildren(...rounds.map((played) => {
    const row = document.createElement("tr");
    row.append(...[played.title, played.changed, played.moves, played.seconds, percent(played.picture),
      percent(played.factors), played.reached ? "yes" : "no"].map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
  find(".models").replaceChildren(...[...new Set(rounds.map(({ title }) => title))].map((title) => {
    const all = rounds.filter((played) => played.title === title), won = all.filter(({ reached }) => reached);
    const sum = (name) => won.reduce((total, played) => total + played[name], 0);
    const item = document.createElement("li");
    item.textContent = `${title}: ${won.length} of ${all.length} reached`
      + (won.length ? `, ${(sum("moves") / sum("changed")).toFixed(1)} moves and ${(sum("seconds") / sum("changed")).toFixed(0)} s for each changed factor (1 move is the least).` : ".");
    return item;
  }));
  const names = ["model", "seed", "round", "changed", "move", "factor", "label", "from", "to", "seconds", "picture", "factors"];
  const quoted = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const rows = rounds.flatMap(({ log, ...played }) => log.map((step) => names.map((name) => quoted(step[name] ?? played[name])).join(",")));
  link(".csv", [names.join(","), ...rows, ""].join("\n"), "text/csv");
  link(".json", JSON.stringify({ task: "Rebuild this image", rounds }, null, 1), "application/json");
}

function link(name, text, type) {
  const anchor = find(name);
  URL.revokeObjectURL(anchor.href);
  anchor.href = URL.createObjectURL(new Blob([text], { type }));
}

// ---------------------------------------------------------------------------
// Sliders.

function dress() {
  dials.replaceChildren(...round.factors.map(({ label, minimum, maximum, step, neutral }, i) => {
    const field = document.createElement("label");
    const name = document.createElement("span"), input = document.createElement("input"), film = document.createElement("canvas");
    name.textContent = label;
    Object.assign(input, { type: "range", min: minimum, max: maximum, step, value: neutral });
    Object.assign(film, { width: FILM * SIDE, height: SIDE, ariaHidden: "true" });
    const grab = (event) => {
      const { low, high } = round.factors[i];
      input.value = low + ((((event.offsetX / film.clientWidth) * FILM) - 0.5) / (FILM - 1)) * (high - low);
      moved(i, Number(input.value));
    };
    film.addEventListener("pointerdown", (event) => { if (!round.over) { film.setPointerCapture(event.pointerId); grab(event); } });
    film.addEventListener("pointermove", (event) => event.buttons && !round.over && grab(event));
    film.addEventListener("click", (event) => event.preventDefault());
    input.addEventListener("input", () => moved(i, Number(input.value)));
    field.append(name, input, film);
    return field;
  }));
}

function moved(i, value) {
  if (round.last !== i) {
    round.last = i;
    round.moves += 1;
    round.log.push({ move: round.moves, factor: round.factors[i].name, label: round.factors[i].label, from: round.values[i] });
  }
  round.values[i] = value;
  scrub(i);
  show();
  clearTimeout(resting);
  resting = setTimeout(rest, REST);
}

async function rest() {
  const now = round, wish = request(), number = ++asking;
  const answer = await server.look(wish).catch(() => undefined), picture = answer?.image && await bitmap(answer);
  if (number !== asking || round !== now || now.over) return;
  if (!answer || answer.error) return say(answer?.error ?? "The server does not answer; move a slider to try again.");
  yours.drawImage(picture, 0, 0);
  counters.looks += 1;
  Object.assign(now, { picture: answer.picture, near: answer.factors });
  const step = now.log.at(-1);
  if (step) Object.assign(step, { to: now.values[now.last] ?? "", seconds: Number(seconds().toFixed(2)), picture: answer.picture, factors: answer.factors });
  show();
  if (answer.won) return finish(true);
  say(`Picture ${percent(answer.picture)} there, sliders ${percent(answer.factors)}, ${now.moves} ${now.moves === 1 ? "move" : "moves"}.`);
  fetchFilms();
}

async function fetchFilms() {
  const of = JSON.stringify(edits()), now = round;
  const answer = await server.films({ model: opening.model, base: round.base, edits: edits(), factor: "", page: PAGE, stamp: 0 }).catch(() => undefined);
  const sheet = answer?.image && await bitmap(answer);
  if (!sheet || round !== now) return;
  films = { sheet, of };
  counters.films += 1;
  dials.querySelectorAll("canvas").forEach((film, row) =>
    film.getContext("2d").drawImage(films.sheet, 0, row * SIDE, FILM * SIDE, SIDE, 0, 0, film.width, film.height));
}

function scrub(i) {                     // if the films are of this slider's company
  const others = (text) => JSON.stringify({ ...JSON.parse(text), [round.factors[i].name]: 0 });
  if (!films || others(films.of) !== others(JSON.stringify(edits()))) return;
  const { low, high } = round.factors[i];
  crossFade(yours, { sheet: films.sheet, row: i, frames: FILM }, (round.values[i] - low) / (high - low));
}

function show() {
  for (const [name, share] of [["picture", round.picture], ["factors", round.near]]) {
    find(`meter.near-${name}`).value = Math.max(0, share);
    find(`span.near-${name}`).textContent = percent(share);
  }
  find(".round").textContent = `Round ${round.number + 1} of ${opening.rounds.length}`;
  find(".moves").textContent = `${round.moves} ${round.moves === 1 ? "move" : "moves"}`;
}

function tick() {
  if (!element.isConnected) return clearInterval(ticking);
  if (round && !round.over) find(".clock").textContent = `${Math.floor(seconds() / 60)}:${String(Math.floor(seconds() % 60)).padStart(2, "0")}`;
}

// ---------------------------------------------------------------------------

start.addEventListener("click", () => {
  if (!round || (round.over && round.next === 0)) seed = Math.floor(Math.random() * 2 ** 31);
  deal(round?.next ?? 0);
});
skip.addEventListener("click", () => finish(false));
reset.addEventListener("click", () => {
  round.factors.forEach(({ neutral }, i) => { round.values[i] = dials.querySelectorAll("input")[i].value = neutral; });
  round.last = -1;
  round.log.push({ move: round.moves, factor: "", label: "back to the start picture", from: "" });
  clearTimeout(resting);
  resting = setTimeout(rest, REST);
});

function adopt() {                      // another model: what is played ends, what was played stays
  opening = JSON.parse(props.value);
  round = null;
  clearTimeout(resting);
  start.disabled = false;
  table.hidden = reset.hidden = skip.hidden = true;
  start.hidden = false;
  start.textContent = "Start";
  find(".round").textContent = find(".clock").textContent = find(".moves").textContent = "";
  say("");
}

window.unravelRebuild = Object.freeze({
  get round() { return round && structuredClone({ ...round, seed }); },
  get rounds() { return structuredClone(rounds); },
  get counters() { return { ...counters }; },
});

const ticking = setInterval(tick, 250);
watch("value", adopt);
adopt();
if (rounds.length) summary();
