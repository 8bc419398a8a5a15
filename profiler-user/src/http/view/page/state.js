"use strict";
// What is shown is in the page's address. Reports are asked for with the part of it that they depend on.
(() => {
  const P = (globalThis.profiler ??= {});
  /** By name: `show(host)`, and as far as there is any of it `focus()`, `search()`, `key(event)`, `repaint()`. */
  P.views = {};
  /** What the server's reports depend on. */
  const OF_REPORTS = [
    "sample_index", "by", "noinlines", "focus", "ignore", "hide", "show", "show_from", "prune_from", "tagfocus", "tagignore",
    "tagroot", "tagleaf", "where", "since", "until", "base_where", "base_since", "base_until", "compare", "swap", "normalize",
  ];
  /** What only the page looks at. */
  const OF_VIEWS = ["view", "function", "search", "zoom", "range", "flip", "sort", "noise", "rows", "nodes"];
  const KNOWN = [...OF_REPORTS, ...OF_VIEWS];
  /** What Reset takes away. */
  const RESET = [
    "focus", "ignore", "hide", "show", "show_from", "prune_from", "tagfocus", "tagignore", "tagroot", "tagleaf", "where", "since",
    "until", "base_where", "base_since", "base_until", "search", "zoom", "range", "by", "noinlines", "noise", "rows",
  ];
  const listeners = [], MOMENT = 150;
  let writing = 0;
  let now = new URLSearchParams(location.search);

  /** In one order, so that equal states have equal addresses. */
  function ordered(names, from) {
    const sorted = new URLSearchParams();
    for (const name of names) for (const value of from.getAll(name)) if (value) sorted.append(name, value);
    return sorted;
  }
  function tell() { for (const listener of listeners) listener(); }

  P.state = {
    get: (name) => now.get(name) || "",
    all: (name) => now.getAll(name),
    isEmpty: () => [...now.keys()].length === 0,
    /**
     * `changes` are values by name, `null` for none, lists for several. `replace` makes no step to go back to, `quiet` tells
     * nobody, `lazy` writes the address when nothing has changed for a moment: browsers refuse to write it all the time.
     */
    set(changes, { replace = false, quiet = false, lazy = false } = {}) {
      const next = new URLSearchParams(now);
      for (const [name, value] of Object.entries(changes)) {
        next.delete(name);
        for (const one of Array.isArray(value) ? value : [value]) if (one) next.append(name, one);
      }
      const text = ordered(KNOWN, next).toString();
      if (text === now.toString()) return;
      now = new URLSearchParams(text);
      clearTimeout(writing);
      if (lazy) writing = setTimeout(() => history.replaceState(null, "", "?" + now.toString()), MOMENT);
      else history[replace ? "replaceState" : "pushState"](null, "", "?" + text);
      if (!quiet) tell();
    },
    reset() { P.state.set(Object.fromEntries(RESET.map((name) => [name, null]))); },
    changed(listener) { listeners.push(listener); },
    /** The query of a report. */
    query(extra = {}) {
      const query = ordered(OF_REPORTS, now);
      for (const [name, value] of Object.entries(extra)) if (value) query.set(name, value);
      return query.toString();
    },
    link: () => location.href,
  };
  addEventListener("popstate", () => { clearTimeout(writing); now = new URLSearchParams(location.search); tell(); });

  /** The last answers, so that going back is immediate. */
  const MOST = 8;
  const known = new Map();
  const running = new Map();
  /** Asks the server; what was asked for before for the same `slot` is not waited for any more. */
  P.ask = async (slot, path, query) => {
    const address = query ? `${path}?${query}` : path;
    running.get(slot)?.abort();
    if (known.has(address)) {
      const answer = known.get(address);
      known.delete(address);
      known.set(address, answer);
      running.delete(slot);
      return answer;
    }
    const stop = new AbortController();
    running.set(slot, stop);
    const response = await fetch(address, { signal: stop.signal });
    const answer = await response.json().catch(() => ({ error: `the server answers ${response.status}` }));
    if (!response.ok) throw new Error(answer.error || `the server answers ${response.status}`);
    known.set(address, answer);
    if (known.size > MOST) known.delete(known.keys().next().value);
    return answer;
  };
  P.reload = async () => {
    const response = await fetch("/api/reload", { method: "POST" });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    known.clear();
    return answer;
  };
})();
