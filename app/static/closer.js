// A user's own picture: whether the model knows anything like it, and a code that fits it more closely. Part of the
// script of LiveCanvas (app/live.py).

const closer = element.querySelector(".closer");

function turnCloser() {                  // the page shows another picture, or the same with another code
  element.querySelector(".warning").textContent = view.warning ?? "";
  Object.assign(closer, {
    hidden: !view.original, disabled: false, textContent: isFitted(view.base) ? FITTED : FIT,
  });
}

closer.addEventListener("click", async () => {
  const from = view, { model, base } = view;
  if (isFitted(base)) return go({ ...state(), base: asRead(base) });
  Object.assign(closer, { disabled: true, textContent: "Fitting …" });
  const answer = await server.closer({ model, base }).catch(() => undefined);
  if (view !== from) return;             // meanwhile the page was turned
  turnCloser();
  if (answer?.base) go({ ...state(), base: answer.base });
  else say(answer?.error ?? "The server does not answer; please try again.");
});
