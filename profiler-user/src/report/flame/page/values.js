"use strict";
// How values and names are written.
(() => {
  const P = (globalThis.profiler ??= {});

  const SCALES = {
    nanoseconds: [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]],
    microseconds: [[1e6, "s"], [1e3, "ms"], [1, "µs"]],
    milliseconds: [[1e3, "s"], [1, "ms"]],
    seconds: [[1, "s"]],
    bytes: [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "kB"], [1, "B"]],
  };

  /** A value with its unit; `unit` may end in `/s`. */
  P.valued = (value, unit) => {
    const rate = unit.endsWith("/s") ? "/s" : "";
    const plain = rate ? unit.slice(0, -2) : unit;
    if (plain === "%") return value.toFixed(2) + "%";
    const scales = SCALES[plain];
    if (!scales) {
      const known = plain === "count" || plain === "auto" ? "" : " " + plain;
      return value.toLocaleString("en", { maximumFractionDigits: 2 }) + known + rate;
    }
    if (value === 0) return "0";
    const [factor, name] = scales.find(([factor]) => Math.abs(value) >= factor) || scales[scales.length - 1];
    return (value / factor).toFixed(factor === 1 && Number.isInteger(value) ? 0 : 2) + " " + name + rate;
  };
  /** Likewise with a sign; of shares, the change is in percentage points. */
  P.signed = (value, unit) => {
    const sign = value > 0 ? "+" : value < 0 ? "−" : "±";
    const text = P.valued(Math.abs(value), unit);
    return sign + (unit === "%" ? text.slice(0, -1) + " pp" : text);
  };
  P.share = (value, whole) => (whole ? ((100 * value) / whole).toFixed(2) + "%" : "–");
  P.number = (value) => value.toLocaleString("en");

  /** The text with what lies between brackets replaced by an ellipsis. */
  function collapsed(text, open, close) {
    let depth = 0, out = "";
    for (const char of text) {
      if (char === open) { if (depth++ === 0) out += open + "…"; }
      else if (char === close && depth > 0) { if (--depth === 0) out += close; }
      else if (depth === 0) out += char;
    }
    return depth === 0 ? out : text;
  }
  /** `<alloc::vec::Vec<T> as Extend<T>>::extend` without the trait: `Vec<T>::extend`. */
  function withoutTrait(text) {
    if (!text.startsWith("<")) return text;
    let depth = 0, as = -1;
    for (let i = 0; i < text.length; i++) {
      if (text[i] === "<") depth++;
      else if (text[i] === ">" && text[i - 1] !== "-" && --depth === 0) {
        return last(text.slice(1, as < 0 ? i : as), 1) + text.slice(i + 1);
      } else if (depth === 1 && as < 0 && text.startsWith(" as ", i)) as = i;
    }
    return text;
  }
  /** The parts between `::`, but for those within brackets. */
  function segments(text) {
    const parts = [];
    let depth = 0, start = 0;
    for (let i = 0; i < text.length; i++) {
      if ("(<[{".includes(text[i])) depth++;
      else if (")>]}".includes(text[i])) depth--;
      else if (depth === 0 && text[i] === ":" && text[i + 1] === ":") {
        parts.push(text.slice(start, i));
        start = i += 2;
        i--;
      }
    }
    parts.push(text.slice(start));
    return parts;
  }
  /** The last named segments; closures and type arguments go with the name before them. */
  function last(text, wanted) {
    const parts = segments(text);
    while (parts.length > 1 && parts[parts.length - 1] === "<…>") parts.pop();
    let from = parts.length;
    while (from > 0 && wanted > 0) if (!/^[{<]/.test(parts[--from])) wanted--;
    return parts.slice(from).join("::");
  }

  /** Shorter and shorter forms of a name, each of which still says something. */
  P.forms = (name) => {
    const forms = [name];
    const add = (form) => { if (form && form.length < forms[forms.length - 1].length) forms.push(form); };
    if (name.includes("::") || name.includes("<")) {
      const plain = collapsed(withoutTrait(name), "<", ">");
      add(plain);
      const bare = plain.replace(/^(.*?::.*?)\(.*\)( const)?( \[clone.*\])?$/, "$1");
      add(bare);
      add(last(bare, 2));
      add(last(bare, 1));
    } else if (!name.startsWith("[")) {
      // Go: the package's path first, then the package.
      const slash = name.split("[")[0].lastIndexOf("/");
      const bare = collapsed(name.slice(slash + 1), "[", "]");
      add(bare);
      const dot = bare.indexOf(".");
      if (slash >= 0 && dot > 0) add(bare.slice(dot + 1));
    }
    return forms;
  };
  /** The longest form that has room for it; cut where none has. */
  P.fitting = (forms, letters) => {
    const place = forms.findIndex((form) => form.length <= letters);
    if (place < 0) {
      const shortest = forms[forms.length - 1];
      return letters < 3 ? "" : shortest.slice(0, letters - 1) + "…";
    }
    // A method called `run` says little: as much of its type as there is room for says more.
    const room = letters - forms[place].length;
    const longer = forms[place - 1];
    return place > 1 && room > 7 && longer.endsWith("::" + forms[place]) ? "…" + longer.slice(1 - letters) : forms[place];
  };
})();
