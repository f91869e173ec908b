// The live page: a picture, a label, dials; the flow while it is denoised; the video. Computing is the worker's.

import { choice, dial, h, labelled, pictureChoice, recorded, stage } from "./controls.mjs";
import { checkDescription } from "./model.mjs";
import { flowFrames, greyFrames, readPicture, videoFrames } from "./pictures.mjs";
import { Player } from "./player.mjs";

const HERE = new URL(".", import.meta.url);
const STEPS = [4, 8, 20], FEW = 8;
const GUIDANCE = { low: 0, high: 6, step: 0.1 };
const MOST_THREADS = 4, LARGEST_SEED = 2 ** 31 - 1;
const PAUSE_BETWEEN_WORDS = 1000; // milliseconds: a screen reader is not told every step
const DEVICES = [["auto", "best there is"], ["wasm", "processor (WebAssembly)"], ["webgpu", "graphics (WebGPU)"]];
const OF_PROCESSOR = /^(ort\.wasm|ort-wasm-simd-threaded\.(mjs|wasm))/; // files of the runtime that WebAssembly takes

const MB = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

class Page {
  constructor(place, contents, description) {
    Object.assign(this, { place, contents, files: null, loaded: false, busy: false, heard: 0, known: {} });
    this.build();
    this.describe(description);
    this.choose(contents.pictures[0]);
  }

  // ------------------------------------------------------------ what stands on the page

  build() {
    this.dials = h("div", { class: "live-dials" });
    this.go = h("button", { type: "submit", class: "live-go" }, "Generate");
    const stop = () => this.worker.postMessage({ ask: "stop" });
    this.stop = h("button", { type: "button", class: "live-stop", disabled: true, onclick: stop }, "Stop");
    this.status = h("p", { class: "live-status", role: "status", "aria-live": "polite" });
    this.progress = h("progress", { class: "live-idle", max: 1, value: 0, "aria-label": "progress" });
    this.facts = h("dl", { class: "live-facts" });
    this.device = choice(DEVICES, "auto", { onchange: () => this.forget() });
    const own = h("input", { type: "file", multiple: true, accept: ".onnx,.json" });
    own.addEventListener("change", () => this.take(own.files));
    const { element, canvases, controls } = stage(this.facts);
    this.canvases = canvases;
    this.player = new Player(canvases, controls);
    const submit = (event) => {
      event.preventDefault();
      this.generate();
    };
    this.form = h("form", { onsubmit: submit },
      pictureChoice(this.contents.pictures, HERE, (picture) => this.choose(picture)),
      h("fieldset", {}, h("legend", {}, "Motion"), this.dials),
      h("div", { class: "live-row" }, this.go, this.stop));
    this.place.replaceChildren(this.form, this.status, this.progress, element,
      h("details", {}, h("summary", {}, "Where it computes, and a model of your own"),
        labelled("compute on the", this.device),
        h("p", {}, "Export a model with ", h("code", {}, "lfdm export-onnx CHECKPOINT --out FOLDER"),
          ", then choose all files of that folder. They stay on your computer."),
        labelled("files of an export", own)));
  }

  // Dials for what this model can be told.
  describe(description) {
    this.description = checkDescription(description);
    const { labels, numbers, guidance_scale, usable_steps, fast, quick } = description;
    this.label = choice(labels.map((name, i) => [i, name]), labels.length - 1);
    const counts = STEPS.filter((count) => count <= usable_steps).map((count) => [count, count]);
    const few = fast ? [["fast", `${fast.steps}, by the fast network`]] : [];
    if (quick) few.push(["quick", `${quick[0]}, the first ${quick[1] > 1 ? `${quick[1]} ` : ""}guided`]);
    this.steps = choice([...few, ...counts], few[0]?.[0] ?? FEW);
    this.numbers = numbers.map(({ name, low, high }) => {
      const value = [0, 1].find((plain) => low <= plain && plain <= high) ?? low;
      return dial(name, { low, high, step: 0.01, value, any: true });
    });
    this.guidance = dial("guidance", { ...GUIDANCE, value: guidance_scale });
    this.seed = h("input", { type: "number", min: 0, max: LARGEST_SEED, step: 1, value: 0, required: true });
    const draw = () => { this.seed.value = Math.floor(Math.random() * 1e6); };
    this.dials.replaceChildren(
      labelled("label", this.label), ...this.numbers.map(({ field }) => field), this.guidance.field,
      labelled("steps", this.steps),
      labelled("seed", this.seed, h("button", { type: "button", onclick: draw }, "Another")));
    this.forget();
  }

  // The model must be loaded (anew).
  forget() {
    this.loaded = false;
    const parts = MB(sum(Object.values(this.description.parts).map((part) => part.bytes)));
    const files = Object.entries(this.contents.runtime).filter(([name]) => OF_PROCESSOR.test(name));
    const what = this.files ? `your model (${parts}) is read from your computer` : `the model (${parts}) is downloaded`;
    const runtime = `ONNX Runtime (${MB(sum(files.map(([, bytes]) => bytes)))}; more for WebGPU)`;
    this.tell(`At the first video ${what}, and ${runtime}. Nothing you choose leaves your computer.`);
  }

  tell(words, { always = true } = {}) {
    if (!always && performance.now() - this.heard < PAUSE_BETWEEN_WORDS) return;
    this.heard = performance.now();
    this.status.textContent = words;
  }

  fact(name, value) {
    this.known[name] = value;
    const pairs = Object.entries(this.known).flatMap(([term, said]) => [h("dt", {}, term), h("dd", {}, said)]);
    this.facts.replaceChildren(...pairs);
  }

  caption(name, words) {
    this.canvases[name].setAttribute("aria-label", words);
    this.canvases[name].nextSibling.textContent = words;
  }

  // ------------------------------------------------------------ what is chosen

  // A video that is asked for meanwhile waits for the picture.
  choose(picture) {
    return (this.choosing = this.read(picture));
  }

  async read(picture) {
    const own = picture instanceof Blob;
    try {
      const blob = own ? picture : await (await fetch(new URL(`pictures/${picture}`, HERE))).blob();
      this.image = await readPicture(blob, this.description.image_size);
    } catch {
      this.tell(`${picture.name ?? picture} cannot be read as a picture; PNG, JPEG and WebP can.`);
      return;
    }
    if (own) for (const radio of this.form.elements["live-picture"]) radio.checked = false;
    this.chosen = picture;
    this.still();
  }

  // The given picture, and no motion yet.
  still() {
    const { image_size: size, motion_shape: [, , side] } = this.description;
    this.player.pause();
    this.player.set("video", videoFrames(this.image, 1, size));
    for (const name of ["flow", "occlusion"]) this.player.set(name, [new ImageData(side, side)]); // clear
    this.caption("video", "the given picture");
    this.caption("flow", "flow: none yet");
    this.caption("occlusion", "occlusion map: none yet");
  }

  // The files of a reader's own export.
  async take(list) {
    try {
      const read = async (file) => [file.name, await file.arrayBuffer()];
      const files = Object.fromEntries(await Promise.all(Array.from(list, read)));
      if (!files["model.json"]) throw new Error("model.json is not among them");
      const description = checkDescription(JSON.parse(new TextDecoder().decode(files["model.json"])));
      const missing = Object.values(description.parts).map((part) => part.file).filter((name) => !files[name]);
      if (missing.length) throw new Error(`${missing.join(", ")} missing`);
      this.files = files;
      this.describe(description);
      await this.choose(this.chosen);
    } catch (error) {
      this.tell(`These files are no model: ${error.message}. Choose all files that lfdm export-onnx wrote.`);
    }
  }

  // ------------------------------------------------------------ what is asked of the worker

  async generate() {
    if (this.busy) return;
    this.set({ busy: true });
    this.began = performance.now();
    await this.choosing;
    if (!this.image) return this.set({ busy: false }); // it could not be read, as the page has said
    if (!this.worker) {
      this.worker = new Worker(new URL("worker.mjs", HERE), { type: "module" });
      this.worker.onmessage = ({ data: { said, ...more } }) => this[`on_${said}`](more);
      this.worker.onerror = (event) => this.on_error({ message: event.message || "the worker could not start" });
    }
    if (this.loaded) this.ask();
    else this.load();
  }

  load() {
    const cores = navigator.hardwareConcurrency || 1;
    this.worker.postMessage({
      ask: "load", root: HERE.href, sizes: this.contents.runtime, description: this.description, files: this.files,
      device: this.device.value, threads: globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, cores) : 1,
    });
  }

  ask() {
    const way = this.steps.value, fast = way === "fast", plain = fast ? this.description.fast.steps : Number(way);
    const [steps, guidedSteps, spacing = 1] = way === "quick" ? this.description.quick : [plain, plain];
    this.asked = {
      image: this.image, label: Number(this.label.value), numbers: this.numbers.map((one) => one.value),
      scale: this.guidance.value, steps, guidedSteps, spacing, seed: Number(this.seed.value), fast,
    };
    this.set({ busy: true, stoppable: true });
    this.worker.postMessage({ ask: "generate", ...this.asked });
    this.tell(`Denoising, step 1 of ${steps}.`);
  }

  set({ busy, stoppable = false }) {
    this.busy = busy;
    for (const fieldset of this.form.querySelectorAll("fieldset")) fieldset.disabled = busy;
    this.device.disabled = this.go.disabled = busy;
    this.stop.disabled = !stoppable;
    this.place.setAttribute("aria-busy", busy);
    this.progress.classList.toggle("live-idle", !busy);
    this.progress.value = 0;
  }

  // ------------------------------------------------------------ what the worker says

  on_download({ what, loaded, expected }) {
    this.progress.value = loaded / expected;
    this.tell(`Downloading ${what}: ${MB(loaded)} of ${MB(expected)}.`, { always: loaded === expected });
  }

  on_building() {
    this.progress.removeAttribute("value"); // for as long as it takes
    this.tell("Building the networks.");
  }

  on_ready({ kind, threads, difference, refused, bytes, ms }) {
    this.loaded = true;
    const processor = `processor, by WebAssembly, ${threads} thread${threads > 1 ? "s" : ""}`;
    const why = " (more need a server that sends isolation headers, as `make serve` does)";
    const alone = kind === "wasm" && !globalThis.crossOriginIsolated ? why : "";
    const not = refused.length ? `; not on ${refused.join("; ")}` : "";
    const graphics = "graphics processor, by WebGPU; painting on the processor";
    this.fact("computes on", (kind === "webgpu" ? graphics : processor) + alone + not);
    this.fact("largest difference from PyTorch, of two answers", difference.toExponential(0));
    this.fact("downloaded", `${MB(bytes)} in ${seconds(ms)}, networks built`);
    this.ask();
  }

  on_step({ step, steps, flow, occlusion }) {
    this.progress.value = step / steps;
    const last = step === steps;
    this.tell(last ? "Painting the frames." : `Denoising, step ${step + 1} of ${steps}.`, { always: last });
    this.showMotion(flow, occlusion);
    this.caption("flow", `flow, as it looks after step ${step} of ${steps}`);
    if (step === 1) this.player.begin();
  }

  showMotion(flow, occlusion) {
    const { motion_shape: [, frames, side] } = this.description, half = flow.length / 2;
    let longest = 1e-6;
    for (let i = 0; i < half; i++) longest = Math.max(longest, Math.hypot(flow[i], flow[i + half]));
    this.player.set("flow", flowFrames(flow, frames, side, longest));
    this.player.set("occlusion", greyFrames(occlusion, frames, side));
  }

  on_video({ video, flow, occlusion, passes, ms }) {
    const { image_size: size, motion_shape: [, frames], labels } = this.description, label = labels[this.asked.label];
    this.showMotion(flow, occlusion);
    this.player.set("video", videoFrames(video, frames, size));
    this.caption("flow", "flow: hue is where to look, depth how far");
    this.caption("occlusion", "occlusion map: dark is painted anew");
    this.caption("video", `the picture, asked for ${label}`);
    this.player.begin();
    const all = seconds(performance.now() - this.began);
    this.fact("this video", `${passes} passes and the painting in ${seconds(ms)}; ${all} from the press of the button`);
    this.set({ busy: false });
    this.tell(`Done: ${frames} frames of ${label}.`);
    this.place.dispatchEvent(new CustomEvent("lfdm-video", { detail: { video, flow, occlusion, asked: this.asked } }));
  }

  on_stopped() {
    this.set({ busy: false });
    this.still();
    this.tell("Stopped.");
  }

  on_error({ message }) {
    this.set({ busy: false });
    this.tell(`That did not work: ${message}.`);
  }
}

async function start(place) {
  if (typeof WebAssembly !== "object" || typeof Worker !== "function") {
    return recorded(place, HERE, "This browser has no WebAssembly.");
  }
  const contents = await (await fetch(new URL("contents.json", HERE))).json();
  if (!contents.model) {
    const how = "`make site-assets` before `make book` adds it";
    return recorded(place, HERE, `This copy of the book was built without the model; ${how}.`);
  }
  place.page = new Page(place, contents, await (await fetch(new URL("model/model.json", HERE))).json());
}

const place = document.getElementById("live");
if (place) start(place).catch((error) => recorded(place, HERE, `The live model could not start (${error.message}).`));
