// What each field does to the picture in hand (app/fields.py), drawn while its panel is open and the sliders rest. Part
// of the script of LiveCanvas (app/live.py).

let fieldsKey = "";              // of the picture that the panel shows
const fieldsPanel = () => document.getElementById("fields");

function fetchFields() {
  const panel = fieldsPanel(), box = panel?.querySelector("details");
  if (!box) return;
  panel.toggleAttribute("data-on", view.divides);
  if (!box.dataset.live) box.addEventListener("toggle", fetchFields);
  box.dataset.live = "";
  const name = key();
  if (!view.divides || !box.open || document.hidden || fieldsKey === name) return;
  markFields();
  askFields(name, request(), async (answer) => {
    if (name === key()) showFields(name, answer, await bitmap(answer));
  }, () => sayFields(""));
}

function showFields(name, { names: factors, words }, sheet) {
  const tiles = fieldsPanel().querySelector(".tiles");
  const tile = (column, told, factor) => {
    const item = document.createElement("li"), head = document.createElement("b"), small = document.createElement("span");
    item.append(head, ...[0, 1].map((row) => {
      const screen = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE, role: "img" });
      screen.getContext("2d").drawImage(sheet, column * SIDE, row * SIDE, SIDE, SIDE, 0, 0, SIDE, SIDE);
      return screen;
    }), small);
    if (factor) item.dataset.factor = factor;
    item.dataset.words = told;
    small.textContent = [factor, told.split(";")[0]].filter(Boolean).join(" · ");
    return item;
  };
  tiles.replaceChildren(tile(0, "your picture", ""), ...factors.map((factor, k) => tile(k + 1, words[k], factor)));
  sheet.close();
  fieldsKey = name;
  markFields();
}

function markFields() {          // names that were changed, and whether the tiles are of the present picture
  const panel = fieldsPanel();
  if (!panel?.hasAttribute("data-on")) return;
  for (const item of panel.querySelectorAll("li")) {
    const { factor, words } = item.dataset, i = view.factors.findIndex(({ name }) => name === factor);
    const called = i < 0 ? "No field" : title(i), [alone, heat] = item.querySelectorAll("canvas");
    if (item.firstChild.textContent === called) continue;   // else `dress` would be called for ever
    item.firstChild.textContent = called;
    alone.ariaLabel = i < 0 ? "What the model draws without any field" : `What the field of ${called} draws alone`;
    heat.ariaLabel = i < 0 ? "Your picture" : `Where the field of ${called} changes the picture: ${words}`;
  }
  const old = fieldsKey !== key();
  panel.querySelector(".tiles").toggleAttribute("data-old", old);
  sayFields(old && panel.querySelector("details").open ? "Drawing …" : "");
}

function sayFields(text) {
  const state = fieldsPanel().querySelector(".state");
  if (state.textContent !== text) state.textContent = text;
}
