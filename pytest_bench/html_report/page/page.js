"use strict";
// Draws the plots and lists the samples. Text of models and servers is only ever set as textContent.
(() => {
  const PAGE = 50;
  const byId = (id) => document.getElementById(id);

  function complain(what, error) {
    const trouble = byId("trouble");
    trouble.hidden = false;
    trouble.textContent = `${what}: ${error}. Everything else on this page is complete.`;
  }

  async function unpacked() {
    const bytes = Uint8Array.from(atob(byId("data").textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  // currentColor follows the colour scheme and the printer without drawing again.
  const faint = { gridColor: "currentColor", gridOpacity: 0.15, domainColor: "currentColor", tickColor: "currentColor" };
  const text = { labelColor: "currentColor", titleColor: "currentColor", titleFontWeight: "normal" };
  const CONFIG = {
    background: null,
    font: "system-ui, sans-serif",
    axis: { ...faint, ...text, labelFontSize: 11, titleFontSize: 12, labelOverlap: true },
    legend: { ...text, labelFontSize: 12 },
    text: { color: "currentColor" },
    view: { stroke: null },
    mark: { color: "#3584d6" },
    line: { strokeWidth: 2 },
    range: { category: ["#3584d6", "#e0701a", "#1fa37c", "#c9679f", "#b58900", "#8a7fd6", "#7a8793", "#c1553b"] },
    locale: { number: { decimal: ".", thousands: "\u202f", grouping: [3], currency: ["", ""] } },
  };

  async function draw(plots) {
    let drawn = 0;
    for (const [number, spec] of plots.entries()) {
      const figure = byId(`plot-${number}`);
      try {
        await vegaEmbed(figure.querySelector(".drawing"), { ...spec, autosize: { type: "fit-x", contains: "padding" } }, {
          actions: false, renderer: "svg", config: CONFIG, mode: "vega-lite",
        });
        drawn += 1;
      } catch (error) {
        complain(`Plot ${number} could not be drawn`, error);
      }
    }
    document.documentElement.dataset.plots = String(drawn);
  }

  // Characters that would be invisible, or would change the direction of the text, are shown by their numbers.
  const visible = (value) => String(value).replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (letter) => `\u27e8U+${letter.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);

  function element(name, content, className) {
    const made = document.createElement(name);
    if (content !== undefined) made.textContent = visible(content);
    if (className) made.className = className;
    return made;
  }

  function part(parent, title, content) {
    parent.append(element("h4", title), element("pre", content));
  }

  function fill(details, sample) {
    const prompt = sample.prompt;
    if (Array.isArray(prompt)) for (const turn of prompt) part(details, `Prompt (${turn.role})`, turn.text);
    else if (prompt !== null) part(details, "Prompt", prompt);
    if (sample.reasoning) part(details, "Reasoning", sample.reasoning);
    for (const output of sample.outputs) part(details, "Output", output);
    if (!sample.outputs.length) details.append(element("p", "There is no output."));
    if (sample.target !== null) part(details, "Target", sample.target);
    for (const score of sample.scores) {
      const value = score.value === null ? "unscored" : String(score.value);
      const conditions = score.conditions.length ? ` (${score.conditions.join(", ")})` : "";
      const title = `${score.metric}: ${value}${conditions}`;
      if (score.extracted !== null) part(details, `${title}, extracted`, score.extracted);
      else details.append(element("h4", title));
      if (score.error !== null) part(details, "Error of the scorer", score.error);
    }
    details.append(element("p", sample.facts.map(([name, value]) => `${name}: ${value}`).join("; "), "facts"));
  }

  function entry(sample, several) {
    const details = document.createElement("details");
    const summary = element("summary", `${several ? `${sample.session}: ` : ""}${sample.point}: ${sample.name} `);
    for (const mark of sample.marks) summary.append(element("span", mark, "mark"), " ");
    details.append(summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) fill(details, sample);
    });
    return details;
  }

  function list(samples) {
    const [select, search, more] = [byId("filter-point"), byId("filter-text"), byId("more")];
    const several = new Set(samples.map((sample) => sample.session)).size > 1;
    for (const point of new Set(samples.map((sample) => sample.point))) {
      const option = element("option", point);
      option.value = point;
      select.append(option);
    }
    const boxes = [...document.querySelectorAll("#filters input[name=mark]")];
    for (const box of boxes) {
      const count = samples.filter((sample) => sample.marks.includes(box.value)).length;
      box.parentElement.append(` (${count})`);
    }
    const texts = samples.map((sample) => JSON.stringify(
      [sample.name, sample.prompt, sample.outputs, sample.target, sample.reasoning]).toLowerCase());
    let chosen = [];
    let shown = 0;

    function show() {
      const next = chosen.slice(shown, shown + PAGE);
      byId("list").append(...next.map((sample) => entry(sample, several)));
      shown += next.length;
      more.hidden = shown >= chosen.length;
      byId("count").textContent = `${chosen.length} of ${samples.length} samples; ${shown} listed.`;
    }

    function filter() {
      const marks = boxes.filter((box) => box.checked).map((box) => box.value);
      const wanted = JSON.stringify(search.value).slice(1, -1).toLowerCase();
      chosen = samples.filter((sample, number) =>
        (!select.value || sample.point === select.value)
        && (!marks.length || marks.some((mark) => sample.marks.includes(mark)))
        && texts[number].includes(wanted));
      shown = 0;
      byId("list").replaceChildren();
      show();
    }

    byId("filters").addEventListener("input", filter);
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", show);
    filter();
  }

  async function begin() {
    const data = await unpacked();
    if (data.samples.length) list(data.samples);
    await draw(data.plots);
    document.documentElement.dataset.ready = "true";
  }

  begin().catch((error) => complain("Plots and samples cannot be shown", error));
})();
