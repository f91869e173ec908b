// The page of points: a cloud of noise becomes data under the perfect denoiser; every dial of chapters 06 and 07.

import { choice, dial, h, labelled } from "./controls.mjs";
import { FACE, PARTS_OF_FACE, measure, run } from "./mixture.mjs";

const COUNT = 2000, SEED = 13; // as in chapter 07
const REACH = 2.8, SIDE = 480; // of the plane that is shown, from -REACH to REACH; pixels of the canvas
const PACE = 120; // milliseconds a step while it plays
const COLOURS = ["#1f77b4", "#d1495b", "#2a7f3f", "#8a5a00", "#6a3fa0", "#007f86"]; // of parts
const TWO = { rho: [0.35, 0.65], mu: [[-1.2, 0], [0.7, 0]], tau: [0.25, 0.25], part: [0, 1] };
const MIXTURES = [["face", "the face of the chapters"], ["two", "two blobs"], ["own", "your own: click below"]];
const SAMPLERS = { ddpm: "DDPM", ddim: "DDIM", "dpm++": "DPM-Solver++" };

class Points {
  constructor(place) {
    Object.assign(this, { place, step: 0, timer: null, own: [], cursor: [0, 0], wanted: 0, made: null });
    this.build();
    this.pickMixture();
  }

  build() {
    const again = { onchange: () => this.again() };
    this.kind = choice(MIXTURES, "face", { onchange: () => this.pickMixture() });
    this.label = choice([], null, again);
    this.sampler = choice(Object.entries(SAMPLERS), "dpm++", again);
    this.schedule = choice([["cosine", "cosine"], ["linear", "linear"]], "cosine", again);
    this.guidance = dial("guidance", { low: 0, high: 8, step: 0.5, value: 1 });
    this.eta = dial("eta, of DDIM", { low: 0, high: 1, step: 0.1, value: 0 });
    this.steps = dial("steps", { low: 1, high: 100, step: 1, value: 20 });
    this.size = dial("size of a new blob", { low: 0.05, high: 0.8, step: 0.05, value: 0.25 });
    for (const { field } of [this.guidance, this.eta, this.steps]) field.addEventListener("change", () => this.again());
    this.arrows = h("input", { type: "checkbox", onchange: () => this.draw() });
    this.canvas = h("canvas", { width: SIDE, height: SIDE, role: "img", tabindex: 0,
      onclick: (event) => this.click(event), onkeydown: (event) => this.key(event) });
    this.button = h("button", { type: "button", onclick: () => (this.timer ? this.pause() : this.play()) }, "Play");
    this.slider = h("input", { type: "range", min: 0, max: 20, value: 0, step: 1, "aria-label": "step",
      oninput: () => { this.pause(); this.show(Number(this.slider.value)); } });
    this.where = h("output");
    this.said = h("p", { class: "live-status", role: "status", "aria-live": "polite" });
    this.ownField = h("div", { class: "live-row" }, this.size.field,
      h("button", { type: "button", onclick: () => { this.own = []; this.pickMixture(); } }, "Clear"));
    this.place.replaceChildren(
      h("div", { class: "live-dials" }, labelled("data", this.kind), this.ownField, labelled("label", this.label),
        this.guidance.field, labelled("sampler", this.sampler), this.eta.field, labelled("schedule", this.schedule),
        this.steps.field),
      h("div", { class: "live-points" }, this.canvas,
        h("div", {}, h("div", { class: "live-row live-player" }, this.button, this.slider, this.where),
          h("label", {}, this.arrows, " show where each point's perfect guess lies"), this.said)));
  }

  // The data, and the labels that go with them.
  pickMixture() {
    const kind = this.kind.value, own = kind === "own";
    this.ownField.hidden = !own;
    const blobs = this.own.length ? this.own : [{ place: [0, 0], size: 0.25 }];
    const drawn = { rho: blobs.map(() => 1 / blobs.length), mu: blobs.map(({ place }) => place),
      tau: blobs.map(({ size }) => size), part: blobs.map((_, k) => k) };
    this.mixture = { face: FACE, two: TWO, own: drawn }[kind];
    const parts = [...new Set(this.mixture.part)];
    const names = kind === "face" ? PARTS_OF_FACE : parts.map((part) => `blob ${part + 1}`);
    const options = [["", "none"], ...parts.map((part) => [part, names[part]])];
    this.label.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
    this.names = names;
    return this.again();
  }

  get asked() {
    return this.label.value === "" ? null : Number(this.label.value);
  }

  // Sample anew; of several calls in a row the last one counts.
  async again() {
    const wanted = ++this.wanted;
    this.guidance.disabled = this.asked === null; // there is no label to press
    this.eta.disabled = this.sampler.value !== "ddim";
    const made = await run({ mixture: this.mixture, count: COUNT, seed: SEED, schedule: this.schedule.value,
      steps: this.steps.value, sampler: this.sampler.value, eta: this.eta.value, label: this.asked,
      scale: this.guidance.value });
    if (wanted !== this.wanted) return;
    this.made = made;
    this.slider.max = made.guesses.length;
    const { hits, spread, height } = measure(this.mixture, made.path.at(-1), this.asked);
    const target = this.asked === null ? "a blob" : `a blob of ${this.names[this.asked]}`;
    this.said.textContent = `In the end ${Math.round(100 * hits)} % of the ${COUNT} points lie within three deviations `
      + `of ${target}; their spread is ${spread.toFixed(2)}, their mean height ${height.toFixed(2)}.`;
    this.pause();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.show(made.guesses.length);
    else this.play();
  }

  play() {
    this.pause();
    if (this.step >= this.made.guesses.length) this.step = 0;
    this.show(this.step);
    this.timer = setInterval(() => {
      if (this.step >= this.made.guesses.length) this.pause();
      else this.show(this.step + 1);
    }, PACE);
    this.button.textContent = "Pause";
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = "Play";
  }

  show(step) {
    this.step = Math.min(step, this.made.guesses.length);
    this.slider.value = this.step;
    this.where.textContent = `step ${this.step} of ${this.made.guesses.length}`;
    this.draw();
  }

  draw() {
    const { canvas, mixture, step, made: { path, guesses } } = this, context = canvas.getContext("2d");
    const at = ([x, y]) => [((x + REACH) / (2 * REACH)) * SIDE, ((REACH - y) / (2 * REACH)) * SIDE];
    const points = path[step], next = guesses[Math.min(step, guesses.length - 1)];
    context.fillStyle = "white";
    context.fillRect(0, 0, SIDE, SIDE);
    mixture.mu.forEach((place, k) => { // two deviations of each blob
      context.strokeStyle = COLOURS[mixture.part[k] % COLOURS.length];
      context.lineWidth = mixture.part[k] === this.asked ? 3 : 1.5;
      context.beginPath();
      context.arc(...at(place), (2 * mixture.tau[k] * SIDE) / (2 * REACH), 0, 2 * Math.PI);
      context.stroke();
    });
    if (this.arrows.checked && step < guesses.length) {
      context.strokeStyle = "rgba(0, 0, 0, 0.25)";
      context.lineWidth = 1;
      context.beginPath();
      for (let i = 0; i < points.length; i += 16) {
        context.moveTo(...at([points[i], points[i + 1]]));
        context.lineTo(...at([next[i], next[i + 1]]));
      }
      context.stroke();
    }
    context.fillStyle = "rgba(20, 60, 120, 0.5)";
    for (let i = 0; i < points.length; i += 2) {
      const [x, y] = at([points[i], points[i + 1]]);
      context.fillRect(x - 1.25, y - 1.25, 2.5, 2.5);
    }
    if (this.kind.value === "own" && document.activeElement === canvas) {
      const [x, y] = at(this.cursor);
      context.strokeStyle = "black";
      context.strokeRect(x - 6, y - 6, 12, 12);
    }
    const what = this.kind.selectedOptions[0].textContent;
    canvas.setAttribute("aria-label", `${COUNT} points after step ${step} of ${guesses.length}; circles: ${what}`);
  }

  // ------------------------------------------------------------ a mixture of one's own

  click(event) {
    const box = this.canvas.getBoundingClientRect();
    this.add([event.clientX - box.left, box.bottom - event.clientY].map((v) => (2 * REACH * v) / box.width - REACH));
  }

  key(event) {
    const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    if (this.kind.value !== "own" || !(event.key in moves || event.key === "Enter")) return;
    event.preventDefault();
    if (event.key === "Enter") this.add([...this.cursor]);
    else {
      this.cursor = this.cursor.map((v, c) => Math.max(-REACH, Math.min(REACH, v + moves[event.key][c])));
      this.draw();
    }
  }

  add(place) {
    if (this.kind.value !== "own") return;
    this.own.push({ place, size: this.size.value });
    this.pickMixture();
  }
}

const place = document.getElementById("points");
if (place) place.page = new Points(place);
