// The state of a page as the part of its address after #, and back: pure functions. What a link says is checked for
// its form here and for its meaning by the server. Part of the script of LiveCanvas (app/live.py).

const LONGEST_LINK = 2000;    // bytes after #
const LONGEST_NAME = 40;      // characters of a factor's name
const DAMAGED = "This link is damaged";

function toLink({ model, base, edits, locks, names }) {
  const parts = [["m", model], ["b", base], ...Object.entries(edits).map(([factor, value]) => [`e.${factor}`, value])];
  const locked = locks.map((factor) => ["l", factor]);
  const named = Object.entries(names).map(([factor, text]) => [`n.${factor}`, text]);
  const spell = (all) => new URLSearchParams(all).toString().replaceAll("%3A", ":");
  const whole = spell([...parts, ...locked, ...named]);      // a link that grows too long leaves the names out
  return whole.length <= LONGEST_LINK ? whole : spell([...parts, ...locked]);
}

function fromLink(text) {     // null for no link; throws an Error with a sentence for one that is none of ours
  const said = text.replace(/^#/, "");
  if (!said) return null;
  if (said.length > 2 * LONGEST_LINK) throw new Error(`${DAMAGED}: it is longer than any that this page makes.`);
  const state = { model: "", base: "", edits: {}, locks: [], names: {} };
  for (const [key, value] of new URLSearchParams(said)) {
    const factor = key.slice(2);
    if (key === "m") state.model = value;
    else if (key === "b") state.base = value;
    else if (key === "l") state.locks.push(value);
    else if (key.startsWith("n.")) state.names[factor] = value.slice(0, LONGEST_NAME);
    else if (key.startsWith("e.")) {
      if (!value.trim() || !Number.isFinite(Number(value))) throw new Error(`${DAMAGED}: an edit in it is no number.`);
      state.edits[factor] = Number(value);
    } else throw new Error(`${DAMAGED}: it holds something that is not part of a page.`);
  }
  if (!state.model || !state.base) throw new Error(`${DAMAGED}: it names no model or no picture.`);
  return state;
}
