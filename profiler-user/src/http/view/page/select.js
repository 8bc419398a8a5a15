"use strict";
// Which part of the sources is looked at: labels and time; and, in a comparison, which part is the base.
(() => {
  const P = (globalThis.profiler ??= {});
  const FIRST = ["service", "process", "container", "host", "version"];
  /** Labels with more values than there is anything to choose by. */
  const NEVER = ["pid"];
  const BARS = 160;

  const simple = (written) => /^([\w.:/-]+)=([^~].*)$/.exec(written);
  /** Whether a `where` is one that a choice shows. */
  P.isChosen = (written) => !!simple(written) && P.keys.includes(simple(written)[1]);

  function keysOf(labels) {
    const keys = Object.keys(labels).filter((key) => !NEVER.includes(key) && Object.keys(labels[key]).length > 1);
    const rank = (key) => (FIRST.indexOf(key) < 0 ? FIRST.length : FIRST.indexOf(key));
    return keys.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  }
  function options(values) {
    const sum = Object.values(values).reduce((sum, value) => sum + value, 0);
    const sorted = Object.entries(values).sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
    return [["", "all"], ...sorted.map(([value, share]) => [value, `${value}  ${P.share(share, sum)}`])];
  }
  const utc = (milliseconds) => new Date(milliseconds).toISOString().replace(/\.\d+Z$/, "Z");

  /** The controls of one side; `prefix` is "" or "base_". */
  function controls(side, prefix) {
    const { state } = P, where = prefix + "where";
    const chosen = Object.fromEntries(state.all(where).map(simple).filter(Boolean).map(([, key, value]) => [key, value]));
    const parts = P.keys.filter((key) => side.labels[key]).map((key) => P.choice(key, chosen[key] || "", options(side.labels[key]), (value) => {
      const others = state.all(where).filter((one) => simple(one)?.[1] !== key);
      state.set({ [where]: value ? [...others, `${key}=${value}`] : others, zoom: null });
    }));
    if (side.has_folder) {
      const time = (name, label) => P.el("label", {}, label + " ", P.el("input", {
        type: "text", class: "time", id: prefix + name, value: state.get(prefix + name), placeholder: name === "since" ? "start, 1h, 2026-11-24…" : "end", spellcheck: false,
        onchange: (event) => state.set({ [prefix + name]: event.target.value.trim(), zoom: null }),
      }));
      parts.push(time("since", "from"), time("until", "to"));
      if (side.windows.length > 1) parts.push(timeline(side.windows, prefix));
    }
    return parts;
  }

  /** How much there was in each part of the time; dragging over it chooses. */
  function timeline(windows, prefix) {
    const { state } = P;
    const start = windows[0][0], gaps = windows.slice(1).map(([time], i) => time - windows[i][0]);
    const usual = gaps.sort((a, b) => a - b)[gaps.length >> 1] || 1000;
    const end = windows[windows.length - 1][0] + usual, span = end - start;
    const bars = new Float64Array(Math.min(BARS, Math.max(1, Math.round(span / usual))));
    for (const [time, value] of windows) bars[Math.min(bars.length - 1, Math.floor(((time - start) / span) * bars.length))] += value;
    const most = Math.max(...bars, 1);
    const canvas = P.el("canvas", { class: "timeline", title: `${utc(start)} to ${utc(end)}: drag to choose, click for all`, role: "img", "aria-label": "CPU time over time; the fields from and to choose a part" });
    const parse = (text, other) => { const time = Date.parse(text); return Number.isNaN(time) ? other : time; };
    const paint = (from, to) => {
      const wide = 260, high = 24, ratio = devicePixelRatio || 1, style = getComputedStyle(document.documentElement);
      canvas.width = wide * ratio;
      canvas.height = high * ratio;
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      const step = wide / bars.length;
      bars.forEach((value, i) => {
        const time = start + ((i + 0.5) / bars.length) * span;
        pen.fillStyle = style.getPropertyValue(time >= from && time < to ? "--focus" : "--line");
        const tall = value ? Math.max(1.5, (value / most) * high) : 0;
        pen.fillRect(i * step, high - tall, Math.max(step - 0.5, 0.5), tall);
      });
    };
    const shown = () => paint(parse(state.get(prefix + "since"), -Infinity), parse(state.get(prefix + "until"), Infinity));
    let from = null;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return start + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * span;
    };
    // A part begins and ends where windows do.
    const part = (a, b) => {
      const times = windows.map(([time]) => time);
      const low = times.filter((time) => time <= Math.min(a, b)).pop() ?? start;
      const high = times.find((time) => time > Math.max(a, b)) ?? end;
      return [low, high];
    };
    canvas.addEventListener("pointerdown", (event) => { from = at(event); canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => { if (from !== null) paint(...part(from, at(event))); });
    canvas.addEventListener("pointerup", (event) => {
      const [low, high] = part(from, at(event)), still = Math.abs(at(event) - from) < span / 100;
      from = null;
      const all = still && state.get(prefix + "since");
      state.set({ [prefix + "since"]: all || low <= start ? null : utc(low), [prefix + "until"]: all || high >= end ? null : utc(high), zoom: null });
      shown();
    });
    shown();
    return canvas;
  }

  P.canCompare = () => !!P.about.base || P.keys.length > 0 || P.about.other.windows.length > 1;

  P.showSources = () => {
    const { state, about } = P;
    P.keys = keysOf(about.other.labels);
    const parts = controls(about.other, "");
    if (about.other.has_folder) {
      parts.push(P.el("button", { type: "button", id: "reload", title: "Read the folder again", onclick: () => P.refresh() }, "Reload"));
    }
    if (about.other.broken) parts.push(P.el("span", { class: "warning", title: about.other.warnings.join("\n") }, `${about.other.broken} broken files left out`));
    P.by("sources").replaceChildren(...parts);
    P.by("sources").hidden = parts.length === 0;
    const compare = state.get("compare") === "1";
    P.by("compare").setAttribute("aria-pressed", String(compare));
    P.by("compare").disabled = !P.canCompare();
    P.by("comparison").hidden = !compare;
    if (compare) showComparison();
  };

  function showComparison() {
    const { state, about } = P, base = about.base || about.other;
    const swapped = state.get("swap") === "1";
    const name = (side) => side.names.map((path) => path.split("/").filter(Boolean).pop()).join(", ");
    const left = P.el("b", { title: base.names.join("\n") }, about.base ? name(base) : "base"), right = P.el("b", { title: about.other.names.join("\n") }, about.base ? name(about.other) : "other");
    const legend = P.el("span", { class: "legend" }, ...[["less", "less"], ["more", "more"], ["fresh", "new"], ["gone", "gone"], ["same", "noise"]].map(([kind, text]) => P.el("span", { class: kind }, text)));
    P.by("comparison").replaceChildren(
      P.el("span", { id: "sides" }, "from ", swapped ? right : left, " to ", swapped ? left : right),
      P.el("button", { type: "button", id: "swap", "aria-pressed": String(swapped), title: "Swap the sides (x)", onclick: () => P.swap() }, "Swap"),
      P.choice("compare", state.get("normalize") || "share", [["share", "shares of each side"], ["cpu", "scaled to equal CPU time"], ["rate", "per second"], ["absolute", "absolute values"]], (value) => state.set({ normalize: value === "share" ? null : value })),
      legend,
      P.el("span", { class: "grow" }),
      ...(P.keys.length || base.has_folder ? [P.el("span", { class: "faint" }, "base:"), ...controls(base, "base_")] : []),
    );
    P.by("comparison").querySelector("select").id = "normalize";
  }
  P.swap = () => { if (P.state.get("compare") === "1") P.state.set({ swap: P.state.get("swap") === "1" ? null : "1" }); };
})();
