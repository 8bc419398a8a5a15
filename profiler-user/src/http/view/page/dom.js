"use strict";
// Small helpers around the document.
(() => {
  const P = (globalThis.profiler ??= {});
  P.by = (id) => document.getElementById(id);

  /** An element with properties (`class`, `on…`, `data-…`, `aria-…`, others as they are) and children. */
  P.el = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "class") element.className = value;
      else if (name.includes("-") || name === "role" || name === "list" || name === "scope" || name === "colspan") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  };
  /** A choice; `options` are `[value, text]`. */
  P.choice = (label, value, options, changed) => {
    const select = P.el("select", { onchange: (event) => changed(event.target.value) });
    for (const [option, text] of options) select.append(P.el("option", { value: option, selected: option === value }, text));
    if (![...select.options].some((option) => option.value === value) && value) {
      select.append(P.el("option", { value, selected: true }, value));
    }
    return P.el("label", {}, label + " ", select);
  };
  P.escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  /** The regex of exactly this name. */
  P.exactly = (name) => `^${P.escaped(name)}$`;
  /** A regex as it is searched for; `null` where there is none, `undefined` where it is wrong. */
  P.pattern = (text) => {
    if (!text) return null;
    try { return new RegExp(text, "i"); } catch { return undefined; }
  };

  let fading = 0;
  /** Says something for a moment. */
  P.say = (text) => {
    P.by("selected").textContent = text;
    clearTimeout(fading);
    fading = setTimeout(() => P.showSelection(), 2500);
  };
  P.fail = (error) => {
    const box = P.by("message");
    box.hidden = !error;
    box.textContent = error ? String(error.message || error) : "";
  };
  P.copy = async (text, what) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without the right to write to the clipboard: the old way.
      const area = P.el("textarea", { value: text, class: "offscreen" });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) return P.say(`The browser does not let ${what} be copied`);
    }
    P.say(`Copied ${what}`);
  };
})();
