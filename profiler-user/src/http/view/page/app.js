"use strict";
// Puts the parts together: which view is shown, what is selected, and the keys.
(() => {
  const P = globalThis.profiler, { by, state } = P;
  const HOSTS = { flame: "flame", top: "top", graph: "callgraph", source: "source", sandwich: "sandwich" };
  let selected = "", shownAs = 0, offered = null, enter = false;

  const view = () => (HOSTS[state.get("view")] ? state.get("view") : "flame");

  /** What is selected, in whichever view: a function's name, and a sentence about it. */
  P.choose = (name, sentence) => {
    selected = name;
    P.sentence = sentence;
    P.showSelection();
  };
  P.showSelection = () => {
    by("selected").textContent = P.sentence || "";
    by("selected").title = P.sentence || "";
    by("actions").hidden = !selected;
  };
  P.found = (text) => { by("found").textContent = text; };
  /** What a report is of, in the page's head. */
  P.measured = (data) => {
    const { about } = P;
    const parts = [];
    if (data) parts.push(`${data.sample_type} ${P.valued(data.total[0], data.unit)}` + (data.total[0] !== data.whole ? ` of ${P.valued(data.whole, data.unit)} (${P.share(data.total[0], data.whole)})` : ""));
    if (about.duration_nanos) parts.push(`${P.valued(about.duration_nanos, "nanoseconds")} observed`);
    if (about.time_nanos) parts.push(new Date(about.time_nanos / 1e6).toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC"));
    if (data?.unmatched?.length) parts.push(`${data.unmatched.join(", ")} matched nothing`);
    by("about").textContent = parts.join(" · ");
  };
  /** The names that a function can be chosen from. */
  P.offerFunctions = async () => {
    const query = state.query();
    if (offered === query) return;
    offered = query;
    try {
      const { rows } = await P.ask("functions", "/api/top", query);
      by("functions").replaceChildren(...rows.slice(0, 1000).map((row) => P.el("option", { value: row.name })));
    } catch { offered = null; }
  };

  function act(what) {
    if (!selected) return;
    enter = ["sandwich", "source"].includes(what);
    switch (what) {
      case "sandwich": return state.set({ view: "sandwich", function: selected });
      case "source": return state.set({ view: "source", function: selected });
      case "focus": case "ignore": case "hide": return P.addFilter(what, P.exactly(selected));
      case "name": return P.copy(selected, "the name");
    }
  }

  async function render() {
    const turn = ++shownAs, now = view();
    delete document.body.dataset.shown;
    if (!selected) P.choose("", "");
    for (const [name, id] of Object.entries(HOSTS)) by(id).hidden = name !== now;
    for (const tab of by("tabs").children) tab.toggleAttribute("aria-current", tab.dataset.view === now);
    if (by("search").value !== state.get("search")) by("search").value = state.get("search");
    P.showSources();
    P.showFilters();
    markSearch();
    P.found("");
    const patience = setTimeout(() => { by("loading").hidden = false; }, 150);
    try {
      const remark = await P.views[now].show(by(HOSTS[now]));
      if (turn === shownAs) P.fail(remark);
    } catch (error) {
      if (error.name !== "AbortError" && turn === shownAs) P.fail(error);
    } finally {
      clearTimeout(patience);
      if (turn === shownAs) {
        by("loading").hidden = true;
        if (enter) P.views[now].focus?.();
        enter = false;
        document.body.dataset.shown = String(turn);
      }
    }
  }
  function markSearch() {
    by("search").toggleAttribute("aria-invalid", false);
    if (P.pattern(state.get("search")) === undefined) by("search").setAttribute("aria-invalid", "true");
  }
  let typing = 0;
  function search(text) {
    state.set({ search: text || null }, { replace: true, quiet: true });
    markSearch();
    clearTimeout(typing);
    // A table is made anew for each letter, a graph only coloured.
    typing = setTimeout(find, P.views[view()].search ? 0 : 150);
  }
  /** Looks for what was typed, if that is not done yet. */
  function find() {
    if (!typing) return;
    clearTimeout(typing);
    typing = 0;
    const { search } = P.views[view()];
    if (search) search(); else render();
  }
  function theme() {
    const chosen = P.isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = chosen;
    try { localStorage.setItem("theme", chosen); } catch { /* no storage: for this page only */ }
    repaint();
  }
  function repaint() {
    for (const one of Object.values(P.views)) one.repaint?.();
    P.showSources();
  }
  P.refresh = async () => {
    by("loading").hidden = false;
    try {
      P.about = await P.reload();
      offered = null;
      render();
    } catch (error) { P.fail(error); by("loading").hidden = true; }
  };

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || by("help").open) return;
    const { target } = event;
    if (target === by("search")) {
      if (event.key === "Escape") { target.value = ""; search(""); P.views[view()].focus?.(); event.preventDefault(); }
      // Who types fast gets the next one of what was typed, not of its beginning.
      if (event.key === "Enter") { find(); P.views[view()].key?.({ key: event.shiftKey ? "N" : "n" }); P.views[view()].focus?.(); event.preventDefault(); }
      return;
    }
    if (target.matches("input, select, textarea")) {
      if (event.key === "Escape") { target.blur(); P.views[view()].focus?.(); }
      return;
    }
    const onControl = target.matches("button, summary, a") || target.closest("svg [role=button]");
    if (onControl && ["Enter", " "].includes(event.key)) return;
    const simple = {
      "/": () => { by("search").focus(); by("search").select(); }, e: () => by("pattern").focus(),
      s: () => act("sandwich"), l: () => act("source"), f: () => act("focus"), h: () => act("hide"), y: () => act("name"),
      c: () => P.copy(state.link(), "the link"), t: theme, x: P.swap, r: () => state.reset(), i: () => view() === "flame" && P.flip(),
      "?": () => by("help").showModal(),
    }[event.key];
    const tab = by("tabs").children[Number(event.key) - 1];
    if (tab) {
      // Keys that follow are for the view.
      enter = true;
      if (view() === tab.dataset.view) render(); else state.set({ view: tab.dataset.view });
    }
    else if (P.views[view()].key?.(event)) { /* it knew the key */ }
    else if (simple) simple();
    else return;
    event.preventDefault();
  }

  async function start() {
    let stored = null;
    try { stored = localStorage.getItem("theme"); } catch { /* no storage */ }
    if (stored) document.documentElement.dataset.theme = stored;
    try {
      P.about = await P.ask("about", "/api/about");
    } catch (error) { return P.fail(error); }
    if (state.isEmpty() && P.about.asked.length) state.set(Object.fromEntries(P.about.asked), { replace: true, quiet: true });
    const { other, base, file } = P.about;
    const short = (names) => names.map((name) => name.split("/").filter(Boolean).pop() || name).join(", ");
    by("title").textContent = short(other.names);
    by("title").title = [...other.names, ...(base ? ["compared with", ...base.names] : []), file].join("\n");
    document.title = `${short(other.names)} – profiler`;
    P.measured(null);
    P.startFilters();
    P.startFlames();
    for (const tab of by("tabs").children) tab.onclick = () => state.set({ view: tab.dataset.view });
    for (const button of by("actions").children) button.onclick = () => act(button.dataset.do);
    by("search").oninput = (event) => search(event.target.value);
    by("link").onclick = () => P.copy(state.link(), "the link");
    by("theme").onclick = theme;
    by("keys").onclick = () => by("help").showModal();
    by("reset").onclick = () => state.reset();
    by("compare").onclick = () => state.set({ compare: state.get("compare") === "1" ? null : "1", zoom: null });
    document.addEventListener("keydown", key);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    state.changed(render);
    render();
  }
  start();
})();
