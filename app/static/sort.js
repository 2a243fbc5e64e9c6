// The table of all models, sorted by the buttons in its head. Part of the script of Compare (app/compare.py).

function sort(button) {          // the table; what was not measured stays last
  const k = Number(button.dataset.column), head = button.parentElement, body = find(".figures tbody");
  const down = head.ariaSort ? head.ariaSort === "ascending" : k > 1;
  const value = (row) => row.children[k].dataset.value;
  const ordered = [...body.rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = k < 2 ? x.localeCompare(y) : Number(x) - Number(y);
    return down ? -order : order;
  });
  for (const other of element.querySelectorAll(".figures th[aria-sort]")) other.removeAttribute("aria-sort");
  head.ariaSort = down ? "descending" : "ascending";
  body.replaceChildren(...ordered);
}
