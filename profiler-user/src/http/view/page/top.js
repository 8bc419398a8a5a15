"use strict";
// The table of functions; in a comparison, the table of changes.
(() => {
  const P = (globalThis.profiler ??= {});
  const WORDS = { more: "more", less: "less", new: "new", gone: "gone", noise: "noise", same: "same", unknown: "changed" };
  const RANK = { new: 6, gone: 5, more: 4, less: 3, unknown: 2, noise: 1, same: 0 };
  let told = null;

  const name = (title) => ({ key: "name", title, class: "name", text: (row) => row.name, value: (row) => row.name, tip: (row) => row.name });
  const sorting = (extra = {}) => ({
    sort: P.state.get("sort"),
    sorted: (key, rising) => P.state.set({ sort: `${key}:${rising ? "up" : "down"}` }, { replace: true }),
    chosen: (row) => P.choose(row.name, P.says(row)),
    opened: (row) => P.state.set({ view: "sandwich", function: row.name }),
    ...extra,
  });

  P.says = (row) => row.says || "";

  function functions(host, report) {
    const { unit, total } = report;
    const value = (of) => (row) => (row[of] ? P.valued(row[of], unit) : "·");
    const share = (of) => (row) => row[of].toFixed(2) + "%";
    const most = Math.max(...report.rows.map((row) => Math.abs(row.cum)), 1);
    const columns = [
      { key: "flat", title: "flat", about: "What it used itself", class: "number", text: value("flat"), value: (row) => row.flat, falling: true, first: true },
      { key: "flat_percent", title: "flat %", class: "number", text: share("flat_percent"), value: (row) => row.flat, falling: true, bar: (row) => Math.abs(row.flat) / most },
      { key: "sum_percent", title: "sum %", about: "flat % of this row and those above it, when sorted by flat", class: "number faint", text: share("sum_percent"), value: (row) => row.sum, falling: false },
      { key: "cum", title: "cum", about: "With all that it calls", class: "number", text: value("cum"), value: (row) => row.cum, falling: true },
      { key: "cum_percent", title: "cum %", class: "number", text: share("cum_percent"), value: (row) => row.cum, falling: true, bar: (row) => Math.abs(row.cum) / most },
      { ...name("function"), text: (row) => row.name + (row.inlined === "always" ? " (inline)" : row.inlined === "partly" ? " (partial-inline)" : "") },
    ];
    for (const row of report.rows) row.says = `${row.name} — itself ${P.valued(row.flat, unit)} (${P.share(row.flat, total)}), with all it calls ${P.valued(row.cum, unit)} (${P.share(row.cum, total)})`;
    return P.table(host, columns, searched(report.rows), sorting());
  }

  function changes(host, report) {
    const { unit } = report;
    const only = P.state.get("noise") !== "hide" ? report.rows : report.rows.filter((row) => !isNoise(row));
    const of = (side, short) => {
      const most = Math.max(...report.rows.map((row) => Math.abs(row[side].change)), 1e-9);
      return [
        { key: short, title: "change", class: "number change", text: (row) => P.signed(row[side].change, unit), value: (row) => certain(row[side]) * 1e6 + Math.abs(row[side].change), falling: true, first: side === "own", about: "Sorted by how much changed for certain", bar: (row) => Math.abs(row[side].change) / most },
        { key: short + "_interval", title: "95 % interval", class: "number faint", text: (row) => interval(row[side], unit), value: (row) => (row[side].interval ? row[side].interval[0] : 0), falling: true, about: "Where the change lies, given how few samples there are" },
        { key: short + "_verdict", title: "means", class: "verdict", text: (row) => WORDS[row[side].verdict], value: (row) => RANK[row[side].verdict], falling: true },
        { key: short + "_base", title: "before", class: "number", text: (row) => (row[side].base ? P.valued(row[side].base, unit) : "·"), value: (row) => row[side].base, falling: true },
        { key: short + "_other", title: "after", class: "number", text: (row) => (row[side].other ? P.valued(row[side].other, unit) : "·"), value: (row) => row[side].other, falling: true },
      ];
    };
    for (const row of report.rows) row.says = `${row.name} — itself ${P.signed(row.own.change, unit)}, ${WORDS[row.own.verdict]}; with all it calls ${P.signed(row.total.change, unit)}, ${WORDS[row.total.verdict]}`;
    const noise = report.rows.filter(isNoise).length;
    const rowsOf = P.state.get("rows");
    const columns = [...of("own", "own"), ...(rowsOf ? [] : of("total", "total")), { ...name(rowsOf || "function"), tip: (row) => (row.object ? `${row.name}\n${row.object}` : row.name) }];
    const keys = [["", "functions"], ...P.keys.map((key) => [key, key])];
    const choice = keys.length > 1 ? P.choice("Rows:", rowsOf, keys, (value) => P.state.set({ rows: value, sort: null }, { replace: true })) : null;
    const box = P.el("div");
    const hide = P.el("input", { type: "checkbox", id: "noise", checked: P.state.get("noise") === "hide", onchange: (event) => P.state.set({ noise: event.target.checked ? "hide" : null }, { replace: true }) });
    const chance = report.base_samples === null ? "These values are not counts of samples, so nothing is said about chance. " : `${P.number(Math.round(report.base_samples))} samples before, ${P.number(Math.round(report.other_samples))} after; `;
    const table = P.table(box, columns, searched(only), sorting({
      groups: rowsOf ? null : [["itself", 5], ["with all it calls", 5], ["", 1]],
      // The value of a label is no function.
      ...(rowsOf ? { chosen: (row) => P.choose("", row.says), opened: () => {} } : {}),
      marked: (row) => `own-${row.own.verdict} total-${row.total.verdict}`,
      empty: only.length < report.rows.length ? "All changes may be noise." : undefined,
    }));
    host.replaceChildren(P.el("p", { class: "note" }, `${chance}${P.number(report.rows.length - noise)} changed, ${P.number(noise)} may be noise. `, P.el("label", { class: "check" }, hide, " leave out noise"), " ", choice || ""), box);
    return table;
  }
  const isNoise = (row) => [row.own, row.total].every((side) => side.verdict === "noise" || side.verdict === "same");
  const certain = ({ verdict, interval, change }) => (verdict === "noise" || verdict === "same" ? 0 : interval ? Math.min(Math.abs(interval[0]), Math.abs(interval[1])) : Math.abs(change));
  function interval({ interval, verdict }, unit) {
    if (!interval) return verdict === "same" ? "·" : "?";
    const text = (value) => P.signed(value, unit).replace(" pp", "");
    return `${text(interval[0])} … ${text(interval[1])}`;
  }

  function searched(rows) {
    const pattern = P.pattern(P.state.get("search"));
    const found = pattern ? rows.filter((row) => pattern.test(row.name)) : rows;
    if (pattern) P.found(`${P.number(found.length)} functions`);
    return found;
  }

  P.views.top = {
    async show(host) {
      const compare = P.state.get("compare") === "1";
      const report = await P.ask("view", compare ? "/api/diff" : "/api/top", P.state.query(compare ? { rows: P.state.get("rows") } : {}));
      P.measured(compare ? null : { ...report, total: [report.total], whole: report.total });
      const inside = host.contains(document.activeElement);
      told = compare ? changes(host, report) : functions(host, report);
      if (inside) told.focus();
    },
    focus: () => told?.focus(),
    key: (event) => {
      if (event.key !== "ArrowDown" || P.by("top").contains(event.target)) return false;
      told?.focus();
      return true;
    },
  };
})();
