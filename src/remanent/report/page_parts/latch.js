// One latch under an input that the reader draws: z = |c| >= beta; h' = z (sgn(c) + epsilon h) + (1 - z) h.
// Beside it a linear unit, h' = lambda h + (1 - lambda) c.
(() => {
  "use strict";
  const STEPS = 160, RANGE = 2;

  function latch(input, threshold, epsilon) {
    let h = 0;
    return input.map((c) => {
      if (Math.abs(c) >= threshold) h = (c < 0 ? -1 : 1) + epsilon * h;
      return h;
    });
  }

  function fading(input, decay) {
    let h = 0;
    return input.map((c) => (h = decay * h + (1 - decay) * c));
  }

  function random(seed) { // a small generator, so that a preset is the same for every reader
    let s = seed;
    return () => {
      s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
      return s / 2 ** 32;
    };
  }

  function preset(name) {
    const draw = random(7), steps = Array.from({ length: STEPS }, (_, t) => t);
    const shapes = {
      pulse: (t) => (t >= 20 && t < 26 ? 1.5 : 0),
      pair: (t) => (t >= 20 && t < 26 ? 1.5 : t >= 90 && t < 96 ? -1.5 : 0),
      sine: (t) => 1.6 * Math.sin((4 * Math.PI * t) / STEPS),
      noise: (t) => (t >= 10 && t < 16 ? 1.5 : 1.8 * (draw() - 0.5)),
      clear: () => 0,
    };
    return steps.map(shapes[name]);
  }

  function start(root) {
    const view = (name) => root.querySelector(`[data-view="${name}"]`);
    const controls = Object.fromEntries([...root.querySelectorAll("[data-control]")].map((c) => [c.dataset.control, c]));
    const play = root.querySelector("[data-play]"), said = root.querySelector("[data-said]");
    const model = { input: preset("sine"), state: [], fading: [], at: STEPS - 1, playing: false };
    root.latch = model; // for whoever reads the page by script

    const x = (t, width) => (t / (STEPS - 1)) * width;
    const y = (value, height, range) => height / 2 - (value / range) * (height / 2 - 6);
    const line = (values, width, height, range, kind, upto) =>
      `<polyline class="${kind}" points="${values.slice(0, upto + 1).map((v, t) => `${x(t, width).toFixed(1)},${y(v, height, range).toFixed(1)}`).join(" ")}"/>`;
    const level = (value, width, height, range, kind) =>
      `<line class="${kind}" x1="0" x2="${width}" y1="${y(value, height, range)}" y2="${y(value, height, range)}"/>`;
    const cursor = (height) => `<line class="cursor" x1="${x(model.at, 480)}" x2="${x(model.at, 480)}" y1="0" y2="${height}"/>`;

    function show() {
      const [threshold, epsilon, decay] = ["threshold", "epsilon", "decay"].map((name) => Number(controls[name].value));
      for (const control of Object.values(controls)) control.parentElement.querySelector("output").textContent = Number(control.value).toFixed(control.dataset.control === "decay" ? 3 : 2);
      model.state = latch(model.input, threshold, epsilon);
      model.fading = fading(model.input, decay);
      const high = Math.max(1.3, 1.1 * Math.max(...model.state.map(Math.abs)));
      view("input").innerHTML = level(0, 480, 140, RANGE, "axis") + level(threshold, 480, 140, RANGE, "bound") +
        level(-threshold, 480, 140, RANGE, "bound") + line(model.input, 480, 140, RANGE, "given", STEPS) + cursor(140);
      view("state").innerHTML = level(0, 480, 110, high, "axis") + line(model.state, 480, 110, high, "held", model.at) + cursor(110);
      view("fading").innerHTML = level(0, 480, 110, 1.3, "axis") + line(model.fading, 480, 110, 1.3, "fades", model.at) + cursor(110);
      const place = (c, h) => `${(120 + (c / RANGE) * 114).toFixed(1)},${y(h, 240, high).toFixed(1)}`;
      const bound = (b) => `<line class="bound" x1="${120 + (b / RANGE) * 114}" x2="${120 + (b / RANGE) * 114}" y1="0" y2="240"/>`;
      const path = model.input.slice(0, model.at + 1).map((c, t) => place(c, model.state[t])).join(" ");
      const [left, top] = place(model.input[model.at], model.state[model.at]).split(",");
      view("loop").innerHTML = level(0, 240, 240, high, "axis") + bound(threshold) + bound(-threshold) +
        `<polyline class="held" points="${path}"/><circle class="now" cx="${left}" cy="${top}" r="5"/>`;
      view("input").setAttribute("aria-valuenow", model.input[model.at].toFixed(2));
      view("input").setAttribute("aria-valuetext", `step ${model.at + 1}: ${model.input[model.at].toFixed(2)}`);
      said.textContent = `Step ${model.at + 1} of ${STEPS}: candidate ${model.input[model.at].toFixed(2)}, ` +
        `latch ${model.state[model.at].toFixed(2)}, LRU ${model.fading[model.at].toFixed(2)}.`;
    }

    function stop() {
      model.playing = false;
      play.setAttribute("aria-pressed", "false");
      play.textContent = "play";
    }

    function tick() {
      if (!model.playing) return;
      model.at = Math.min(model.at + 1, STEPS - 1);
      if (model.at === STEPS - 1) stop();
      show();
      requestAnimationFrame(tick);
    }

    let last = null;
    function draw(event) {
      const box = view("input").getBoundingClientRect();
      const t = Math.max(0, Math.min(STEPS - 1, Math.round(((event.clientX - box.left) / box.width) * (STEPS - 1))));
      const inside = (0.5 - (event.clientY - box.top) / box.height) * 140 / 64;
      const value = Math.max(-RANGE, Math.min(RANGE, inside * RANGE));
      const from = last === null ? { t, value } : last, gap = Math.abs(t - from.t);
      for (let i = 0; i <= gap; i++) { // a fast hand leaves no holes
        const share = gap === 0 ? 1 : i / gap;
        model.input[Math.round(from.t + (t - from.t) * share)] = from.value + (value - from.value) * share;
      }
      last = { t, value };
      show();
    }

    const pane = view("input");
    pane.addEventListener("pointerdown", (event) => {
      stop();
      model.at = STEPS - 1;
      last = null;
      pane.setPointerCapture(event.pointerId);
      draw(event);
    });
    pane.addEventListener("pointermove", (event) => { if (last !== null) draw(event); });
    for (const end of ["pointerup", "pointercancel"]) pane.addEventListener(end, () => { last = null; });
    pane.addEventListener("keydown", (event) => {
      const keys = {
        ArrowLeft: () => { model.at = Math.max(0, model.at - 1); },
        ArrowRight: () => { model.at = Math.min(STEPS - 1, model.at + 1); },
        ArrowUp: () => { model.input[model.at] = Math.min(RANGE, model.input[model.at] + 0.1); },
        ArrowDown: () => { model.input[model.at] = Math.max(-RANGE, model.input[model.at] - 0.1); },
        Home: () => { model.at = 0; },
        End: () => { model.at = STEPS - 1; },
      };
      if (!(event.key in keys)) return;
      event.preventDefault();
      stop();
      keys[event.key]();
      show();
    });
    for (const button of root.querySelectorAll("[data-preset]")) {
      button.addEventListener("click", () => {
        stop();
        model.input = preset(button.dataset.preset);
        model.at = STEPS - 1;
        show();
      });
    }
    for (const control of Object.values(controls)) control.addEventListener("input", show);
    play.addEventListener("click", () => {
      if (model.playing) return stop();
      model.playing = true;
      model.at = 0;
      play.setAttribute("aria-pressed", "true");
      play.textContent = "stop";
      show();
      requestAnimationFrame(tick);
    });
    show();
  }

  for (const root of document.querySelectorAll("[data-latch]")) start(root);
})();
