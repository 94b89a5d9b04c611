// A click on a column heading sorts the models of that table, by their best value in that column.
for (const table of document.querySelectorAll("table.compare")) {
  const values = (body, i) => [...body.querySelectorAll(`[data-c="${i}"]`)].map((cell) => parseFloat(cell.dataset.v));
  for (const button of table.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th"), i = heading.dataset.i;
      const down = heading.getAttribute("aria-sort") === "ascending";
      const key = (body) => {
        const found = values(body, i).filter(Number.isFinite);
        return found.length ? (down ? -Math.max(...found) : Math.min(...found)) : Infinity;
      };
      const bodies = [...table.querySelectorAll("tbody.model")], place = document.createComment("");
      bodies[0]?.before(place);
      bodies.map((body) => [key(body), body]).sort((a, b) => (a[0] === b[0] ? 0 : a[0] - b[0]))
        .forEach(([, body]) => place.before(body));
      place.remove();
      table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  }
}
