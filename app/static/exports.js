// The panel "Save"; runs as `js_on_load` of Exports (app/exports.py). It sends the state of the page, as
// window.unravel has it, and hands what comes back to the browser as a download.

const PAGE = Math.random().toString(36).slice(2);
const REEL = "keyframes", MOST = 12;

const find = (name) => element.querySelector(name);
const panel = find("details"), path = find(".path"), program = find(".program");
let reel = stowed(REEL) ?? [];             // keyframes of all models: {state, picture}

const note = find(".reopened");
let noting;
const say = (sentence) => { find(".said").textContent = sentence; };
const own = () => reel.filter(({ state }) => state.model === window.unravel.state.model);

function size(select) {
  const [side, smooth] = select.value.split(" ");
  return { side: Number(side), smooth: Boolean(smooth) };
}

const wishes = {
  picture: () => size(find(".size")),
  sheet: () => ({ rows: find(".rows").valueAsNumber, columns: find(".columns").valueAsNumber }),
  film: () => ({ ...size(find(".film-size")), factor: path.value,
    keyframes: path.value === REEL ? own().map(({ state }) => state) : [] }),
  program: () => ({}),
};

function cut(frames) {                      // the film, from now on of these
  reel = frames;
  stow(REEL, reel);
  refresh();
}

function refresh() {                       // the factors of the model that is shown, and its keyframes
  const { factors } = window.unravel.view, { names } = window.unravel.state, chosen = path.value;
  path.replaceChildren(
    ...factors.map(({ name, label }) => new Option(`along ${names[name] ?? label}`, name)),
    new Option("through the keyframes", REEL),
  );
  if ([...path.options].some(({ value }) => value === chosen)) path.value = chosen;
  find(".rows").max = factors.length;
  find(".rows").value = Math.min(find(".rows").value, factors.length);
  find(".frames").replaceChildren(...own().map((frame, i) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", ariaLabel: `Take out keyframe ${i + 1}`, title: "Take out" });
    button.style.backgroundImage = `url(${frame.picture})`;
    button.addEventListener("click", () => {
      cut(reel.filter((other) => other !== frame));
      say(`Keyframe ${i + 1} is out; ${own().length} are left.`);
      find(".add").focus();
    });
    return button;
  }));
  find(".add").disabled = own().length >= MOST;
}

function add() {
  const { model, base, edits } = window.unravel.state;
  const picture = document.querySelector("#canvas canvas").toDataURL();
  cut([...reel, { state: { model, base, edits }, picture }]);
  if (own().length > 1) path.value = REEL;
  say(`Keyframe ${own().length} added.`);
}

const subject = ({ dataset }) => (dataset.save === "film" ? path.value : "");

async function save(button) {
  const { save: what, format } = button.dataset;
  const { model, base, edits, names } = window.unravel.state;
  program.hidden = true;
  button.disabled = true;
  say("Drawing …");
  const answer = await reached(server[what]({ model, base, edits, names, page: PAGE, format, ...wishes[what]() }));
  button.disabled = false;
  button.focus();
  if (answer.stale) return;
  if (answer.error) return say(answer.error);
  const bytes = Uint8Array.from(atob(answer.file), (c) => c.charCodeAt(0));
  if (what === "program") return copy(new TextDecoder().decode(bytes));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type: answer.mime }));
  link.download = answer.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`Saved ${answer.name}, ${Math.ceil(bytes.length / 1000).toLocaleString("en")} kB.`);
}

async function copy(text) {
  const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  program.value = text;
  program.hidden = false;
  say(copied ? "Copied; run it where Unravel is." : "Copy it from here; run it where Unravel is.");
  if (!copied) program.select();
}

panel.addEventListener("toggle", () => panel.open && refresh());
panel.addEventListener("focusin", ({ target }) => target === path && refresh());
panel.addEventListener("pointerdown", ({ target }) => target === path && refresh());
element.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.matches(".add")) add();
  else if (button?.dataset.save) {
    if (subject(button) === REEL && own().length < 2) say("Add two keyframes or more first.");
    else save(button);
  }
});

window.unravelSave = Object.freeze({
  reopen(state) {                          // what a saved file says of itself, when it is opened again
    window.unravel.go(JSON.parse(state));
    note.textContent = "Saved here before: the picture and its sliders are back.";
    clearTimeout(noting);
    noting = setTimeout(() => { note.textContent = ""; }, 8000);
  },
});
