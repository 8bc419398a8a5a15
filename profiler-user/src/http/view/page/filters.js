"use strict";
// The filter box: pprof's filters, one regex each.
(() => {
  const P = (globalThis.profiler ??= {});
  const KINDS = ["focus", "ignore", "hide", "show", "show_from", "prune_from", "tagfocus", "tagignore", "tagleaf"];
  const WORDS = { show_from: "show from", prune_from: "prune from", tagfocus: "label focus", tagignore: "label ignore", tagleaf: "leaf by" };

  /** Adds to a filter of this kind: what matches either of two regexes. */
  P.addFilter = (kind, regex) => {
    const before = P.state.get(kind);
    const joined = before && before !== regex ? (kind.startsWith("tag") ? regex : `${before}|${regex}`) : regex;
    P.state.set({ [kind]: joined, zoom: null, range: null });
  };

  function chip(kind, value, remove) {
    return P.el("button", { type: "button", class: "chip", title: "Remove this filter", onclick: remove },
      P.el("span", {}, (WORDS[kind] || kind) + ": "), P.el("b", {}, value), " ×");
  }

  P.showFilters = () => {
    const { state } = P, chips = P.by("chips");
    chips.replaceChildren();
    for (const kind of KINDS) {
      const value = state.get(kind);
      if (value) chips.append(chip(kind, value, () => state.set({ [kind]: null })));
    }
    for (const name of ["where", "base_where"]) {
      for (const value of state.all(name).filter((value) => !P.isChosen(value))) {
        chips.append(chip(name === "where" ? "where" : "base where", value,
          () => state.set({ [name]: state.all(name).filter((other) => other !== value) })));
      }
    }
    P.by("sample_index").value = state.get("sample_index") || P.about.sample_types[P.about.default_sample_type]?.type || "";
    P.by("by").value = state.get("by");
    P.by("tagroot").value = state.get("tagroot");
    if (P.by("tagroot").value !== state.get("tagroot")) {
      const wanted = state.get("tagroot");
      P.by("tagroot").append(P.el("option", { value: wanted, selected: true }, wanted));
    }
    P.by("noinlines").checked = state.get("noinlines") === "1";
  };

  P.startFilters = () => {
    const { state, about } = P;
    const kinds = about.sample_types.map(({ type }) => P.el("option", { value: type }, type));
    P.by("sample_index").replaceChildren(...kinds);
    P.by("sample_index").closest("label").hidden = kinds.length < 2;
    const keys = Object.keys(about.other.labels).filter((key) => Object.keys(about.other.labels[key]).length > 1);
    P.by("tagroot").replaceChildren(P.el("option", { value: "" }, "none"), ...keys.map((key) => P.el("option", { value: key }, key)));
    P.by("rooted").hidden = keys.length === 0;
    P.by("sample_index").onchange = (event) => state.set({ sample_index: event.target.value });
    P.by("by").onchange = (event) => state.set({ by: event.target.value, zoom: null });
    P.by("tagroot").onchange = (event) => state.set({ tagroot: event.target.value, zoom: null });
    P.by("noinlines").onchange = (event) => state.set({ noinlines: event.target.checked ? "1" : null });
    P.by("filter").onsubmit = (event) => {
      event.preventDefault();
      const pattern = P.by("pattern");
      if (!pattern.value) return pattern.focus();
      P.addFilter(P.by("kind").value, pattern.value);
      pattern.value = "";
    };
  };
})();
