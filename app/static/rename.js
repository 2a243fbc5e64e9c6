// Factors called as the user likes: a pencil, F2 or a double click on the name. Kept by model in this browser and in
// the state of the page. Part of the script of LiveCanvas (app/live.py).

const PENCIL = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 20l1-5L16 4l4 4L9 19z"/></svg>`;

let names = {};                 // factor -> text
const shelf = (model) => `unravel:names:${model}`;
const title = (i) => names[view.factors[i].name] ?? view.factors[i].label;

function remembered(model) {    // nothing where the browser keeps nothing
  try {
    const kept = Object.entries(JSON.parse(localStorage.getItem(shelf(model)) ?? "{}"));
    return Object.fromEntries(kept.filter(([, text]) => typeof text === "string" && text.length <= LONGEST_NAME));
  } catch {
    return {};
  }
}

function remember(before) {     // only what is named anew: another tab may have named others meanwhile
  const kept = remembered(view.model);
  for (const factor of Object.keys({ ...before, ...names })) {
    if (names[factor] === before[factor]) continue;
    if (factor in names) kept[factor] = names[factor];
    else delete kept[factor];
  }
  try {
    if (Object.keys(kept).length) localStorage.setItem(shelf(view.model), JSON.stringify(kept));
    else localStorage.removeItem(shelf(view.model));
  } catch { /* a browser that keeps nothing: the names last as long as the page */ }
}

const label = (i) => block(i)?.querySelector(".head [data-testid=block-info]");

function projectName(i) {       // Gradio's own text is written over; it writes a new one when the model changes
  const [text] = label(i).childNodes, said = title(i);
  if (text.data !== said) text.data = said;
  range(i).ariaLabel = `range slider for ${said}`;
  block(i).querySelector("input[type=number]").ariaLabel = `number input for ${said}`;
  block(i).querySelector(".rename").ariaLabel = `Rename ${said}`;
}

function equipName(i) {
  const pencil = document.createElement("button");
  Object.assign(pencil, { className: "rename", type: "button", innerHTML: PENCIL, title: "Rename (F2)" });
  pencil.addEventListener("click", () => startNaming(i));
  block(i).querySelector(".head label").after(pencil);
  label(i).addEventListener("dblclick", () => startNaming(i));
  new MutationObserver(() => i in view.factors && projectName(i))
    .observe(label(i), { characterData: true, childList: true, subtree: true });
}

function startNaming(i) {
  if (block(i).querySelector(".naming")) return;
  const box = document.createElement("input"), from = document.activeElement;
  Object.assign(box, { className: "naming", type: "text", maxLength: LONGEST_NAME, value: title(i) });
  box.ariaLabel = `Name of factor ${view.factors[i].name}; Enter keeps it, Escape gives up`;
  let ended = false;
  const end = (keep) => {
    if (ended) return;
    ended = true;             // taking the box out blurs it
    const focused = document.activeElement === box, text = box.value.trim();
    box.remove();
    delete block(i).dataset.naming;
    if (focused) (block(i).contains(from) ? from : range(i)).focus();
    if (keep) setName(i, text);
  };
  box.addEventListener("keydown", (event) => {
    if (!["Enter", "Escape"].includes(event.key)) return;
    event.preventDefault();   // else Enter would press the pencil that has the focus again
    end(event.key === "Enter");
  });
  box.addEventListener("blur", () => end(true));
  block(i).dataset.naming = "";
  block(i).querySelector(".head label").after(box);
  box.select();
}

function setName(i, text) {     // nothing, or the name it had, gives the factor its own name back
  const { name, label: own } = view.factors[i];
  if (text === title(i)) return;
  const before = names, { [name]: _, ...others } = before;
  names = text && text !== own ? { ...others, [name]: text } : others;
  remember(before);
  mark(i);
  changed();
  tell(`${name} is now called ${title(i)}.`);
}

document.addEventListener("keydown", (event) => {
  const i = indexOf(event.target);
  if (event.key !== "F2" || !(i in view.factors)) return;
  event.preventDefault();
  startNaming(i);
});
