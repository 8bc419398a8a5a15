"use strict";
// A flame graph's data with what drawing needs: where each frame lies, and which frames lie in a row.
(() => {
  const P = (globalThis.profiler ??= {});

  function hashed(text, hash = 0x811c9dc5) {
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    return hash;
  }

  /** `data` has a row per frame, parents before their children. */
  P.layOut = (data) => {
    const count = data.depth.length;
    const parent = new Int32Array(count), end = new Int32Array(count);
    const left = new Float64Array(count), width = new Float64Array(count);
    const way = [];
    let deepest = 0;
    for (let i = 0; i < count; i++) {
      const depth = data.depth[i];
      while (way.length > depth) end[way.pop()] = i;
      parent[i] = way.length ? way[way.length - 1] : -1;
      way.push(i);
      if (depth > deepest) deepest = depth;
    }
    for (const i of way) end[i] = count;
    // A comparison shows what came and what went: a frame is as wide as the larger of its two values, and at least as
    // wide as all below it.
    const below = new Float64Array(count);
    for (let i = count - 1; i >= 0; i--) {
      width[i] = Math.max(data.total[i], data.base ? data.base[i] : 0, below[i], 0);
      if (parent[i] >= 0) below[parent[i]] += width[i];
    }
    const next = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      left[i] = parent[i] < 0 ? 0 : next[parent[i]];
      next[i] = left[i];
      if (parent[i] >= 0) next[parent[i]] += width[i];
    }
    // The frames of each row from left to right: row r begins at first[r].
    const first = new Int32Array(deepest + 2), order = new Int32Array(count);
    for (let i = 0; i < count; i++) first[data.depth[i] + 1]++;
    for (let row = 0; row <= deepest; row++) first[row + 1] += first[row];
    const free = first.slice();
    for (let i = 0; i < count; i++) order[free[data.depth[i]]++] = i;

    const forms = new Array(data.names.length);
    const names = data.names.map((name) => hashed(name));
    let hashes = null;
    const tree = {
      data, count, parent, end, left, width, deepest, first, order,
      nameOf: (i) => (data.name[i] < 0 ? "all" : data.names[data.name[i]]),
      formsOf: (i) => (data.name[i] < 0 ? ["all"] : (forms[data.name[i]] ??= P.forms(data.names[data.name[i]]))),
      objectOf: (i) => (data.name[i] < 0 ? "" : data.objects[data.object[data.name[i]]] || ""),
      /** The first frame of a row that ends behind `from`, as a place in `order`. */
      firstAfter(row, from) {
        let low = first[row], high = first[row + 1];
        while (low < high) {
          const middle = (low + high) >> 1, i = order[middle];
          if (left[i] + width[i] <= from) low = middle + 1; else high = middle;
        }
        return low;
      },
      /** What stays the same for a frame when the data is loaded again: its names from the root on, hashed. */
      keyOf(i) {
        this.findHashes();
        return (hashes[i] >>> 0).toString(36);
      },
      byKey(key) {
        this.findHashes();
        const wanted = parseInt(key, 36) | 0;
        return Number.isNaN(parseInt(key, 36)) ? -1 : hashes.indexOf(wanted);
      },
      findHashes() {
        if (hashes) return;
        hashes = new Int32Array(count);
        for (let i = 0; i < count; i++) {
          hashes[i] = i ? Math.imul(hashes[parent[i]] ^ names[data.name[i]], 0x01000193) : 0x2545f491;
        }
      },
      /** The deepest frame that spans this part of the width, below `root`. */
      spanning(from, to, root = 0) {
        let found = root;
        const slack = (to - from) * 1e-9;
        for (let child = found + 1; child < end[found];) {
          if (left[child] <= from + slack && left[child] + width[child] >= to - slack) { found = child; child++; }
          else child = end[child];
        }
        return found;
      },
      /** Which frames have a name that matches, how many they are, and the value of all stacks with one of them. */
      search(pattern) {
        const hits = data.names.map((name) => pattern.test(name));
        const matched = new Uint8Array(count);
        let frames = 0, value = 0, until = 0;
        for (let i = 0; i < count; i++) {
          if (data.name[i] < 0 || !hits[data.name[i]]) continue;
          matched[i] = 1;
          frames++;
          // What lies below a match is in its value already.
          if (i >= until) { value += data.total[i]; until = end[i]; }
        }
        return { matched, frames, value };
      },
    };
    return tree;
  };

  const WORDS = { "+": "more", "-": "less", n: "new", g: "gone", "~": "may be noise", "=": "the same", "?": "changed" };

  /** What there is to say about a frame, in lines. */
  P.described = (tree, i) => {
    const { data } = tree, { unit, whole } = data;
    const value = (value) => `${P.valued(value, unit)} (${P.share(value, whole)})`;
    const lines = [tree.nameOf(i) + (data.inlined[i] ? " (inlined)" : "")];
    const above = tree.parent[i];
    const ofCaller = above > 0 && data.total[above] ? `, ${P.share(data.total[i], data.total[above])} of its caller` : "";
    lines.push(`${value(data.total[i])}${ofCaller}; itself ${value(data.own[i])}`);
    if (data.base) {
      const change = data.total[i] - data.base[i];
      const relative = data.base[i] ? ` (${P.signed((100 * change) / data.base[i], "%").replace(" pp", "%")})` : "";
      lines.push(`before ${value(data.base[i])}: ${P.signed(change, unit)}${relative}, ${WORDS[data.verdict[i]]}`);
    }
    const object = tree.objectOf(i);
    if (object) lines.push("in " + object);
    return lines;
  };
})();
