"use strict";
// The frames that are too narrow for more than a colour: there may be a hundred thousand of them, which is more than a
// canvas draws as rectangles in the time of a frame. Each row of them is one line of pixels, stretched to its height.
(() => {
  const P = (globalThis.profiler ??= {});

  P.Strip = class {
    constructor() {
      this.canvas = document.createElement("canvas");
      this.pen = this.canvas.getContext("2d", { willReadFrequently: true });
      this.packed = new Map();
    }
    /** `ratio` is the pixels of the screen in one of the page. */
    begin(wide, lines, ratio, colours) {
      if (this.colours !== colours) {
        this.colours = colours;
        this.packed.clear();
      }
      if (this.canvas.width !== wide || this.canvas.height < lines) {
        this.canvas.width = wide;
        this.canvas.height = lines;
        this.image = this.pen.createImageData(wide, lines);
        this.pixels = new Uint32Array(this.image.data.buffer);
      }
      this.pixels.fill(0);
      this.wide = wide;
      this.ratio = ratio;
      this.used = new Uint8Array(this.canvas.height);
    }
    /** A colour as a pixel; of a pattern, the colour of its lines. */
    pack(colour) {
      let packed = this.packed.get(colour);
      if (packed === undefined) {
        // What was set is read as `#rrggbb`.
        this.pen.fillStyle = typeof colour === "string" ? colour : this.colours.hatch;
        const value = parseInt(this.pen.fillStyle.slice(1), 16);
        packed = (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
        this.packed.set(colour, packed);
      }
      return packed;
    }
    /** Of frames that share a pixel the first one is seen; where some match, `match` is 1 or 0, those that do. */
    add(line, x, w, colour, match) {
      const { pixels, wide, ratio } = this;
      const from = Math.max(0, Math.floor(x * ratio)), to = Math.min(wide, Math.max(from + 1, Math.floor((x + w) * ratio)));
      const start = line * wide;
      if (to === from + 1 && pixels[start + from] && !match) return;
      const pixel = this.pack(colour);
      for (let at = from; at < to; at++) if (match !== 0 || !pixels[start + at]) pixels[start + at] = pixel;
      this.used[line] = 1;
    }
    end() { this.pen.putImageData(this.image, 0, 0); }
    draw(pen, line, y, wide, high) {
      if (!this.used[line]) return;
      pen.imageSmoothingEnabled = false;
      pen.drawImage(this.canvas, 0, line, this.wide, 1, 0, y, wide, high);
    }
  };
})();
