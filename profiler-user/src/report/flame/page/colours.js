"use strict";
// The colours of frames. What differs in a comparison is told apart without red and green, and what went is hatched.
(() => {
  const P = (globalThis.profiler ??= {});

  const LIGHT = {
    frame: (hue) => `hsl(${hue} 45% 77%)`, root: "hsl(220 10% 84%)", letter: "#16181c",
    faded: "hsl(220 10% 91%)", fadedLetter: "#8a919d", match: "hsl(285 62% 74%)",
    same: "hsl(220 8% 87%)", more: (s) => `hsl(26 ${40 + 48 * s}% ${86 - 22 * s}%)`,
    less: (s) => `hsl(208 ${35 + 38 * s}% ${86 - 18 * s}%)`, fresh: "hsl(320 55% 72%)", gone: "hsl(176 38% 76%)",
    hatch: "hsl(176 45% 48%)", edge: "rgb(255 255 255 / 0.85)",
  };
  const DARK = {
    frame: (hue) => `hsl(${hue} 26% 37%)`, root: "hsl(220 8% 30%)", letter: "#f0f1f4",
    faded: "hsl(220 8% 20%)", fadedLetter: "#767e8c", match: "hsl(285 45% 48%)",
    same: "hsl(220 6% 30%)", more: (s) => `hsl(24 ${30 + 50 * s}% ${32 + 10 * s}%)`,
    less: (s) => `hsl(208 ${30 + 40 * s}% ${32 + 10 * s}%)`, fresh: "hsl(320 45% 45%)", gone: "hsl(178 30% 26%)",
    hatch: "hsl(176 35% 42%)", edge: "rgb(20 22 27 / 0.9)",
  };
  const STEPS = 8;

  function cached(make, count) {
    const known = new Array(count);
    return (i) => (known[i] ??= make(i));
  }
  function hatched(pen, theme) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const brush = tile.getContext("2d");
    brush.fillStyle = theme.gone;
    brush.fillRect(0, 0, 6, 6);
    brush.strokeStyle = theme.hatch;
    brush.lineWidth = 1.2;
    brush.beginPath();
    for (const x of [-6, 0, 6]) { brush.moveTo(x, 6); brush.lineTo(x + 6, 0); }
    brush.stroke();
    return pen.createPattern(tile, "repeat");
  }

  P.isDark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };

  /** Gives each frame its fill; `gone` is a pattern, so the pen is needed. */
  P.palette = (pen) => {
    const theme = P.isDark() ? DARK : LIGHT;
    const frames = cached((hue) => theme.frame(hue), 360);
    const more = cached((step) => theme.more(step / STEPS), STEPS + 1);
    const less = cached((step) => theme.less(step / STEPS), STEPS + 1);
    const gone = hatched(pen, theme);
    const of = (tree, i) => {
      const { data } = tree;
      if (data.name[i] < 0) return theme.root;
      if (!data.base) return frames(data.hue[data.name[i]]);
      switch (data.verdict[i]) {
        case "n": return theme.fresh;
        case "g": return gone;
        case "~": case "=": return theme.same;
      }
      const change = data.total[i] - data.base[i];
      const step = Math.round(STEPS * Math.min(1, (1.4 * Math.abs(change)) / (Math.max(data.total[i], data.base[i]) || 1)));
      return change > 0 ? more(step) : less(step);
    };
    return { ...theme, of };
  };
})();
