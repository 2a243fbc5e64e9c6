// The row of sample images: a click chooses one, arrow keys walk along it, one Tab stop for all.
// Runs as `js_on_load` of the gr.HTML that holds the row (app/explore.py).

element.addEventListener("click", (event) => {
  const thumb = event.target.closest("button");
  if (thumb) trigger("select", { index: Number(thumb.dataset.index) });
});

element.addEventListener("keydown", (event) => {
  const thumb = event.target.closest("button");
  const next = { ArrowRight: thumb?.nextElementSibling, ArrowLeft: thumb?.previousElementSibling }[event.key];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

element.addEventListener("focusin", (event) => {
  for (const thumb of element.querySelectorAll("button")) thumb.tabIndex = thumb === event.target ? 0 : -1;
});
