// The filters hide rows, and tables without rows. Without scripts, everything is shown.
const form = document.getElementById("filters"), count = document.getElementById("count");
form.hidden = false;
const apply = () => {
  const chosen = Object.fromEntries(new FormData(form)), text = chosen.text.trim().toLowerCase();
  let shown = 0;
  for (const section of document.querySelectorAll("section[data-dataset]")) {
    const here = ["dataset", "budget"].every((key) => !chosen[key] || section.dataset[key] === chosen[key]);
    let rows = 0;
    for (const row of section.querySelectorAll("tbody tr")) {
      const fits = here && (!chosen.machine || row.dataset.machine === chosen.machine)
        && (!chosen.how || chosen.how.split(" ").includes(row.dataset.how)) && row.dataset.text.includes(text);
      row.hidden = !fits;
      rows += fits;
    }
    section.hidden = !rows;
    shown += rows;
  }
  count.textContent = `${shown} rows`;
};
form.addEventListener("input", apply);
form.addEventListener("submit", (event) => event.preventDefault());
apply();
