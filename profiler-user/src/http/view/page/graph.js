"use strict";
// The call graph: a picture that graphviz drew on the server, or its text where graphviz is not installed.
(() => {
  const P = (globalThis.profiler ??= {});
  /** Scaled down further than this, the smallest letters are not legible. */
  const LEGIBLE = 0.75;
  let shown = null, scale = 1, picture = null, size = null, box = null;

  /** Only shapes and text: no script, no link, no handler of a picture reaches the page. */
  function cleaned(text) {
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (parsed.nodeName !== "svg") throw new Error("graphviz drew something that is no picture");
    for (const element of [parsed, ...parsed.querySelectorAll("*")]) {
      if (!["svg", "g", "title", "text", "polygon", "path", "ellipse", "polyline"].includes(element.nodeName)) {
        if (element.nodeName === "a") element.replaceWith(...element.childNodes); else element.remove();
        continue;
      }
      for (const { name } of [...element.attributes]) if (name.startsWith("on") || name.includes("href") || name === "style") element.removeAttribute(name);
    }
    return document.adoptNode(parsed);
  }
  function zoom(factor) {
    if (!picture) return;
    const middle = [box.scrollLeft + box.clientWidth / 2, box.scrollTop + box.clientHeight / 2];
    const before = scale;
    scale = factor === 0 ? fitting() : Math.min(4, Math.max(0.05, scale * factor));
    picture.style.width = size[0] * scale + "px";
    picture.style.height = size[1] * scale + "px";
    box.scrollLeft = (middle[0] * scale) / before - box.clientWidth / 2;
    box.scrollTop = (middle[1] * scale) / before - box.clientHeight / 2;
  }
  const fitting = () => Math.min(1, (box.clientWidth - 16) / size[0]);

  function draw(host, answer) {
    const nodes = P.choice("functions", P.state.get("nodes") || "80", [20, 40, 80, 160, 320].map((n) => [String(n), String(n)]), (value) => P.state.set({ nodes: value === "80" ? null : value }, { replace: true }));
    const button = (text, title, factor) => P.el("button", { type: "button", title, onclick: () => zoom(factor) }, text);
    const note = P.el("span", { class: "faint" }, `${P.number(answer.nodes.length)} of ${P.number(answer.nodes_in_all)} functions`);
    const compared = P.state.get("compare") === "1" ? P.el("span", { class: "faint" }, "of the side that is compared, not of the base") : null;
    box = P.el("div", { class: "picture", tabIndex: 0, role: "group", "aria-label": "Call graph: Tab moves from function to function" });
    picture = null;
    if (!answer.svg) {
      host.replaceChildren(P.el("p", { class: "note" }, `${answer.why}. Until then, this is the graph as text for it: `, P.el("button", { type: "button", onclick: () => P.copy(answer.dot, "the graph") }, "Copy")), P.el("pre", { tabIndex: 0 }, answer.dot));
      return;
    }
    host.replaceChildren(P.el("div", { class: "tools" }, button("−", "Smaller (-)", 1 / 1.25), button("+", "Larger (+)", 1.25), button("Fit", "As wide as the page (0)", 0), nodes, note, compared), box);
    picture = cleaned(answer.svg);
    size = ["width", "height"].map((name) => (parseFloat(picture.getAttribute(name)) || 100) * (96 / 72));
    picture.setAttribute("role", "img");
    answer.nodes.forEach((name, n) => {
      const node = picture.querySelector(`#node${n + 1}`);
      if (!node) return;
      node.setAttribute("tabindex", "0");
      node.setAttribute("role", "button");
      node.setAttribute("aria-label", name);
      const choose = () => {
        picture.querySelector(".chosen")?.classList.remove("chosen");
        node.classList.add("chosen");
        P.choose(name, name);
      };
      node.addEventListener("click", choose);
      node.addEventListener("focus", choose);
      node.addEventListener("dblclick", () => P.state.set({ view: "sandwich", function: name }));
      node.addEventListener("keydown", (event) => {
        if (event.key === "Enter") { event.preventDefault(); P.state.set({ view: "sandwich", function: name }); }
      });
    });
    box.append(picture);
    // Letters stay legible: of a graph that is wider than the page, the hottest function is in the middle.
    scale = 1;
    zoom(Math.max(fitting(), LEGIBLE));
    const node = picture.querySelector("#node1")?.getBoundingClientRect(), seen = box.getBoundingClientRect();
    if (node && fitting() < LEGIBLE) {
      box.scrollLeft += node.left + node.width / 2 - seen.left - seen.width / 2;
      box.scrollTop += node.top + node.height / 2 - seen.top - seen.height / 2;
    }
    search();
    pannable(box);
  }
  function pannable(box) {
    let from = null;
    box.addEventListener("pointerdown", (event) => { if (event.button === 0) from = { x: event.clientX, y: event.clientY, moved: false }; });
    box.addEventListener("pointermove", (event) => {
      if (!from || !(event.buttons & 1)) { from = null; return; }
      if (!from.moved && Math.abs(event.clientX - from.x) + Math.abs(event.clientY - from.y) < 4) return;
      from.moved = true;
      box.scrollLeft -= event.clientX - from.x;
      box.scrollTop -= event.clientY - from.y;
      [from.x, from.y] = [event.clientX, event.clientY];
    });
    box.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 200));
    }, { passive: false });
  }
  function search() {
    if (!picture) return;
    const pattern = P.pattern(P.state.get("search"));
    let found = 0;
    shown.nodes.forEach((name, n) => {
      const matches = !!pattern && pattern.test(name);
      found += matches ? 1 : 0;
      const node = picture.querySelector(`#node${n + 1}`);
      node?.classList.toggle("matched", matches);
      node?.classList.toggle("faded", !!pattern && !matches);
    });
    P.found(pattern ? `${P.number(found)} functions` : "");
  }

  P.views.graph = {
    async show(host) {
      const answer = await P.ask("view", "/api/graph", P.state.query({ nodes: P.state.get("nodes") }));
      if (shown !== answer || !host.firstChild) { shown = answer; draw(host, answer); } else search();
    },
    focus: () => box?.focus(),
    search,
    key: (event) => {
      const factors = { "+": 1.25, "=": 1.25, "-": 1 / 1.25, 0: 0 };
      if (!(event.key in factors)) return false;
      zoom(factors[event.key]);
      return true;
    },
  };
})();
