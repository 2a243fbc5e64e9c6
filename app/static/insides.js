// What is inside the content and the style of two pictures: sliders, and the samples closest in either. Part of the
// script of the stage (app/swap.py), which says what is shown, and hears of a slider that moves.

const INSIDE = { content: "Content", style: "Style" };
const shownInside = { a: "", b: "" };      // model and base that each section stands for

async function showInside(slot) {          // of the picture that is A or B now, when somebody looks
  const panel = find(".inside"), { model, [slot]: base } = state;
  const key = `${model} ${base}`;
  if (!panel.open || shownInside[slot] === key) return;
  shownInside[slot] = key;
  const answer = await reached(server.inside({ model, base }));
  if (shownInside[slot] !== key) return;
  const section = find(`[data-inside="${slot}"]`), name = slot.toUpperCase();
  if (answer.error) {
    shownInside[slot] = "";
    return say(answer.error, false);
  }
  section.replaceChildren(...Object.entries(INSIDE).map(([side, title]) => {
    const made = document.createElement("div"), head = document.createElement("h4");
    head.textContent = `${title} of ${name}`;
    made.append(head, ...answer.knobs[side].map((knob) => knobOf(slot, title, knob)));
    if (answer.near[side].length) made.append(...closest(side, name, answer.near[side]));
    return made;
  }));
  markInside();
}

function knobOf(slot, title, { name, label, note, minimum, maximum, step, neutral }) {
  const line = document.createElement("label"), words = document.createElement("span");
  const input = document.createElement("input");
  words.textContent = `${label} (${name})`;
  line.title = note;
  Object.assign(input, { type: "range", min: minimum, max: maximum, step, value: neutral });
  Object.assign(input.dataset, { knob: name, of: slot, neutral });
  input.ariaLabel = `${title} of ${slot.toUpperCase()}: ${label} (${name})`;
  line.append(words, input);
  return line;
}

function closest(side, name, numbers) {
  const words = document.createElement("p"), row = document.createElement("div");
  words.textContent = `Closest to ${name} in ${side}`;
  row.className = "near";
  row.role = "group";
  row.ariaLabel = words.textContent;
  row.style.cssText = find(".samples [role=group]").style.cssText;   // their pictures, from the same sheet
  row.append(...numbers.map((number) => {
    const thumb = document.createElement("button");
    Object.assign(thumb, { type: "button", ariaLabel: `Sample ${number + 1}` });
    thumb.dataset.index = number;
    thumb.style.setProperty("--index", number);
    return thumb;
  }));
  return [words, row];
}

function markInside() {                    // sliders stand where the state has them
  for (const input of all("[data-knob]")) {
    input.value = state.edits[input.dataset.of][input.dataset.knob] ?? input.dataset.neutral;
  }
}
