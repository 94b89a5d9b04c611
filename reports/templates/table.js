// Tables of results: sorting, a filter, a choice of columns, and copies. Without this script they can all be read.
{
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const column = (root, i) => all(root, `[data-c="${i}"]`);
  const headings = (table) => all(table.tHead, "[data-c]").filter((th) => !th.hidden);
  const make = (tag, values = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), values);
    element.append(...children);
    return element;
  };

  // Sorting: models by their best value, the sampler settings of a model below its name, controls apart.

  const orders = new WeakMap(); // the order in which a table was written
  const order = (table) => {
    if (!orders.has(table)) {
      const bodies = all(table, "tbody:not(.divider)");
      orders.set(table, bodies.map((body) => [body, all(body, "tr")]));
    }
    return orders.get(table);
  };

  const sort = (table, i, direction) => {
    const sign = direction === "descending" ? -1 : 1;
    const key = (root) => {
      const found = column(root, i).map((cell) => sign * parseFloat(cell.dataset.v)).filter((v) => !Number.isNaN(v));
      return found.length ? Math.min(...found) : Infinity;
    };
    const sorted = (items, of) => {
      if (!direction) return items;
      const keyed = items.map((item) => [of(item), item]);
      return keyed.sort((a, b) => (a[0] === b[0] ? 0 : a[0] - b[0])).map((pair) => pair[1]);
    };
    for (const [body, rows] of order(table)) {
      const settings = rows.slice(1).filter((row) => row.dataset.r);
      body.append(rows[0], ...sorted(settings, key), ...rows.slice(1).filter((row) => !row.dataset.r));
    }
    const bodies = order(table).map((pair) => pair[0]);
    const divider = table.querySelector(".divider");
    table.append(...sorted(bodies.filter((body) => body.matches(".model")), key));
    if (divider) table.append(divider, ...sorted(bodies.filter((body) => body.matches(".control")), key));
    for (const th of all(table.tHead, "[aria-sort]")) th.removeAttribute("aria-sort");
    const heading = headings(table).find((th) => th.dataset.c === String(i));
    if (heading && direction) heading.setAttribute("aria-sort", direction);
  };

  const next = { ascending: "descending", descending: "", null: "ascending" };

  // Columns: those of the folded tables are moved into the first one when they are chosen.

  const take = (table, rest, i) => {
    const insert = (row, cell) => row.insertBefore(cell, [...row.cells].find((c) => Number(c.dataset.c) > i) ?? null);
    const heading = column(rest, i).find((cell) => cell.tagName === "TH");
    insert(table.tHead.rows[1], heading.cloneNode(true)).removeAttribute("aria-sort");
    const cells = new Map(column(rest, i).map((cell) => [cell.parentElement.dataset.r, cell]));
    for (const row of all(table, "tr[data-r]")) {
      const empty = make("td");
      empty.dataset.c = i;
      insert(row, cells.get(row.dataset.r)?.cloneNode(true) ?? empty);
    }
  };

  const regroup = (table) => {
    const shown = headings(table);
    const groups = [];
    for (const { dataset } of shown) {
      const last = groups.at(-1);
      if (last?.textContent === dataset.g) last.colSpan += 1;
      else groups.push(make("th", { scope: "colgroup" }, make("span", {}, dataset.g)));
    }
    table.tHead.rows[0].replaceChildren(make("td"), ...groups);
    for (const cell of all(table, "td.across")) cell.colSpan = Math.max(1, shown.length);
    for (const cell of all(table, "th.across")) cell.colSpan = shown.length + 1;
    return shown.length;
  };

  const show = (table, rest, i, yes) => {
    if (yes && !column(table, i).length) take(table, rest, i);
    for (const cell of column(table, i)) cell.hidden = !yes;
    regroup(table);
    const from = rest && column(rest, i)[0]?.closest("table");
    if (!from) return;
    for (const cell of column(from, i)) cell.hidden = yes;
    from.parentElement.hidden = !regroup(from);
  };

  const chooser = (panel, table, rest, changed) => {
    const heads = [...headings(table), ...(rest ? all(rest, "thead [data-c]") : [])];
    heads.sort((a, b) => a.dataset.c - b.dataset.c);
    const shown = new Set(headings(table).map((th) => th.dataset.c));
    let group;
    for (const { dataset } of heads) {
      if (group?.firstChild.textContent !== dataset.g) panel.append(group = make("fieldset", {}, make("legend", {}, dataset.g)));
      const box = make("input", { type: "checkbox", checked: shown.has(dataset.c) });
      box.addEventListener("change", () => { show(table, rest, Number(dataset.c), box.checked); changed(); });
      group.append(make("label", {}, box, ` ${dataset.h}`));
    }
  };

  // The keyboard: arrows go from number to number, and a number in focus shows its interval.

  const walk = (event) => {
    const here = event.target.closest("td[title]");
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!here || !step) return;
    const table = here.closest("table");
    const line = step[0] ? column(table, here.dataset.c) : all(table, "td[title]");
    const cells = line.filter((cell) => cell.matches("td[title]") && cell.checkVisibility());
    const next = cells[cells.indexOf(here) + step[0] + step[1]];
    event.preventDefault();
    if (!next) return;
    here.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };

  // Copies of what is shown. Text that another program could take for markup or a formula is escaped.

  const text = (element) => (element?.textContent ?? "").replace(/\s+/g, " ").trim();
  const read = (cell) => ({
    value: text(cell.querySelector("b") ?? cell.firstChild), best: cell.matches(".best"), half: text(cell.querySelector(".u")),
    notes: text(cell.querySelector("sup")), about: text(cell.querySelector("small")), number: cell.dataset.v ?? "",
  });
  const records = (table) => {
    const shown = headings(table).map((th) => th.dataset.c);
    return all(table, "tbody:not(.divider)").filter((body) => !body.hidden).flatMap((body) => {
      const model = text(body.querySelector(".name"));
      return [...body.rows].flatMap((row) => {
        const why = row.querySelector(".why");
        const numbers = why ? [] : shown.map((i) => read(column(row, i)[0]));
        if (!why && !numbers.some((n) => n.value) && body.rows.length > 1) return [];
        const own = !why && row === body.rows[0] && body.rows[1]?.dataset.r ? "likelihood, training" : "";
        const sampler = text(row.querySelector(".sampler")) || own;
        return [{ model, control: body.matches(".control"), sampler, numbers, why: text(why) }];
      });
    });
  };
  const titles = (table) => headings(table).map((th) => th.dataset.h);

  const markdown = (table) => {
    const plain = (s) => s.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/[\\`*_[\]|~#$]/g, "\\$&");
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const number = ({ value, best, half, notes, about }) =>
      (best ? `**${value}**` : value) + (half && ` ${half.replace("±", "± ")}`) + notes + (about && ` (${plain(about)})`);
    const head = ["Model", "Sampler", ...titles(table).map(plain)];
    const rows = records(table).map((r) => [plain(r.model), plain(r.sampler), ...(r.why ? [plain(r.why)] : r.numbers.map(number))]);
    return [line(head), line(head.map((_, i) => (i < 2 ? "---" : "--:"))), ...rows.map((row) => line(head.map((_, i) => row[i] ?? "")))].join("\n");
  };

  const MATH = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "±": "$\\pm$", "−": "$-$", "∞": "$\\infty$",
    "†": "$\\dagger$", "‡": "$\\ddagger$", "§": "\\S{}", "¶": "\\P{}", "▸": "$\\triangleright$", "·": "$\\cdot$", "×": "$\\times$", "–": "--",
    "σ": "$\\sigma$", "α": "$\\alpha$", "β": "$\\beta$", "<": "$<$", ">": "$>$", "|": "$|$", '"': "''" };
  const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻", LOWERED = "₀₁₂₃₄₅₆₇₈₉", PLAIN = "0123456789-";
  const latex = (table) => {
    const digits = (s, from) => [...s].map((c) => PLAIN[from.indexOf(c)]).join("");
    const plain = (s) => s.replace(/[\\~^±−∞†‡§¶▸·×–σαβ<>|"]|[{}$&#_%]/g, (c) => MATH[c] ?? `\\${c}`)
      .replace(/[⁰¹²³⁴-⁹⁻]+/g, (c) => `$^{${digits(c, RAISED)}}$`).replace(/[₀-₉]+/g, (c) => `$_{${digits(c, LOWERED)}}$`);
    const number = ({ value, best, half, notes }) => (best ? `\\textbf{${plain(value)}}` : plain(value)) + plain(half && ` ${half}`) + plain(notes);
    const line = (cells) => `${cells.join(" & ")} \\\\`;
    const count = headings(table).length;
    const rows = records(table).map((r, i, list) => {
      const first = r.control && i > 0 && !list[i - 1].control ? "\\midrule\n" : "";
      const rest = r.why ? [`\\multicolumn{${count}}{l}{${plain(r.why)}}`] : r.numbers.map(number);
      const model = plain(r.model).replace(/^(?=[[*])/, "{}"); // which would belong to the \\ before it
      return first + line([model, plain(r.sampler), ...rest]);
    });
    return [`\\begin{tabular}{ll${"r".repeat(count)}} % needs \\usepackage{booktabs}`, "\\toprule",
      line(["Model", "Sampler", ...titles(table).map(plain)]), "\\midrule", ...rows, "\\bottomrule", "\\end{tabular}"].join("\n");
  };

  const csv = (table) => {
    const formula = /^ *[=+\-@\t\r\n＝＋－＠]/, numeric = /^ *[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)? *$/i;
    const plain = (s) => {
      const safe = formula.test(s) && !numeric.test(s) ? `'${s}` : s;
      return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
    };
    const half = (s) => s.replace(/[±,]/g, "").replace(/−/g, "-");
    const shown = titles(table);
    const head = ["model", "sampler", "control", ...shown.flatMap((title) => [title, `± ${title}`]), "marks", "outcome"];
    const rows = records(table).map((r) => [r.model, r.sampler, r.control ? "yes" : "no",
      ...shown.flatMap((_, i) => (r.why ? ["", ""] : [r.numbers[i].number, half(r.numbers[i].half)])),
      r.numbers.map((n, i) => (n.notes ? `${shown[i]}: ${n.notes}` : "")).filter(Boolean).join("; "), r.why || "ok"]);
    return [head, ...rows].map((row) => row.map(plain).join(",")).join("\n") + "\n";
  };

  const copy = async (content) => {
    try {
      await navigator.clipboard.writeText(content);
    } catch { // an old browser, or no permission
      const area = document.body.appendChild(make("textarea", { value: content }));
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  const formats = { markdown, latex, csv };

  for (const results of all(document, ".results")) {
    const [tools, table, rest] = [".tools", ".compare", ".rest"].map((selector) => results.querySelector(selector));
    const said = tools.querySelector(".said");
    const filter = tools.querySelector("input"), choice = tools.querySelector("select"), menu = tools.querySelector(".menu");
    const box = table.parentElement;
    const say = (words) => { said.textContent = words; };
    const fit = () => box.classList.toggle("fits", table.offsetWidth <= box.clientWidth);
    const options = () => choice.replaceChildren(new Option("best quality", ""), ...headings(table).map((th) => new Option(th.dataset.h, th.dataset.c)));

    results.addEventListener("click", (event) => {
      const th = event.target.closest("th button")?.parentElement;
      if (!th) return;
      const direction = next[th.getAttribute("aria-sort")];
      sort(th.closest("table"), th.dataset.c, direction);
      say(direction ? `sorted by ${th.dataset.h}, ${direction}` : "sorted as written");
    });
    results.addEventListener("keydown", walk);
    for (const each of all(results, ".compare")) {
      all(each, "td[title]").forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
    }
    choice.addEventListener("change", () => sort(table, choice.value, choice.value && "ascending"));
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const bodies = all(table, "tbody:not(.divider)");
      const model = (body) => body.rows[0].dataset.r.split(".")[0];
      const found = new Set(bodies.filter((body) => {
        const own = all(body, ".label, .outcome").map(text).join(" ").toLowerCase();
        return words.every((word) => own.includes(word));
      }).map(model));
      for (const each of all(results, ".compare")) {
        const own = all(each, "tbody:not(.divider)");
        for (const body of own) body.hidden = !found.has(model(body));
        const divider = each.querySelector(".divider");
        if (divider) divider.hidden = own.every((body) => body.hidden || !body.matches(".control"));
      }
      say(words.length ? `${bodies.filter((body) => !body.hidden).length} of ${bodies.length} models` : "");
    });
    chooser(menu.querySelector(".panel"), table, rest, () => { options(); fit(); });
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); }
    });
    document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
    for (const button of all(tools, "[data-copy]")) {
      button.addEventListener("click", async () => {
        await copy(formats[button.dataset.copy](table));
        say(`copied ${records(table).length} rows as ${button.textContent}`);
      });
    }
    options();
    fit();
    new ResizeObserver(fit).observe(results);
    tools.hidden = false;
  }
}
