"use strict";
// The page that is one file: one flame graph, with search and a way back.
(() => {
  const P = globalThis.profiler;
  const by = (id) => document.getElementById(id);
  const tree = P.layOut(JSON.parse(by("data").textContent));
  const graph = new P.FlameGraph(by("graph"), { changed, opened: (i) => graph.zoom(i) });
  let ready = false, remembered = null;

  function changed() {
    by("selected").textContent = P.described(tree, graph.selected).join(" — ");
    const at = graph.zoomed, callers = [];
    for (let up = at; up >= 0; up = tree.parent[up]) callers.unshift(up);
    const way = by("way");
    way.replaceChildren();
    for (const caller of callers.length > 1 ? callers : []) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = P.fitting(tree.formsOf(caller), 48);
      button.title = tree.nameOf(caller);
      button.onclick = () => { graph.zoom(caller); graph.select(caller); };
      way.append(button, caller === at ? "" : " › ");
    }
    way.scrollLeft = way.scrollWidth;
    remember();
  }
  function search(text) {
    const field = by("search");
    field.removeAttribute("aria-invalid");
    let pattern = null;
    if (text) {
      try { pattern = new RegExp(text, "i"); } catch { field.setAttribute("aria-invalid", "true"); }
    }
    const found = graph.search(pattern);
    by("found").textContent = found ? `${P.number(found.frames)} frames, ${P.share(found.value, tree.data.whole)}` : "";
    remember();
  }
  function flip() {
    graph.flip();
    by("flip").setAttribute("aria-pressed", String(graph.upwards));
    remember();
  }
  function theme() {
    document.documentElement.dataset.theme = P.isDark() ? "light" : "dark";
    graph.repaint();
  }
  function reset() {
    by("search").value = "";
    search("");
    graph.zoom(graph.root);
    graph.select(graph.root);
  }

  // What is shown is in the address, so that a link shows the same.
  function remember() {
    if (!ready) return;
    const state = new URLSearchParams();
    if (graph.zoomed > 0) state.set("zoom", tree.keyOf(graph.zoomed));
    if (by("search").value) state.set("search", by("search").value);
    if (graph.upwards) state.set("flip", "1");
    const text = state.toString();
    if (text === remembered) return;
    remembered = text;
    try { history.replaceState(null, "", text ? "#" + text : location.pathname + location.search); } catch { /* file: in some browsers */ }
  }
  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    if (!!state.get("flip") !== graph.upwards) flip();
    by("search").value = state.get("search") || "";
    search(by("search").value);
    const at = state.get("zoom") ? tree.byKey(state.get("zoom")) : 0;
    if (at !== graph.zoomed) { graph.zoom(Math.max(at, 0), true); graph.select(Math.max(at, 0)); }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === by("search")) {
      if (event.key === "Escape") { event.target.value = ""; search(""); graph.canvas.focus(); }
      if (event.key === "Enter") { graph.next(event.shiftKey ? -1 : 1); graph.canvas.focus(); }
      return;
    }
    switch (event.key) {
      case "Escape": reset(); break;
      case "/": by("search").focus(); by("search").select(); break;
      case "i": flip(); break;
      case "t": theme(); break;
      default:
        if (event.target instanceof HTMLButtonElement || !P.flameKey(graph, event)) return;
    }
    event.preventDefault();
  });
  by("search").addEventListener("input", (event) => search(event.target.value));
  by("out").addEventListener("click", () => graph.zoomOut());
  by("reset").addEventListener("click", reset);
  by("flip").addEventListener("click", flip);
  by("theme").addEventListener("click", theme);
  addEventListener("hashchange", recall);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph.repaint());
  by("legend").hidden = !tree.data.base;
  graph.show(tree);
  recall();
  ready = true;
  changed();
  // For those who measure how fast it draws.
  P.graph = graph;
})();
