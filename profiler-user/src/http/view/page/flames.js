"use strict";
// The flame graph of everything, and the sandwich of one function.
(() => {
  const P = (globalThis.profiler ??= {});
  let graph = null, tree = null, shown = null;
  let halves = null;

  function says(of, i) { return P.described(of, i).join(" — "); }

  /** Keeps zoom and selection in the address. */
  function changed() {
    const { state } = P, at = graph.zoomed;
    P.choose(graph.selected > 0 ? tree.nameOf(graph.selected) : "", says(tree, graph.selected));
    const [from, to] = graph.gliding ? graph.aim : [graph.from, graph.to];
    const exact = Math.abs(tree.left[at] - from) + Math.abs(tree.left[at] + tree.width[at] - to) < (to - from) * 1e-6;
    const whole = tree.width[0] || 1;
    const range = exact ? null : `${(from / whole).toFixed(7)}-${(to / whole).toFixed(7)}`;
    const zoom = exact && at > 0 ? tree.keyOf(at) : null;
    // Steps of panning are none to go back to.
    state.set({ zoom, range }, { quiet: true, replace: !exact, lazy: !exact });
    way(at);
  }
  function way(at) {
    const callers = [], box = P.by("way");
    for (let up = at; up >= 0; up = tree.parent[up]) callers.unshift(up);
    box.replaceChildren();
    // Of very deep ways, the ends.
    const cut = callers.length > 40 ? [...callers.slice(0, 5), -1, ...callers.slice(-20)] : callers;
    for (const caller of callers.length > 1 ? cut : []) {
      if (caller < 0) { box.append("… › "); continue; }
      box.append(P.el("button", { type: "button", title: tree.nameOf(caller), onclick: () => { graph.zoom(caller); graph.select(caller); } }, P.fitting(tree.formsOf(caller), 40)), caller === at ? "" : " › ");
    }
    box.scrollLeft = box.scrollWidth;
    P.by("out").disabled = at === 0 && !P.state.get("range");
  }
  function search() {
    const pattern = P.pattern(P.state.get("search"));
    const found = graph.search(pattern || null);
    P.found(found ? `${P.number(found.frames)} frames, ${P.share(found.value, tree.data.whole)}` : "");
  }
  /** As the address says. */
  function place() {
    const { state } = P, key = state.get("zoom"), range = /^([\d.]+)-([\d.]+)$/.exec(state.get("range"));
    if (range) {
      const whole = tree.width[0] || 1;
      graph.stop();
      graph.target = -1;
      [graph.from, graph.to] = [Number(range[1]) * whole, Number(range[2]) * whole];
      if (!(graph.to > graph.from)) [graph.from, graph.to] = graph.extent(0);
      graph.draw();
      return way(graph.zoomed);
    }
    const at = key ? Math.max(0, tree.byKey(key)) : 0;
    if (at !== graph.zoomed || graph.from !== graph.extent(at)[0] || graph.to !== graph.extent(at)[1]) {
      graph.zoom(at, true);
      if (at) graph.select(at, true);
    }
    P.choose(graph.selected > 0 ? tree.nameOf(graph.selected) : "", says(tree, graph.selected));
    way(at);
  }

  P.views.flame = {
    async show() {
      const query = P.state.query();
      const data = await P.ask("view", "/api/flame", query);
      graph ??= P.graph = new P.FlameGraph(P.by("graph"), { changed, opened: (i) => i > 0 && P.state.set({ view: "sandwich", function: tree.nameOf(i) }) });
      if (shown !== data) {
        shown = data;
        tree = P.layOut(data);
        P.measured(data);
        graph.show(tree);
      } else {
        P.measured(data);
        graph.resize();
      }
      if ((P.state.get("flip") === "1") !== graph.upwards) graph.flip();
      P.by("flip").setAttribute("aria-pressed", String(graph.upwards));
      search();
      place();
      return tree.width[0] ? null : "No samples are left: change the filters, or the choice of labels and time.";
    },
    focus: () => graph?.canvas.focus(),
    search,
    key: (event) => {
      if (!graph) return false;
      if (event.key === "Escape") { graph.zoom(0); graph.select(0); return true; }
      return P.flameKey(graph, event);
    },
    repaint: () => graph?.repaint(),
  };
  P.startFlames = () => {
    P.by("out").onclick = () => graph?.zoomOut();
    P.by("flip").onclick = () => P.flip();
  };
  P.flip = () => P.state.set({ flip: P.state.get("flip") === "1" ? null : "1" }, { replace: true });

  /** The field in which a function is chosen, for views that are of one. */
  P.functionField = (label, hint) => P.el("form", {
    class: "function",
    onsubmit: (event) => { event.preventDefault(); const { value } = event.target.elements.function; if (value) P.state.set({ function: value }); },
  }, P.el("label", {}, label + " ", P.el("input", {
    type: "text", name: "function", list: "functions", value: P.state.get("function"), placeholder: hint, spellcheck: false, autocomplete: "off",
    onchange: (event) => event.target.value && P.state.set({ function: event.target.value }),
  })), P.el("button", { type: "submit" }, "Show"));

  function build(host) {
    const callers = P.el("div", { class: "half" }), callees = P.el("div", { class: "half" });
    const above = P.el("h2", {}, "Callers"), below = P.el("h2", {}, "Callees");
    const field = P.el("div", { class: "tools" });
    host.replaceChildren(field, above, callers, below, callees);
    const make = (box, label, upwards) => {
      const made = new P.FlameGraph(box, {
        root: 1, upwards, label: `${label}: arrow keys move, Enter zooms, Escape resets`,
        changed: (half) => {
          halves.last = half;
          P.choose(half.tree.nameOf(half.selected), says(half.tree, half.selected));
        },
        opened: (i) => P.state.set({ function: made.tree.nameOf(i) }),
      });
      return made;
    };
    halves = { field, callers: make(callers, "Callers", true), callees: make(callees, "Callees", false), last: null };
    halves.last = halves.callees;
  }
  function searchHalves() {
    const pattern = P.pattern(P.state.get("search"));
    const found = [halves.callers, halves.callees].map((half) => half.search(pattern || null));
    P.found(pattern ? `${P.number(found.reduce((sum, one) => sum + (one ? one.frames : 0), 0))} frames` : "");
  }
  P.views.sandwich = {
    async show(host) {
      if (!halves) build(host);
      halves.field.replaceChildren(P.functionField("Function", "name of a function"));
      const name = P.state.get("function");
      for (const half of [halves.callers, halves.callees]) half.host.classList.toggle("empty", !name);
      if (!name) {
        halves.callers.tree = halves.callees.tree = null;
        P.offerFunctions();
        return P.choose("", "Choose a function: here, or in any other view, then press s.");
      }
      P.offerFunctions();
      const both = await P.ask("view", "/api/sandwich", P.state.query({ function: name }));
      P.measured(both.callees);
      if (halves.shown !== both) {
        halves.shown = both;
        const trees = [P.layOut(both.callers), P.layOut(both.callees)];
        // Each half as high as it is deep, within reason.
        [halves.callers, halves.callees].forEach((half, n) => {
          half.host.style.flexGrow = String(Math.min(30, Math.max(4, trees[n].deepest)));
        });
        halves.callers.show(trees[0]);
        halves.callees.show(trees[1]);
      } else {
        halves.callers.resize();
        halves.callees.resize();
      }
      searchHalves();
      P.choose(name, says(halves.callees.tree, 1));
    },
    focus: () => halves?.last?.canvas.focus(),
    halves: () => (halves ? [halves.callers, halves.callees] : []),
    search: searchHalves,
    key: (event) => {
      const half = halves?.last;
      if (!half?.tree) return false;
      if (event.key === "Escape") {
        for (const one of [halves.callers, halves.callees]) { one.zoom(1, true); one.select(1, true); }
        return true;
      }
      return P.flameKey(half, event);
    },
    repaint: () => { halves?.callers.repaint(); halves?.callees.repaint(); },
  };
})();
