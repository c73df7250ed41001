"use strict";
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const hiddenTechniques = new Set();

  function restyled(layout, width) {
    const copy = structuredClone(layout);
    if (width < 480) {
      copy.font.size = 11;
      copy.margin = { ...copy.margin, l: 46, r: 8 };
      copy.xaxis.nticks = 4;
    }
    return copy;
  }

  // A figure is drawn when it first becomes visible: a hidden element has no width to draw to.
  function draw(root) {
    for (const place of root.querySelectorAll("[data-figure]")) {
      if (place.offsetParent === null) continue;
      const figure = figures[place.dataset.figure];
      Plotly.react(place, figure.data, restyled(figure.layout, place.clientWidth), {
        responsive: true, displayModeBar: false, showTips: false,
      }).then(() => show(place));
    }
  }

  function show(place) {
    const visible = place.data.map((trace) => !hiddenTechniques.has(trace.meta));
    if (visible.length && !place.dataset.figure.startsWith("layers")) Plotly.restyle(place, { visible });
  }

  function showLimit(value) {
    for (const block of document.querySelectorAll(".limit")) block.hidden = block.dataset.limit !== value;
    draw(document);
  }

  for (const input of document.querySelectorAll("input[name=limit]")) {
    if (input.checked) showLimit(input.value); // a reloaded page may remember another choice
    input.addEventListener("change", () => showLimit(input.value));
  }

  for (const select of document.querySelectorAll("select[data-chooses]")) {
    const choose = () => {
      for (const figure of document.querySelectorAll("[data-choice]")) {
        if (figure.dataset.choice === select.dataset.chooses) figure.hidden = figure.dataset.name !== select.value;
      }
      draw(document);
    };
    select.addEventListener("change", choose);
    choose();
  }

  const buttons = [...document.querySelectorAll(".legend button")];
  function refresh() {
    for (const button of buttons) button.setAttribute("aria-pressed", String(!hiddenTechniques.has(button.dataset.technique)));
    for (const place of document.querySelectorAll(".js-plotly-plot")) show(place);
  }
  for (const button of buttons) {
    const name = button.dataset.technique;
    button.addEventListener("click", () => {
      if (!hiddenTechniques.delete(name)) hiddenTechniques.add(name);
      refresh();
    });
    button.addEventListener("dblclick", () => {
      const others = buttons.map((other) => other.dataset.technique).filter((other) => other !== name);
      const alone = others.every((other) => hiddenTechniques.has(other));
      hiddenTechniques.clear();
      if (!alone) others.forEach((other) => hiddenTechniques.add(other));
      refresh();
    });
  }

  document.getElementById("download").addEventListener("click", (event) => {
    const blob = new Blob([document.getElementById("records").textContent], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = event.currentTarget.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  // Plots are drawn in pixels: paper is narrower than most screens, so they are redrawn to its width and back.
  function resizeAll(size) {
    for (const place of document.querySelectorAll(".js-plotly-plot")) {
      if (place.offsetParent !== null) Plotly.relayout(place, size);
    }
  }
  window.addEventListener("beforeprint", () => {
    document.getElementById("provenance").open = true;
    resizeAll({ width: 660 });
  });
  window.addEventListener("afterprint", () => resizeAll({ width: null, autosize: true }));
  draw(document);
})();
