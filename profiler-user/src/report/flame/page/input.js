"use strict";
// Mouse, wheel and keys of a flame graph, and what is shown under the mouse.
(() => {
  const P = (globalThis.profiler ??= {});
  let tip = null;

  function showTip(graph, event) {
    const i = graph.hovered;
    tip ??= document.getElementById("tip");
    if (!tip) return;
    tip.hidden = i < 0;
    if (i < 0) return;
    const [name, ...lines] = P.described(graph.tree, i);
    const head = document.createElement("b");
    head.textContent = name;
    tip.replaceChildren(head, ...lines.map((line) => {
      const row = document.createElement("span");
      row.textContent = line;
      return row;
    }));
    const box = tip.getBoundingClientRect(), gap = 16;
    const left = event.clientX + gap + box.width > innerWidth ? event.clientX - gap - box.width : event.clientX + gap;
    const top = event.clientY + gap + box.height > innerHeight ? event.clientY - gap - box.height : event.clientY + gap;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, top) + "px";
  }
  function hideTip(graph) {
    graph.hovered = -1;
    if (tip) tip.hidden = true;
    graph.draw();
  }

  const sibling = ({ tree, root }, i, step) => {
    const above = tree.parent[i];
    if (i === root || above < 0) return i;
    if (step > 0) return tree.end[i] < tree.end[above] ? tree.end[i] : i;
    let before = i;
    for (let j = above + 1; j < i; j = tree.end[j]) before = j;
    return before;
  };
  /** The widest frame below; the first of equals. */
  const below = ({ tree }, i) => {
    let widest = -1;
    for (let j = i + 1; j < tree.end[i]; j = tree.end[j]) if (widest < 0 || tree.width[j] > tree.width[widest]) widest = j;
    return widest < 0 ? i : widest;
  };

  /** Whether the key did something. */
  P.flameKey = (graph, event) => {
    const { tree, selected: at } = graph;
    if (!tree || event.altKey || event.metaKey || event.ctrlKey) return false;
    const [deeper, outer] = graph.upwards ? ["ArrowUp", "ArrowDown"] : ["ArrowDown", "ArrowUp"];
    const page = Math.max(1, Math.floor(graph.high / 19) - 2);
    const far = (step) => {
      let i = at;
      for (let n = 0; n < page; n++) i = step > 0 ? below(graph, i) : Math.max(tree.parent[i], graph.root);
      return i;
    };
    switch (event.key) {
      case deeper: graph.select(below(graph, at)); break;
      case outer: if (at > graph.root) graph.select(tree.parent[at]); break;
      case "ArrowRight": graph.select(sibling(graph, at, 1)); break;
      case "ArrowLeft": graph.select(sibling(graph, at, -1)); break;
      case "PageDown": graph.select(far(graph.upwards ? -1 : 1)); break;
      case "PageUp": graph.select(far(graph.upwards ? 1 : -1)); break;
      case "Home": graph.select(graph.root); break;
      case "Enter": case " ": graph.zoom(at); break;
      case "Backspace": graph.zoomOut(); break;
      case "+": case "=": graph.magnify(1.5); break;
      case "-": graph.magnify(1 / 1.5); break;
      case "n": graph.next(1); break;
      case "N": graph.next(-1); break;
      default: return false;
    }
    return true;
  };

  P.listen = (graph) => {
    const { canvas, host } = graph;
    let pressed = null;
    canvas.addEventListener("pointermove", (event) => {
      if (pressed) {
        const moved = event.clientX - pressed.x, down = event.clientY - pressed.y;
        if (!pressed.moved && Math.abs(moved) + Math.abs(down) < 4) return;
        if (!pressed.moved) canvas.setPointerCapture(event.pointerId);
        pressed.moved = true;
        hideTip(graph);
        host.scrollTop -= down;
        graph.pan(-moved);
        pressed.x = event.clientX;
        pressed.y = event.clientY;
        return;
      }
      const before = graph.hovered;
      graph.hovered = graph.hit(event.clientX, event.clientY);
      if (graph.hovered >= 0 || before >= 0) showTip(graph, event);
      if (graph.hovered !== before) graph.draw();
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button === 0) pressed = { x: event.clientX, y: event.clientY, moved: false };
    });
    const release = () => {
      // The click that follows a drag is none.
      graph.dragged = !!pressed?.moved;
      pressed = null;
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => { if (!pressed) hideTip(graph); });
    canvas.addEventListener("click", (event) => {
      const i = graph.dragged ? -1 : graph.hit(event.clientX, event.clientY);
      if (i < 0) return;
      if (event.detail === 2 && graph.options.opened) return graph.options.opened(graph.selected);
      graph.select(i, true);
      graph.zoom(i);
    });
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey) {
        event.preventDefault();
        graph.magnify(Math.exp(-event.deltaY / 200), event.clientX);
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        graph.pan(event.deltaX || event.deltaY);
      }
    }, { passive: false });
    host.addEventListener("scroll", () => { if (graph.hovered >= 0) hideTip(graph); graph.draw(); }, { passive: true });
    canvas.addEventListener("keydown", (event) => { if (P.flameKey(graph, event)) { event.preventDefault(); event.stopPropagation(); } });
    canvas.addEventListener("focus", () => { graph.draw(); graph.tell(); });
    canvas.addEventListener("blur", () => graph.draw());
  };
})();
