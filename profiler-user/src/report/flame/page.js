"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const canvas = by("graph"), pen = canvas.getContext("2d"), tip = by("tip"), main = document.querySelector("main");
  const count = data.depth.length, ROW = 18;
  // The frames behind a frame up to `end` are below it.
  const parent = new Int32Array(count), end = new Int32Array(count), left = new Float64Array(count);
  const width = new Float64Array(count);
  const hues = data.names.map(hue);
  let deepest = 0;
  (function layOut() {
    const way = [];
    for (let i = 0; i < count; i++) {
      const depth = data.depth[i];
      while (way.length > depth) end[way.pop()] = i;
      parent[i] = way.length ? way[way.length - 1] : -1;
      way.push(i);
      deepest = Math.max(deepest, depth);
    }
    for (const i of way) end[i] = count;
    // A comparison shows what came and what went: a frame is as wide as the larger of its two values, and at least
    // as wide as all below it.
    const below = new Float64Array(count);
    for (let i = count - 1; i >= 0; i--) {
      const base = data.base ? data.base[i] : 0;
      width[i] = Math.max(data.total[i], base, below[i], 0);
      if (parent[i] >= 0) below[parent[i]] += width[i];
    }
    const next = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      left[i] = parent[i] < 0 ? 0 : next[parent[i]];
      next[i] = left[i];
      if (parent[i] >= 0) next[parent[i]] += width[i];
    }
  })();

  let zoomed = 0, selected = 0, hovered = -1, pattern = null, matched = null, flipped = false;

  function hue(name) {
    let cut = name.lastIndexOf("::");
    if (cut < 0) cut = name.lastIndexOf(".");
    const family = cut > 0 ? name.slice(0, cut) : name;
    let hash = 0x811c9dc5;
    for (let i = 0; i < family.length; i++) hash = Math.imul(hash ^ family.charCodeAt(i), 0x01000193);
    return ((hash ^ (hash >>> 16)) >>> 0) % 60;
  }
  const nameOf = (i) => (data.name[i] < 0 ? "all" : data.names[data.name[i]]);
  const share = (value) => (data.whole ? ((100 * value) / data.whole).toFixed(2) + "%" : "");
  function valued(value) {
    const scales = { nanoseconds: [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]],
      bytes: [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "kB"], [1, "B"]] }[data.unit];
    if (!scales) return value.toLocaleString("en") + (data.unit === "count" || data.unit === "auto" ? "" : " " + data.unit);
    const [factor, unit] = scales.find(([factor]) => Math.abs(value) >= factor) || scales[scales.length - 1];
    return (value / factor).toFixed(factor === 1 ? 0 : 2) + " " + unit;
  }
  function described(i) {
    const inlined = data.inlined[i] ? " (inlined)" : "";
    let text = `${nameOf(i)}${inlined}\n${valued(data.total[i])} (${share(data.total[i])}), ${valued(data.own[i])} itself`;
    if (data.base) {
      const change = data.total[i] - data.base[i];
      text += `\nbefore ${valued(data.base[i])} (${share(data.base[i])}), ${change >= 0 ? "+" : "−"}${valued(Math.abs(change))}`;
    }
    return text;
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  function colour(i) {
    const light = dark.matches ? 58 : 72, dim = matched && !matched[i];
    const alpha = dim ? 0.28 : 1;
    if (data.name[i] < 0) return `hsla(220, 8%, ${dark.matches ? 50 : 80}%, ${alpha})`;
    if (data.base) {
      const most = Math.max(data.total[i], data.base[i]) || 1;
      const change = (data.total[i] - data.base[i]) / most;
      const strength = Math.min(1, Math.abs(change) * 1.6);
      return `hsla(${change > 0 ? 4 : 212}, ${Math.round(80 * strength)}%, ${dark.matches ? 62 : 86 - 14 * strength}%, ${alpha})`;
    }
    return `hsla(${hues[data.name[i]]}, ${dark.matches ? 60 : 66}%, ${light}%, ${alpha})`;
  }

  const y = (depth) => (flipped ? (deepest - depth) * ROW : depth * ROW);
  let wide = 0;
  function resize() {
    wide = main.clientWidth;
    const ratio = window.devicePixelRatio || 1, high = Math.max((deepest + 1) * ROW + 2, main.clientHeight - 4);
    // Canvases end at about 32,767 pixels in every browser.
    const limit = Math.min(ratio, 32000 / high, 32000 / Math.max(wide, 1));
    canvas.width = Math.floor(wide * limit);
    canvas.height = Math.floor(high * limit);
    canvas.style.width = wide + "px";
    canvas.style.height = high + "px";
    pen.setTransform(limit, 0, 0, limit, 0, 0);
    draw();
  }
  let waiting = false;
  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(); });
  }
  /** Calls `visit` for all frames that have a place on the canvas, and skips what lies below those that do not. */
  function visible(visit) {
    const scale = wide / (width[zoomed] || 1), from = left[zoomed];
    for (let up = parent[zoomed]; up >= 0; up = parent[up]) visit(up, 0, wide);
    for (let i = zoomed; i < end[zoomed];) {
      const w = width[i] * scale;
      if (w < 0.4) { i = end[i]; continue; }
      visit(i, (left[i] - from) * scale, w);
      i++;
    }
  }
  function paint() {
    const style = getComputedStyle(document.documentElement);
    const focus = style.getPropertyValue("--focus").trim();
    pen.clearRect(0, 0, wide, canvas.height);
    pen.font = "12px ui-monospace, Menlo, Consolas, monospace";
    pen.textBaseline = "middle";
    const letter = pen.measureText("m").width;
    const top = main.scrollTop - ROW, bottom = main.scrollTop + main.clientHeight + ROW;
    visible((i, x, w) => {
      const at = y(data.depth[i]);
      if (at < top || at > bottom) return;
      pen.fillStyle = colour(i);
      pen.fillRect(x, at, Math.max(w - 0.6, 0.4), ROW - 1);
      const letters = Math.floor((w - 8) / letter);
      if (letters >= 3) {
        const name = nameOf(i);
        pen.fillStyle = matched && !matched[i] ? (dark.matches ? "#aab" : "#778") : "#15171a";
        pen.fillText(name.length <= letters ? name : name.slice(0, letters - 1) + "…", x + 4, at + ROW / 2);
      }
      if (i === selected && (document.activeElement === canvas || selected !== 0)) {
        pen.strokeStyle = focus;
        pen.lineWidth = 2;
        pen.strokeRect(x + 1, at + 1, Math.max(w - 2.6, 1), ROW - 3);
      }
    });
  }
  function hit(event) {
    const box = canvas.getBoundingClientRect();
    const px = event.clientX - box.left, row = Math.floor((event.clientY - box.top) / ROW);
    const depth = flipped ? deepest - row : row;
    let found = -1;
    visible((i, x, w) => { if (data.depth[i] === depth && px >= x && px < x + w) found = i; });
    return found;
  }

  function select(i, speak = true) {
    selected = i;
    if (speak) by("selected").textContent = described(i).replace(/\n/g, " — ");
    const at = y(data.depth[i]);
    if (at < main.scrollTop) main.scrollTop = at;
    else if (at + ROW > main.scrollTop + main.clientHeight) main.scrollTop = at + ROW - main.clientHeight;
    draw();
  }
  function zoom(i) {
    zoomed = i;
    const way = by("way");
    way.replaceChildren();
    const callers = [];
    for (let up = i; up >= 0; up = parent[up]) callers.unshift(up);
    for (const caller of callers.length > 1 ? callers : []) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = nameOf(caller);
      button.onclick = () => { zoom(caller); select(caller); };
      way.append(button, caller === i ? "" : " › ");
    }
    way.scrollLeft = way.scrollWidth;
    remember();
    draw();
  }
  function search(text) {
    const field = by("search");
    pattern = null;
    field.removeAttribute("aria-invalid");
    if (text) {
      try { pattern = new RegExp(text, "i"); } catch { field.setAttribute("aria-invalid", "true"); }
    }
    matched = null;
    by("found").textContent = "";
    if (pattern) {
      const hits = data.names.map((name) => pattern.test(name));
      matched = new Uint8Array(count);
      let frames = 0, value = 0, until = 0;
      for (let i = 0; i < count; i++) {
        if (data.name[i] < 0 || !hits[data.name[i]]) continue;
        matched[i] = 1;
        frames++;
        // What lies below a match is in its value already.
        if (i >= until) { value += data.total[i]; until = end[i]; }
      }
      by("found").textContent = `${frames.toLocaleString("en")} frames, ${share(value)}`;
    }
    remember();
    draw();
  }
  function nextMatch(step) {
    if (!matched) return;
    for (let i = selected + step, n = 0; n < count; i += step, n++) {
      i = (i + count) % count;
      if (matched[i]) {
        if (i < zoomed || i >= end[zoomed]) zoom(0);
        return select(i);
      }
    }
  }
  function flip() {
    flipped = !flipped;
    by("flip").setAttribute("aria-pressed", String(flipped));
    main.scrollTop = flipped ? canvas.clientHeight : 0;
    remember();
    draw();
  }

  // What is shown is in the address, so that a link shows the same.
  function remember() {
    const state = new URLSearchParams();
    if (zoomed) state.set("zoom", zoomed);
    if (by("search").value) state.set("search", by("search").value);
    if (flipped) state.set("flip", "1");
    const text = state.toString();
    try { history.replaceState(null, "", text ? "#" + text : location.pathname + location.search); } catch { /* file: in some browsers */ }
  }
  function recall() {
    const state = new URLSearchParams(location.hash.slice(1)), place = Number(state.get("zoom"));
    const text = state.get("search") || "";
    if (state.get("flip") && !flipped) flip();
    by("search").value = text;
    search(text);
    zoom(Number.isInteger(place) && place > 0 && place < count ? place : 0);
  }

  const sibling = (i, step) => {
    if (parent[i] < 0) return i;
    if (step > 0) return end[i] < end[parent[i]] ? end[i] : i;
    let last = i;
    for (let j = parent[i] + 1; j < i; j = end[j]) last = j;
    return last;
  };
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === by("search")) {
      if (event.key === "Escape") { by("search").value = ""; search(""); canvas.focus(); }
      if (event.key === "Enter") { nextMatch(event.shiftKey ? -1 : 1); canvas.focus(); }
      return;
    }
    const deeper = flipped ? "ArrowUp" : "ArrowDown", outer = flipped ? "ArrowDown" : "ArrowUp";
    const onButton = event.target instanceof HTMLButtonElement;
    switch (event.key) {
      case deeper: if (selected + 1 < end[selected]) select(selected + 1); break;
      case outer: if (parent[selected] >= 0) select(parent[selected]); break;
      case "ArrowRight": select(sibling(selected, 1)); break;
      case "ArrowLeft": select(sibling(selected, -1)); break;
      case "Enter": if (onButton) return; zoom(selected); break;
      case "Backspace": if (parent[zoomed] >= 0) { zoom(parent[zoomed]); select(zoomed); } break;
      case "Escape": zoom(0); select(0); break;
      case "/": by("search").focus(); by("search").select(); break;
      case "n": nextMatch(1); break;
      case "N": nextMatch(-1); break;
      case "i": flip(); break;
      default: return;
    }
    event.preventDefault();
  }

  canvas.addEventListener("mousemove", (event) => {
    hovered = hit(event);
    tip.hidden = hovered < 0;
    if (hovered < 0) return;
    tip.textContent = described(hovered);
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 6)) + "px";
    tip.style.top = (event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18) + "px";
  });
  canvas.addEventListener("mouseleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (event) => {
    const i = hit(event);
    if (i >= 0) { select(i); zoom(i); }
  });
  canvas.addEventListener("focus", () => select(selected));
  canvas.addEventListener("blur", draw);
  document.addEventListener("keydown", key);
  main.addEventListener("scroll", draw, { passive: true });
  by("search").addEventListener("input", (event) => search(event.target.value));
  by("out").addEventListener("click", () => { if (parent[zoomed] >= 0) { zoom(parent[zoomed]); select(zoomed); } });
  by("reset").addEventListener("click", () => { zoom(0); select(0); by("search").value = ""; search(""); });
  by("flip").addEventListener("click", flip);
  addEventListener("hashchange", recall);
  dark.addEventListener("change", draw);
  new ResizeObserver(resize).observe(main);
  by("legend").hidden = !data.base;
  recall();
  resize();
})();
