/* Moves among the states of explorer_data.js: no number is computed here, sliders stop where the package was asked. */
(() => {
  const data = window.causalmixExplorer;
  const unpack = ({ digits, least, text }) => {
    const letter = {}, rows = [], n = data.letters.length;
    [...data.letters].forEach((c, i) => { letter[c] = i; });
    for (let i = 0; i < text.length; i += 2) {
      const j = (i / 2) % digits.length;
      if (!j) rows.push([]);
      rows[rows.length - 1].push((letter[text[i]] * n + letter[text[i + 1]] + least[j]) / 10 ** digits[j]);
    }
    return rows;
  };
  const states = unpack(data.states), runs = unpack(data.runs), K = data.domains.length, d = data.axes.length;
  const decimals = Math.max(data.states.digits[0], 0), GAIN = 3 * K, SHARE = GAIN + 3, FLAGS = SHARE + K;
  const signed = (v) => (v < 0 ? "\u2212" : "+") + Math.abs(v).toFixed(decimals);
  const brief = (v) => +v.toPrecision(3);
  const percent = (v) => (100 * v).toFixed(1) + "%";
  const ends = ([low, high]) => `[${signed(low)}, ${signed(high)}]`;
  const seen = states.filter((s) => s[FLAGS] & 2);
  const span = [Math.min, Math.max].map((best, end) => best(0, ...(seen.length ? seen : states)
    .flatMap((s) => data.domains.map((_, k) => s[3 * k + 1 + end]))));

  const make = (parent, tag, attributes = {}, text = "") => {
    const drawn = ["svg", "line", "rect", "circle", "text", "title"].includes(tag);
    const node = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== "") node.textContent = text;
    return parent.appendChild(node);
  };
  const fill = (table, head, rows) => {
    table.replaceChildren();
    const line = (parent, cells, tag) => {
      const row = make(parent, "tr");
      cells.forEach((cell, i) => make(row, i ? tag : "th", { scope: parent.tagName === "THEAD" ? "col" : "row" }, cell));
    };
    line(make(table, "thead"), head, "th");
    const body = make(table, "tbody");
    rows.forEach((cells) => line(body, cells, "td"));
  };

  /* One row a domain: its name, what `draw` puts between `left` and the number, and the number. */
  const chart = (svg, label, numbers, draw) => {
    const width = Math.max(svg.parentNode.clientWidth, 240), height = 26 * K + 24;
    const left = Math.min(130, 16 + 8 * Math.max(...data.domains.map((name) => name.length))), right = width - 74;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-label", label);
    data.domains.forEach((name, k) => {
      make(svg, "text", { x: left - 10, y: 26 * k + 18, "text-anchor": "end" }, name);
      make(svg, "text", { x: width, y: 26 * k + 18, "text-anchor": "end" }, numbers[k]);
    });
    draw((v, low, high) => left + (right - left) * Math.min(Math.max((v - low) / (high - low || 1), 0), 1), height - 24);
  };
  const tick = (svg, x, bottom, text) => {
    make(svg, "line", { x1: x, x2: x, y1: 0, y2: bottom, class: "axis" });
    make(svg, "text", { x, y: bottom + 16, "text-anchor": "middle", class: "faint" }, text);
  };

  const start = (root, number) => {
    const wanted = root.dataset.axes ? root.dataset.axes.split(",").map((name) => name.trim()) : null;
    const at = data.axes.map((axis) => Math.floor(axis.values.length / 2));
    const form = make(root, "form", { "aria-label": "The state" });
    const sliders = data.axes.map((axis, j) => {
      if (axis.values.length < 2 || (wanted && !wanted.includes(axis.name))) return null;
      const id = `explorer-${number}-${j}`;  /* an output can be labelled as well, so the slider has to be named */
      const label = make(form, "label", { for: id }, axis.name + " "), told = make(label, "output");
      const slider = make(label, "input", { id, type: "range", min: 0, max: axis.values.length - 1, step: 1 });
      slider.addEventListener("input", () => { at[j] = +slider.value; show(); });
      return { slider, told };
    });
    make(form, "button", { type: "button" }, "Back to the middle").addEventListener("click", () => {
      data.axes.forEach((axis, j) => { at[j] = Math.floor(axis.values.length / 2); });
      show();
    });
    const verdict = make(root, "p", { class: "verdict", "aria-live": "polite" });
    const graph = (caption) => {
      const figure = make(root, "figure"), svg = make(figure, "svg", { role: "img" });
      make(figure, "figcaption", {}, caption);
      return svg;
    };
    const returns = graph(`Return of each domain in this state, ${data.outcome} per unit of log share, with 95% intervals.`);
    const shares = graph("The recommended mixture; the line is Equal. A dashed bar is the best move found where it is not recommended.");
    const tabled = (caption, kind) => {
      const figure = make(root, "figure");
      make(figure, "figcaption", {}, caption);
      return make(make(figure, "div", { class: "wide" }), "table", { class: "table " + kind, "aria-label": caption });
    };
    const whole = root.dataset.small === undefined;
    const table = whole && tabled("The same in numbers.", "same");
    const near = whole && tabled("The recorded runs that are closest to this state and this mixture.", "runs");

    const show = () => {
      const s = states[at.reduce((index, i, j) => index * data.axes[j].values.length + i, 0)];
      const [evidence, inRuns, supported] = [1, 2, 4].map((bit) => Boolean(s[FLAGS] & bit));
      const interval = (k) => [s[3 * k + 1], s[3 * k + 2]];
      const shown = data.domains.map((_, k) => (evidence ? s[SHARE + k] : 1 / K));
      sliders.forEach((one, j) => {
        if (!one) return;
        const text = `${data.axes[j].values[at[j]]}, above ${Math.round(100 * data.axes[j].below[at[j]])}% of the runs`;
        one.slider.value = at[j];
        one.slider.setAttribute("aria-valuetext", text);
        one.told.textContent = text;
      });
      const gain = `${signed(s[GAIN])} ${ends([s[GAIN + 1], s[GAIN + 2]])} in ${data.outcome}`;
      const size = data.size ? `, for ${data.size}` : "";
      verdict.className = "verdict" + (inRuns && supported ? "" : " beyond");
      verdict.textContent = (evidence
        ? `Recommended: the mixture below. Its gain over Equal is ${gain}${size}. `
        : `Recommended: keep Equal. The best move found gains ${gain}${size}, an interval that holds zero, so there is no evidence for moving. `)
        + (!inRuns ? `This state lies outside of what was seen: none of the ${data.count} runs had one like it, so the model alone says all this.`
          : supported ? "The history has runs in such a state and near such a mixture."
            : "The history has runs in such a state, but the mixture lies outside of what was seen: its gain rests on the form of the model.");
      chart(returns, "Returns with intervals", data.domains.map((_, k) => signed(s[3 * k])), (x, bottom) => {
        tick(returns, x(0, ...span), bottom, "0");
        data.domains.forEach((_, k) => {
          const y = 26 * k + 13, [low, high] = interval(k).map((v) => x(v, ...span));
          make(returns, "line", { x1: low, x2: high, y1: y, y2: y, class: "interval" });
          make(returns, "circle", { cx: x(s[3 * k], ...span), cy: y, r: 5 });
        });
      });
      chart(shares, "Shares of the recommended mixture", shown.map(percent), (x, bottom) => {
        const bar = (v, y, height, kind) => make(shares, "rect", { x: x(0, 0, 1), y, width: x(v, 0, 1) - x(0, 0, 1), height, class: kind });
        data.domains.forEach((_, k) => {
          bar(shown[k], 26 * k + 5, 16, "share");
          if (!evidence) bar(s[SHARE + k], 26 * k + 5, 16, "best");
        });
        tick(shares, x(1 / K, 0, 1), bottom, percent(1 / K));
      });
      if (!table) return;
      fill(table, ["domain", "return", "95% interval", "best move found"],
        data.domains.map((name, k) => [name, signed(s[3 * k]), ends(interval(k)), percent(s[SHARE + k])]));
      const found = s.slice(FLAGS + 1, FLAGS + 1 + data.near);
      fill(near,
        ["run", ...data.axes.map((axis) => axis.name), ...data.domains, data.outcome],
        found.map((i) => [data.names[i], ...runs[i].slice(K, K + d).map(brief), ...runs[i].slice(0, K).map(percent), brief(runs[i][K + d])]));
    };
    show();
    new ResizeObserver(show).observe(root);
    window.matchMedia("print").addEventListener("change", show);
  };
  document.querySelectorAll(".explorer:empty").forEach(start);  /* a page may load this twice */
})();
