// Pictures of quality against cost: a choice of axes fills the open places of the specification, as vega.py does.
(() => {
  const figures = [...document.querySelectorAll("figure[data-front]")];
  const code = document.getElementById("answer-vega");
  if (!figures.length || !code) return;

  const fill = (part, places) => {
    if (typeof part === "string") return Object.hasOwn(places, part) ? places[part] : part;
    if (Array.isArray(part)) return part.map((each) => fill(each, places));
    if (part && typeof part === "object") {
      return Object.fromEntries(Object.entries(part).map(([key, value]) => [key, fill(value, places)]));
    }
    return part;
  };
  const filled = (data, cost, quality) => {
    const spec = fill(data.template, { ...data.costs[cost].places, ...data.qualities[quality].places });
    const front = data.fronts[cost][quality], on = new Set(front.on);
    spec.datasets = {
      points: data.points.map((point) => ({ ...point, on: on.has(point.i) })),
      front: front.steps.map(([x, y, l, h]) => ({ x, y, l, h })),
      names: front.names.map(([i, end]) => ({ ...data.points[i], end })),
      ...data.qualities[quality].datasets,
    };
    return spec;
  };
  const start = async (figure) => {
    const data = JSON.parse(document.getElementById(figure.dataset.front).textContent);
    const live = figure.querySelector(".answer-live"), axes = figure.querySelector(".answer-axes");
    const choice = { costs: 0, qualities: 0 }, hidden = new Set();
    const touch = matchMedia("(pointer: coarse)").matches;
    let shown;
    live.setAttribute("role", "img");
    live.setAttribute("aria-label", figure.querySelector(".answer-still svg").getAttribute("aria-label"));
    const draw = async () => {
      const spec = filled(data, choice.costs, choice.qualities);
      spec.params = [{ name: "hidden", value: [...hidden] }];
      if (touch) spec.layer.forEach((layer) => delete layer.params); // a finger scrolls the page
      live.hidden = false;
      shown?.finalize();
      shown = await vegaEmbed(live, spec, {
        mode: "vega-lite", actions: false, renderer: "svg", tooltip: { theme: "custom" },
      });
      figure.querySelector(".answer-still").style.display = "none";
      live.querySelector("svg").setAttribute("aria-hidden", "true");
    };
    try {
      await draw();
    } catch (error) {
      live.hidden = true; // the drawing of the page stays
      console.warn(error);
      return;
    }
    axes.hidden = figure.querySelector(".answer-help").hidden = false;
    for (const select of axes.querySelectorAll("select")) {
      select.addEventListener("change", () => { choice[select.dataset.axis] = Number(select.value); draw(); });
    }
    for (const button of figure.querySelectorAll(".answer-legend button")) {
      button.addEventListener("click", () => {
        const model = Number(button.dataset.model), show = hidden.delete(model);
        if (!show) hidden.add(model);
        button.setAttribute("aria-pressed", String(show));
        shown.view.signal("hidden", [...hidden]).runAsync();
      });
    }
  };
  const run = () => {
    const script = document.createElement("script");
    script.textContent = code.textContent;
    document.head.append(script);
    figures.forEach(start);
  };
  run();
})();
