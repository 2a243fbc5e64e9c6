// The history of a page as plain data, in pure functions: {past, present, future, gesture}.
//
// A state is {model, base, edits: {factor: value}, locks: [factor], names: {factor: text}}. What belongs to one
// gesture (a drag, a run of arrow keys) is one step. Part of the script of LiveCanvas (app/live.py).

const STEPS = 5000;      // kept at most; a state is some hundred bytes
const RECENT = 500;      // of them, each way, outlive the page; they are written down at every rest

const begin = (state) => ({ past: [], present: state, future: [], gesture: "" });

const canonical = (value) => JSON.stringify(value, (_, part) => part && part.constructor === Object
  ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part);

const same = (a, b) => canonical(a) === canonical(b);

function record(timeline, state, gesture = "") {  // the next state; one of the same gesture takes the present's place
  const { past, present } = timeline;
  if (same(state, present)) return timeline;
  if (!gesture || gesture !== timeline.gesture) {
    return { past: [...past, present].slice(-STEPS), present: state, future: [], gesture };
  }
  if (same(state, past.at(-1))) return { past: past.slice(0, -1), present: state, future: [], gesture: "" };
  return { ...timeline, present: state };
}

const settle = (timeline) => (timeline.gesture ? { ...timeline, gesture: "" } : timeline);   // the gesture has ended

function undo({ past, present, future }) {
  if (!past.length) return null;
  return { past: past.slice(0, -1), present: past.at(-1), future: [present, ...future], gesture: "" };
}

function redo({ past, present, future }) {
  if (!future.length) return null;
  return { past: [...past, present], present: future[0], future: future.slice(1), gesture: "" };
}

const recent = ({ past, future }) => ({ past: past.slice(-RECENT), future: future.slice(0, RECENT) });

function forget(timeline, { model, base }) {      // all steps that show a picture which is no longer to be had
  const kept = (state) => state.model !== model || state.base !== base;
  return { ...timeline, past: timeline.past.filter(kept), future: timeline.future.filter(kept) };
}
