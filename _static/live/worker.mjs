// Computes beside the page, so that it stays alive: fetches runtime and model, generates, tells the page how far it is.

import { Model, checkDescription } from "./model.mjs";

const RUNTIMES = {
  wasm: { script: "ort.wasm.min.mjs", glue: "ort-wasm-simd-threaded.mjs", binary: "ort-wasm-simd-threaded.wasm.gz" },
  webgpu: {
    script: "ort.webgpu.min.mjs", glue: "ort-wasm-simd-threaded.asyncify.mjs",
    binary: "ort-wasm-simd-threaded.asyncify.wasm.gz",
  },
};
const FAR = 1e-2; // a device whose answers are farther from PyTorch's than this is not used

const runtimes = {}; // by kind, once fetched
let model = null, stopped = false, fetched = 0;

const say = (said, more = {}, transfer = []) => postMessage({ said, ...more }, transfer);

// The bytes of a file, with progress. A .gz is unpacked here, unless the server has done so on the way.
async function bytesOf(url, what, expected) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: the server answers ${answer.status}`);
  const chunks = [];
  let loaded = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    fetched += value.length;
    say("download", { what, loaded: (loaded += value.length), expected: Math.max(expected, loaded) });
  }
  const blob = new Blob(chunks), [first, second] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const packed = url.pathname.endsWith(".gz") && first === 0x1f && second === 0x8b;
  return new Response(packed ? blob.stream().pipeThrough(new DecompressionStream("gzip")) : blob).arrayBuffer();
}

async function checked(bytes, part) {
  const hash = globalThis.crypto?.subtle && await crypto.subtle.digest("SHA-256", bytes); // not without https
  const digits = hash && Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hash && digits !== part.sha256) throw new Error(`${part.file} is not the file that model.json names`);
  return bytes;
}

async function runtime(kind, { root, sizes, threads }) {
  if (runtimes[kind]) return runtimes[kind];
  const names = RUNTIMES[kind], at = (name) => new URL(`runtime/${name}`, root);
  const binary = await bytesOf(at(names.binary), "ONNX Runtime", sizes[names.binary]);
  const ort = await import(at(names.script));
  ort.env.wasm.wasmBinary = binary;
  ort.env.wasm.wasmPaths = { mjs: at(names.glue).href };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return (runtimes[kind] = ort);
}

// Where to try to compute, the best first: on a real graphics processor if there is one.
async function kindsFor(device) {
  if (device !== "auto") return [device];
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return adapter && !adapter.info?.isFallbackAdapter ? ["webgpu", "wasm"] : ["wasm"];
}

// files: the reader's own, by their names; else those beside the page are fetched.
async function load({ root, sizes, description, files, device, threads }) {
  checkDescription(description);
  await model?.release();
  model = null;
  const began = performance.now(), before = fetched, parts = {};
  const fetchPart = ({ file, bytes }) => bytesOf(new URL(`model/${file}`, root), file, bytes);
  for (const [name, part] of Object.entries(description.parts)) {
    parts[name] = await checked(files ? files[part.file] : await fetchPart(part), part);
  }
  const refused = [];
  for (const kind of await kindsFor(device)) {
    try {
      const ort = await runtime(kind, { root, sizes, threads });
      say("building");
      model = await Model.load(ort, description, parts, kind);
      const difference = await model.differenceFromPyTorch();
      if (difference > FAR) throw new Error(`its answers are ${difference.toPrecision(2)} from PyTorch's`);
      say("ready", { kind, threads, difference, refused, bytes: fetched - before, ms: performance.now() - began });
      return;
    } catch (error) {
      model = null;
      refused.push(`${kind}: ${error.message}`);
    }
  }
  throw new Error(refused.join("; "));
}

async function generate(asked) {
  stopped = false;
  const began = performance.now(), before = model.passes;
  const made = await model.generate({
    ...asked,
    seen: async (i, motion) => {
      say("step", { step: i + 1, steps: asked.steps, ...motion }, [motion.flow.buffer, motion.occlusion.buffer]);
      await new Promise((resolve) => setTimeout(resolve)); // let a "stop" come in
      return stopped;
    },
  });
  if (!made) return say("stopped");
  const { video, flow, occlusion } = made, passes = model.passes - before;
  say("video", { video, flow, occlusion, passes, ms: performance.now() - began });
}

onmessage = async ({ data: { ask, ...more } }) => {
  if (ask === "stop") {
    stopped = true;
    return;
  }
  try {
    await { load, generate }[ask](more);
  } catch (error) {
    say("error", { message: error.message ?? String(error) });
  }
};
