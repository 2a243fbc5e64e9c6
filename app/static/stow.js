// What a tab has still when its page is loaded again, as Gradio does after a lost connection. Stands before the scripts
// of several tabs of the page and shares their scope.

const drawer = (name) => `unravel:${name}`;

function stow(name, value) {
  try {
    sessionStorage.setItem(drawer(name), JSON.stringify(value));
  } catch { /* a browser that keeps nothing, or no more: it lasts as long as the page */ }
}

function stowed(name) {         // null for nothing
  try {
    return JSON.parse(sessionStorage.getItem(drawer(name)));
  } catch {
    return null;
  }
}
