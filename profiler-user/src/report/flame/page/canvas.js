"use strict";
// A flame graph on a canvas that is as large as what can be seen of it, however deep the graph is. Only the rows and the
// part of the width that can be seen are drawn.
(() => {
  const P = (globalThis.profiler ??= {});
  const ROW = 19, FONT = "12px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace", GLIDE = 180;
  /** Frames narrower than this, in pixels, have neither a name nor a gap. */
  const NARROW = 4;

  /**
   * `host` scrolls. Options: `root`, the frame in the first row; `upwards`, whether callees lie above their callers;
   * `label`, what a screen reader calls it; `changed(graph)` after what is shown or selected has changed;
   * `opened(i)` for a frame that was double-clicked.
   */
  P.FlameGraph = class {
    constructor(host, options = {}) {
      this.host = host;
      this.options = options;
      this.root = options.root || 0;
      this.upwards = !!options.upwards;
      this.tree = null;
      this.matched = null;
      this.selected = this.root;
      this.hovered = -1;
      this.from = 0;
      this.to = 1;
      this.gliding = 0;
      this.target = -1;
      host.classList.add("flame");
      this.spacer = document.createElement("div");
      this.spacer.className = "flame-spacer";
      this.canvas = document.createElement("canvas");
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "application");
      this.canvas.setAttribute("aria-roledescription", "flame graph");
      this.canvas.setAttribute("aria-label", options.label || "Flame graph: arrow keys move, Enter zooms, Escape resets");
      this.spacer.append(this.canvas);
      host.replaceChildren(this.spacer);
      this.pen = this.canvas.getContext("2d", { alpha: true });
      P.listen(this);
      new ResizeObserver(() => this.resize()).observe(host);
    }

    /** Shows another tree. */
    show(tree) {
      this.tree = tree;
      this.root = Math.min(this.options.root || 0, tree.count - 1);
      this.matched = null;
      this.selected = this.root;
      this.hovered = -1;
      this.stop();
      this.target = this.root;
      [this.from, this.to] = this.extent(this.root);
      this.resize();
      if (this.upwards) this.host.scrollTop = this.host.scrollHeight;
    }
    /** Colours depend on the theme. */
    repaint() { this.palette = null; this.draw(); }

    extent(i) {
      const { left, width } = this.tree;
      return [left[i], left[i] + (width[i] || 1)];
    }
    get rows() { return this.tree ? this.tree.deepest - this.tree.data.depth[this.root] + 1 : 1; }
    rowOf(i) { return this.tree.data.depth[i] - this.tree.data.depth[this.root]; }
    /** Where a row lies, from the top of everything. */
    top(row) { return this.upwards ? (this.rows - 1 - row) * ROW + this.offset : row * ROW; }
    /** Upwards, the first row stays at the bottom of what can be seen. */
    get offset() { return this.upwards ? Math.max(0, this.high - this.rows * ROW) : 0; }

    resize() {
      this.wide = this.host.clientWidth;
      this.high = this.host.clientHeight;
      if (!this.tree || !this.wide || !this.high) return;
      const ratio = Math.min(globalThis.devicePixelRatio || 1, 4);
      this.spacer.style.height = Math.max(this.rows * ROW + 2, this.high) + "px";
      this.canvas.width = Math.round(this.wide * ratio);
      this.canvas.height = Math.round(this.high * ratio);
      this.canvas.style.width = this.wide + "px";
      this.canvas.style.height = this.high + "px";
      this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.palette = null;
      this.draw();
    }
    draw() {
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); });
    }

    paint() {
      const { tree, pen, wide, high } = this;
      if (!tree || !wide) return;
      const colours = (this.palette ??= P.palette(pen));
      const scrolled = this.host.scrollTop;
      pen.clearRect(0, 0, wide, high);
      pen.font = FONT;
      pen.textBaseline = "middle";
      this.letter ??= pen.measureText("mmmmmmmmmm").width / 10;
      const begin = Math.max(0, Math.floor((scrolled - this.offset) / ROW) - 1);
      const last = Math.min(this.rows - 1, Math.ceil((scrolled + high) / ROW) + 1);
      const strip = (this.strip ??= new P.Strip());
      strip.begin(this.canvas.width, Math.max(1, last - begin + 1), this.canvas.width / wide, colours);
      const large = [];
      for (let line = begin; line <= last; line++) {
        const row = this.upwards ? this.rows - 1 - line : line;
        if (row >= 0) this.sort(row, line - begin, strip, colours, large);
      }
      // Narrow frames first, all of a row at once; then those that may have a name.
      strip.end();
      for (let line = begin; line <= last; line++) {
        const row = this.upwards ? this.rows - 1 - line : line;
        if (row >= 0) strip.draw(pen, line - begin, Math.round(this.top(row) - scrolled), wide, ROW - 1);
      }
      for (const i of large) this.paintFrame(i, Math.round(this.top(this.rowOf(i)) - scrolled), colours);
      this.outline(this.hovered, colours.letter, 1, scrolled);
      if (document.activeElement === this.canvas || this.selected !== this.root) {
        this.outline(this.selected, P.focusColour(), 2, scrolled);
      }
    }
    /** Puts the frames of a row that can be seen into the strip or, where they are wide enough, into `large`. */
    sort(row, line, strip, colours, large) {
      const { tree, wide, matched, root } = this;
      const { left, width, order, first, end } = tree;
      const depth = row + tree.data.depth[root];
      const scale = wide / (this.to - this.from), { from, to } = this;
      const stop = first[depth + 1];
      for (let place = tree.firstAfter(depth, from); place < stop; place++) {
        const i = order[place];
        if (left[i] >= to) break;
        if (i < root || i >= end[root]) continue;
        const w = width[i] * scale;
        if (w >= NARROW) large.push(i);
        else if (w > 0) {
          const colour = matched ? (matched[i] ? colours.match : colours.faded) : colours.of(tree, i);
          strip.add(line, (left[i] - from) * scale, w, colour, matched?.[i]);
        }
      }
    }
    paintFrame(i, y, colours) {
      const { tree, pen, wide, matched, letter, from } = this;
      const scale = wide / (this.to - from);
      const x = (tree.left[i] - from) * scale, w = tree.width[i] * scale;
      const begin = Math.max(x, -2), visible = Math.min(x + w, wide + 2) - begin;
      const faded = matched && !matched[i];
      pen.fillStyle = matched ? (faded ? colours.faded : colours.match) : colours.of(tree, i);
      pen.fillRect(begin, y, visible - 1, ROW - 1);
      const text = Math.max(begin, 0) + 4;
      const letters = Math.floor((Math.min(x + w, wide) - text - 3) / letter);
      if (letters < 3) return;
      pen.fillStyle = faded ? colours.fadedLetter : colours.letter;
      pen.fillText(P.fitting(tree.formsOf(i), letters), text, y + ROW / 2);
    }
    outline(i, colour, thick, scrolled) {
      const { tree, pen, wide } = this;
      if (i < 0 || i >= tree.count) return;
      const scale = wide / (this.to - this.from);
      const x = Math.max((tree.left[i] - this.from) * scale, -4);
      const right = Math.min((tree.left[i] + tree.width[i] - this.from) * scale, wide + 4);
      if (right < x) return;
      pen.strokeStyle = colour;
      pen.lineWidth = thick;
      const inset = thick / 2;
      pen.strokeRect(x + inset, this.top(this.rowOf(i)) - scrolled + inset, Math.max(right - x - 1 - thick, 1), ROW - 1 - thick);
    }

    /** The frame at a place of the window, or -1. */
    hit(clientX, clientY) {
      const { tree } = this;
      if (!tree) return -1;
      const box = this.canvas.getBoundingClientRect();
      const y = clientY - box.top + this.host.scrollTop - this.offset;
      const line = Math.floor(y / ROW), row = this.upwards ? this.rows - 1 - line : line;
      if (row < 0 || row >= this.rows || y < 0) return -1;
      const depth = row + tree.data.depth[this.root];
      const at = this.from + ((clientX - box.left) * (this.to - this.from)) / this.wide;
      const place = tree.firstAfter(depth, at);
      if (place >= tree.first[depth + 1]) return -1;
      const i = tree.order[place];
      return tree.left[i] <= at && i >= this.root && i < tree.end[this.root] ? i : -1;
    }

    stop() {
      cancelAnimationFrame(this.gliding);
      this.gliding = 0;
    }
    /** Shows this part of the width, after a short way there. */
    glide(from, to, done) {
      this.stop();
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const start = performance.now(), [oldFrom, oldTo] = [this.from, this.to];
      const step = (now) => {
        const part = still ? 1 : Math.min(1, Math.max(0, now - start) / GLIDE);
        const eased = 1 - (1 - part) ** 3;
        this.from = oldFrom + (from - oldFrom) * eased;
        this.to = oldTo + (to - oldTo) * eased;
        if (part >= 1) [this.from, this.to] = [from, to];
        this.gliding = part < 1 ? requestAnimationFrame(step) : 0;
        this.paint();
        if (part >= 1 && done) done();
      };
      // What is shown counts at once; the way there is for the eye only.
      this.aim = [from, to];
      if (still) step(start); else this.gliding = requestAnimationFrame(step);
    }
    /** The frame that fills the width: the one that was asked for, or else the deepest one that does. */
    get zoomed() {
      if (this.target >= 0) return this.target;
      const [from, to] = this.gliding ? this.aim : [this.from, this.to];
      return this.tree ? this.tree.spanning(from, to, this.root) : this.root;
    }
    zoom(i, quiet) {
      const [from, to] = this.extent(i);
      this.target = i;
      this.glide(from, to);
      this.reveal(i);
      if (!quiet) this.tell();
    }
    zoomOut() {
      const at = this.zoomed, [from, to] = this.extent(at);
      const whole = this.gliding ? this.aim : [this.from, this.to];
      const same = Math.abs(whole[0] - from) + Math.abs(whole[1] - to) < (to - from) * 1e-6;
      let up = at;
      // To the next caller that is wider.
      while (up > this.root && same && this.tree.width[up] === this.tree.width[at]) up = this.tree.parent[up];
      this.zoom(Math.max(up, this.root));
      this.select(Math.max(up, this.root));
    }
    /** Makes what is shown narrower or wider around a place of the window. */
    magnify(factor, clientX) {
      const box = this.canvas.getBoundingClientRect();
      const part = clientX === undefined ? 0.5 : (clientX - box.left) / this.wide;
      const at = this.from + part * (this.to - this.from);
      const [least, most] = this.extent(this.root);
      const span = Math.min(most - least, Math.max((this.to - this.from) / factor, (most - least) * 1e-7));
      this.look(at - part * span, span);
    }
    pan(pixels) {
      const span = this.to - this.from;
      this.look(this.from + (pixels * span) / this.wide, span);
    }
    look(from, span) {
      this.target = -1;
      const [least, most] = this.extent(this.root);
      this.stop();
      this.from = Math.min(Math.max(from, least), most - span);
      this.to = this.from + span;
      this.draw();
      this.tell();
    }
    select(i, quiet) {
      this.selected = i;
      this.reveal(i);
      if (!quiet) this.tell();
    }
    /** Scrolls to a frame's row. */
    reveal(i) {
      const at = this.top(this.rowOf(i));
      if (at < this.host.scrollTop) this.host.scrollTop = at;
      else if (at + ROW > this.host.scrollTop + this.high) this.host.scrollTop = at + ROW - this.high;
      this.draw();
    }
    /** Colours what matches; `null` for nothing. Gives what was found. */
    search(pattern) {
      const found = pattern && this.tree ? this.tree.search(pattern) : null;
      this.matched = found ? found.matched : null;
      this.draw();
      return found;
    }
    next(step) {
      const { matched, tree } = this;
      if (!matched) return;
      for (let n = 0, i = this.selected; n < tree.count; n++) {
        i = (i + step + tree.count) % tree.count;
        if (!matched[i] || i < this.root || i >= tree.end[this.root]) continue;
        const shown = tree.left[i] >= this.from && tree.left[i] + tree.width[i] <= this.to;
        if (!shown) this.zoom(this.root, true);
        return this.select(i);
      }
    }
    flip() {
      this.upwards = !this.upwards;
      this.host.scrollTop = this.upwards ? this.host.scrollHeight : 0;
      this.draw();
    }
    tell() { this.options.changed?.(this); }
  };

  P.focusColour = () => getComputedStyle(document.documentElement).getPropertyValue("--focus").trim() || "#1a5fd0";
})();
