// Places where the data of a factor gathers: ticks on its slider, to which a drag snaps. Part of the script of
// LiveCanvas (app/live.py).

const NEAR = 0.015;              // share of the range within which a drag snaps
let free = false;                // Alt is held: no snapping

for (const kind of ["pointerdown", "pointermove", "keydown", "keyup"]) {
  document.addEventListener(kind, ({ altKey }) => { free = altKey; }, true);
}

function snap(i, input) {        // before Gradio hears of the value; both ends can be reached, arrow keys go on by steps
  const { low, high, stops } = view.factors[i], value = Number(input.value);
  if (free || !held || value === Number(input.min) || value === Number(input.max)) return;
  const stop = stops.find((place) => Math.abs(value - place) <= NEAR * (high - low));
  if (stop !== undefined) input.value = stop;
}

function layStops(i) {           // of the present model
  const { low, high, stops } = view.factors[i], film = block(i)?.querySelector(".film");
  if (!film) return;
  block(i).querySelector(".stops")?.remove();
  range(i).removeAttribute("title");
  if (!stops.length) return;
  const row = Object.assign(document.createElement("i"), { className: "stops", ariaHidden: "true" });
  row.append(...stops.map((stop) => {
    const tick = document.createElement("i");
    tick.style.setProperty("--at", (stop - low) / (high - low));
    return tick;
  }));
  film.after(row);
  range(i).title = `Pictures gather at ${stops.join(", ")}. A drag snaps to these places, unless Alt is held.`;
}
