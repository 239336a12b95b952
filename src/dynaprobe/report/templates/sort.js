// Tables sort when a heading is pressed; without scripts they stay in the order of the grid.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rank = (a, b) => {
        const [x, y] = [value(a), value(b)];
        const [p, q] = [Number.parseFloat(x), Number.parseFloat(y)];
        if (Number.isNaN(p) || Number.isNaN(q)) return Number.isNaN(p) - Number.isNaN(q) || x.localeCompare(y);
        return rising ? p - q : q - p;
      };
      const order = [...body.rows].sort(rank);
      const texts = order.every((row) => Number.isNaN(Number.parseFloat(value(row))));
      if (texts && !rising) order.reverse();
      body.append(...order);
    });
  });
}
