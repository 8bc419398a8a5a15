"use strict";
// Source lines with what they cost.
(() => {
  const P = (globalThis.profiler ??= {});

  function listing(routine, report) {
    const { unit, total } = report;
    const most = Math.max(...routine.lines.map((line) => line.cum), 1);
    const cell = (value) => (value ? P.valued(value, unit) : "·");
    const rows = routine.lines.map((line) => {
      const text = P.el("td", { class: "code" }, line.source ?? "");
      const row = P.el("tr", { class: line.cum ? "valued" : "" }, P.el("td", { class: "number" }, cell(line.flat)), P.el("td", { class: "number" }, cell(line.cum)), P.el("td", { class: "number line" }, String(line.line)), text);
      // As warm as its share of the hottest line.
      if (line.cum) text.style.setProperty("--heat", (line.cum / most).toFixed(3));
      return row;
    });
    const path = routine.file || "no file";
    const why = routine.no_source ? P.el("p", { class: "note" }, `No source information for ${routine.function}: ${routine.no_source}.`) : null;
    return [
      P.el("h2", {}, P.el("b", {}, routine.function), " ", P.el("span", { class: "faint" }, `${path} — itself ${cell(routine.flat)}, with all it calls ${cell(routine.cum)} (${P.share(routine.cum, total)})`)),
      why,
      P.el("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": `Source of ${routine.function}` },
        P.el("table", { class: "listing" }, P.el("thead", {}, P.el("tr", {}, ["flat", "cum", "line", ""].map((title) => P.el("th", { scope: "col" }, title)))), P.el("tbody", {}, rows))),
    ];
  }

  P.views.source = {
    async show(host) {
      const name = P.state.get("function");
      const field = P.el("div", { class: "tools" }, P.functionField("Function", "name of a function"), P.state.get("compare") === "1" ? P.el("span", { class: "faint" }, "of the side that is compared, not of the base") : null);
      if (!name) {
        host.replaceChildren(field, P.el("p", { class: "empty" }, "Choose a function: here, or in any other view, then press l."));
        P.offerFunctions();
        return P.choose("", "");
      }
      if (!host.firstChild) host.replaceChildren(field);
      P.offerFunctions();
      const report = await P.ask("view", "/api/source", P.state.query({ function: name }));
      host.replaceChildren(field, ...report.routines.flatMap((routine) => listing(routine, report)).filter(Boolean));
      P.choose(name, name);
      // Without their text, lines are not worth going to.
      const hottest = [...host.querySelectorAll(".code:not(:empty)")].reduce((best, one) => (Number(one.style.getPropertyValue("--heat")) > Number(best?.style.getPropertyValue("--heat") || 0) ? one : best), null);
      hottest?.scrollIntoView({ block: "center" });
    },
    focus: () => P.by("source").querySelector(".scroll")?.focus(),
  };
})();
