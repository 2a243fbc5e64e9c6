// The picture on the sliders, on the map; runs as `js_on_load` of Trail (app/trail.py).
//
// What the sliders show is followed, never kept twice: the state is window.unravel's, and a move here is a move of
// the slider itself. A path is asked for when anything but its own factor has changed.

const LEAP = 0.05;                      // as in points.js: a longer step along a path is a jump

const canvas = element.querySelector("canvas"), pen = canvas.getContext("2d");
const menu = element.querySelector("select"), range = element.querySelector("input");
const said = document.createTextNode("");
element.querySelector(".said").replaceChildren(said);

let trail;                              // from the server: names of the maps, keys of their clouds, model, dims, factors
let path = null, pathOf = "";           // the answer to the last request, and what it was asked for
let asking = false, drawn = 0, told = "";

const index = () => trail.factors.findIndex(({ name }) => name === menu.value);
const slider = (i) => document.querySelector(`#factor-${i} input[type=range]`);

function adopt() {
  const next = JSON.parse(props.value);
  if (!next.maps.length) { trail = undefined; element.dataset.empty = ""; return; }
  delete element.dataset.empty;
  const kept = trail?.model === next.model ? menu.value : next.factors[0]?.name;
  trail = next;
  menu.replaceChildren(...trail.factors.map(({ name, label }) => new Option(`${label} (${name})`, name)), new Option("no factor", ""));
  menu.value = kept ?? "";
  forget();
}

function forget() {
  path = null;
  pathOf = told = "";
}

async function ask(request, name) {
  asking = true;
  const answer = await server.trace(request).catch(() => undefined);
  asking = false;
  if (!answer) { setTimeout(forget, 1000); return; }    // Gradio has logged why
  if (name === pathOf) path = answer;   // one entry a map
}

function follow() {                     // one frame, as long as this can be seen
  if (element.isConnected) requestAnimationFrame(follow);
  const page = window.unravel;
  if (!trail || !page || !element.offsetParent) return;
  const { shown } = page;
  if (shown.at === drawn && told) return;
  const view = page.view, i = index(), { name = "", low, high, step } = trail.factors[i] ?? {};
  if (view.model !== trail.model) return;
  const { [name]: value, ...others } = view.edits;
  const wanted = JSON.stringify([trail.keys, view.base, name, others]);
  if (wanted !== pathOf && !asking) {
    pathOf = wanted;
    path = null;
    ask({ model: view.model, base: view.base, edits: others, factor: name, dims: trail.dims, maps: trail.maps }, wanted);
  }
  pen.drawImage(document.querySelector("#canvas canvas"), 0, 0);
  range.hidden = i < 0;
  if (i >= 0) {
    Object.assign(range, { min: view.factors[i].minimum, max: view.factors[i].maximum, step });
    range.value = view.values[i];
    range.ariaLabel = `${view.factors[i].label} from low to high`;
  }
  if (!path || wanted !== pathOf) return;
  drawn = shown.at;
  told = wanted;
  if (path.error) { said.data = path.error; return; }
  show(path.maps.map((map) => value === undefined ? [map.here, map.strange] : between(map, (value - low) / (high - low))));
}

function between(map, share) {          // what lies there on the path: a blend of two places, or one where it jumps
  const at = Math.min(1, Math.max(0, share)) * (map.path.length - 1);
  const left = Math.min(map.path.length - 2, Math.floor(at));
  const [a, b] = map.path.slice(left, left + 2), jump = Math.hypot(...a.map((v, d) => v - b[d])) > LEAP;
  const part = jump ? Math.round(at - left) : at - left;
  return [a.map((v, d) => v + (b[d] - v) * part), map.strangeness[left + Math.round(at - left)]];
}

function show(places) {                 // on each map [here, strange]
  places.forEach(([here], k) => window.dispatchEvent(
    new CustomEvent("unravel:trail", { detail: { key: trail.keys[k], path: path.maps[k].path, here } })));
  const words = places[0][1] > 1
    ? "No picture of the map is like this one: its ring lies by the nearest there are."
    : "The ring is this picture; the line is what the factor does, from ○ low to ● high.";
  if (said.data !== words) said.data = words;
}

menu.addEventListener("change", forget);
range.addEventListener("input", () => {
  const target = slider(index());
  if (!target) return;
  target.value = range.value;
  target.dispatchEvent(new Event("input", { bubbles: true }));
});
window.addEventListener("unravel:cloud", ({ detail: { key } }) => { if (trail?.keys.includes(key)) told = ""; });

watch("value", adopt);
adopt();
requestAnimationFrame(follow);
