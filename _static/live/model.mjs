// A model that `lfdm export-onnx` wrote, run by ONNX Runtime: image + label -> video. Knows nothing of any page.

import { standardNormal } from "./noise.mjs";
import { guided, guidedUntil, sample } from "./sampler.mjs";

export const KIND = "LFDM for the browser", FORMAT_VERSION = 2;

// Whether a parsed model.json is one; says in words what is wrong.
export function checkDescription(description) {
  if (description?.kind !== KIND) throw new Error(`model.json is not of a model that lfdm export-onnx wrote`);
  if (description.format_version !== FORMAT_VERSION) {
    const [theirs, ours] = [description.format_version, FORMAT_VERSION];
    throw new Error(`model.json has format ${theirs}, this page reads ${ours}: export again`);
  }
  return description;
}

export class Model {
  // ort: the runtime; files: the bytes of each part by its name; kind: "wasm", or "webgpu" for the denoisers alone: the
  // decoder's anti-aliased resizing is not there on WebGPU, and encoder and decoder run once a video.
  static async load(ort, description, files, kind) {
    const model = new Model();
    Object.assign(model, { ort, description: checkDescription(description), sessions: {}, passes: 0 });
    for (const name of Object.keys(description.parts)) {
      const graphics = kind === "webgpu" && ["denoiser", "fast"].includes(name);
      const options = { executionProviders: graphics ? ["webgpu", "wasm"] : ["wasm"], logSeverityLevel: 3 }; // errors
      model.sessions[name] = await ort.InferenceSession.create(files[name], options);
    }
    return model;
  }

  async release() {
    for (const session of Object.values(this.sessions)) await session.release();
  }

  // Run a part; arrays in the order of its inputs.
  async run(name, ...given) {
    const { ort, sessions: { [name]: session }, description: { parts: { [name]: part } } } = this;
    const feeds = {};
    part.inputs.forEach((input, i) => {
      const { shape } = session.inputMetadata[session.inputNames.indexOf(input)];
      const type = given[i] instanceof BigInt64Array ? "int64" : "float32";
      feeds[input] = new ort.Tensor(type, given[i], shape);
    });
    const found = await session.run(feeds);
    return part.outputs.map((output) => found[output].data);
  }

  get motionNumbers() {
    return this.description.motion_shape.reduce((product, n) => product * n);
  }

  // What the denoiser makes of x at step t for a label; `numbers` are NaN where not given.
  async pass(name, x, t, z0, label, numbers) {
    this.passes += 1;
    const asked = this.description.parts[name].inputs.includes("numbers") ? [Float32Array.from(numbers)] : [];
    const whole = (number) => BigInt64Array.of(BigInt(number));
    const [answer] = await this.run(name, x, whole(t), z0, whole(label), ...asked);
    return answer;
  }

  // image: Float32Array (3, s, s) in [0, 1]; numbers: one each of the model's, NaN where not given; guidedSteps: in how
  // many of the steps guidance counts, the others take one pass; spacing: of the steps; seen(i, motion) is told of the
  // motion after each step.
  // Answers {video, flow, occlusion}, or null where `seen` has ended it.
  async generate(asked) {
    const { image, label, numbers, scale, steps, guidedSteps = steps, spacing = 1, seed, fast = false } = asked;
    const { seen = () => false } = asked, { description } = this, { null_label, usable_steps } = description;
    const until = guidedUntil(usable_steps, steps, guidedSteps, spacing);
    const features = await this.run("encoder", image);
    const z0 = features.at(-1), nothing = numbers.map(() => NaN);
    const scaleAt = (t) => (scale && t < until ? 1 : scale); // at 0 the label is heard in no step
    const twoPasses = (x, t) => guided(scaleAt(t), () => this.pass("denoiser", x, t, z0, label, numbers),
                                                   () => this.pass("denoiser", x, t, z0, null_label, nothing));
    const onePass = (x, t) => this.pass("fast", x, t, z0, label, [...numbers, scale]);
    const x0 = await sample({
      description, steps, spacing, noise: standardNormal(seed, this.motionNumbers), denoise: fast ? onePass : twoPasses,
      sampler: fast ? description.fast.sampler : "dpm++", seen: (i, estimate) => seen(i, this.unpack(estimate)),
    });
    if (!x0) return null;
    const motion = this.unpack(x0);
    const [video] = await this.run("decoder", motion.flow, motion.occlusion, ...features);
    return { video, ...motion };
  }

  // The model's data -> flow in normalized units and occlusion in [0, 1]; inverse of GaussianDiffusion.pack_motion.
  unpack(x) {
    const { motion_shape: [, frames, h, w], flow_scale, flow_is_absolute } = this.description;
    const size = frames * h * w;
    const flow = x.slice(0, 2 * size).map((value, i) => {
      const place = i < size ? (2 * (i % w) + 1) / w - 1 : (2 * (Math.floor(i / w) % h) + 1) / h - 1; // of x, then y
      return (flow_is_absolute ? value - place : value) * flow_scale[i < size ? 0 : 1];
    });
    const occlusion = x.slice(2 * size, 3 * size).map((value) => Math.min(1, Math.max(0, (value + 1) / 2)));
    return { flow, occlusion };
  }

  // The largest difference between what these networks answer and what PyTorch answered when the model was exported.
  async differenceFromPyTorch() {
    const { known_answer: known, image_size, numbers } = this.description;
    const features = await this.run("encoder", new Float32Array(3 * image_size ** 2).fill(0.5));
    const x = standardNormal(known.seed, this.motionNumbers), { flow, occlusion } = this.unpack(x);
    const answers = {
      denoiser: await this.pass("denoiser", x, known.t, features.at(-1), known.label, numbers.map(() => NaN)),
      decoder: (await this.run("decoder", flow, occlusion, ...features))[0],
    };
    const distances = Object.entries(known.answers).flatMap(([name, values]) => {
      const every = Math.ceil(answers[name].length / values.length);
      return values.map((value, i) => Math.abs(value - answers[name][i * every]));
    });
    return distances.some(Number.isNaN) ? Infinity : Math.max(...distances);
  }
}
