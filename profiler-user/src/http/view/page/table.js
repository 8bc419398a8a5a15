"use strict";
// A table that sorts, can be walked through by keys, and shows only as many rows as anybody reads at once.
(() => {
  const P = (globalThis.profiler ??= {});
  const PAGE = 400;

  /**
   * Columns: `{ key, title, text(row), value(row) to sort by, class, bar(row) from 0 to 1, tip(row), falling }`.
   * Options: `sort` and `sorted(key, rising)`, `chosen(row)`, `opened(row)`, `marked(row)` for a class.
   */
  P.table = (host, columns, rows, options) => {
    const [key, direction] = (options.sort || "").split(":");
    const by = columns.find((column) => column.key === key) || columns.find((column) => column.first) || columns[0];
    const rising = direction ? direction === "up" : !by.falling;
    const sorted = rows.slice().sort((a, b) => {
      const x = by.value(a), y = by.value(b);
      const order = typeof x === "string" ? x.localeCompare(y) : x - y;
      return rising ? order : -order;
    });
    const body = P.el("tbody");
    const head = P.el("tr", {}, columns.map((column) => {
      const isBy = column === by;
      const mark = isBy ? (rising ? " ▲" : " ▼") : "";
      return P.el("th", { class: column.class, scope: "col", "aria-sort": isBy ? (rising ? "ascending" : "descending") : "none" },
        P.el("button", { type: "button", title: column.about || "", onclick: () => options.sorted(column.key, isBy ? !rising : !column.falling) }, column.title + mark));
    }));
    const groups = options.groups ? P.el("tr", { class: "groups" }, options.groups.map(([title, span]) => P.el("th", { colspan: String(span), scope: "colgroup" }, title))) : null;
    const table = P.el("table", { class: "rows" }, P.el("thead", {}, groups, head), body);
    const more = P.el("button", { type: "button", class: "further", onclick: () => fill() });
    let shown = 0;

    function fill() {
      const next = sorted.slice(shown, shown + PAGE);
      body.append(...next.map((row, n) => {
        const line = P.el("tr", { tabIndex: shown + n === 0 ? 0 : -1, class: options.marked?.(row) || "" }, columns.map((column) => {
          const cell = P.el("td", { class: column.class, title: column.tip ? column.tip(row) : "" }, P.el("span", {}, column.text(row)));
          if (column.bar) {
            const bar = P.el("i", { class: "bar" });
            bar.style.width = Math.min(100, 100 * column.bar(row)).toFixed(2) + "%";
            cell.prepend(bar);
          }
          return cell;
        }));
        line.row = row;
        return line;
      }));
      shown += next.length;
      more.hidden = shown >= sorted.length;
      more.textContent = `Show ${Math.min(PAGE, sorted.length - shown)} more of ${P.number(sorted.length)} rows`;
    }
    const lineOf = (event) => event.target.closest("tbody tr");
    function choose(line) {
      body.querySelector("[aria-selected]")?.removeAttribute("aria-selected");
      body.querySelector("tr[tabindex='0']")?.setAttribute("tabindex", "-1");
      line.setAttribute("aria-selected", "true");
      line.tabIndex = 0;
      options.chosen(line.row);
    }
    body.addEventListener("click", (event) => { const line = lineOf(event); if (line) { line.focus(); choose(line); } });
    body.addEventListener("dblclick", (event) => { const line = lineOf(event); if (line) options.opened(line.row); });
    body.addEventListener("focusin", (event) => { const line = lineOf(event); if (line) choose(line); });
    body.addEventListener("keydown", (event) => {
      const line = lineOf(event);
      if (!line || event.ctrlKey || event.metaKey || event.altKey) return;
      let to = null;
      const lines = body.rows, at = line.sectionRowIndex;
      switch (event.key) {
        case "ArrowDown": if (at + 1 === lines.length && !more.hidden) fill(); to = lines[at + 1]; break;
        case "ArrowUp": to = lines[at - 1]; break;
        case "PageDown": to = lines[Math.min(at + 20, lines.length - 1)]; break;
        case "PageUp": to = lines[Math.max(at - 20, 0)]; break;
        case "Home": to = lines[0]; break;
        case "End": to = lines[lines.length - 1]; break;
        case "Enter": options.opened(line.row); break;
        default: return;
      }
      event.preventDefault();
      if (to) { to.focus(); to.scrollIntoView({ block: "nearest" }); }
    });
    fill();
    host.replaceChildren(table, more);
    if (sorted.length === 0) host.append(P.el("p", { class: "empty" }, options.empty || "Nothing matches."));
    return { focus: () => body.querySelector("tr[tabindex='0']")?.focus() };
  };
})();
