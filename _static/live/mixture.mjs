// Points of a mixture of blobs in the plane, whose perfect denoiser is known: the arithmetic of chapters 06 and 07.

import { mersenneTwister, normalNumbers } from "./noise.mjs";
import { guided, sample } from "./sampler.mjs";

export const NUM_STEPS = 1000;

// A mixture: rho (K), mu (K pairs), tau (K), and the part that each blob belongs to. Moved and scaled to mean 0 and, on
// both coordinates together, variance 1, as the chapters' face is.
export function standardized({ rho, mu, tau, part }) {
  const total = rho.reduce((a, b) => a + b, 0), share = rho.map((r) => r / total);
  const mean = [0, 1].map((c) => share.reduce((sum, r, k) => sum + r * mu[k][c], 0));
  const centred = mu.map((place) => place.map((value, c) => value - mean[c]));
  const square = ([x, y], k) => (x * x + y * y) / 2 + tau[k] ** 2;
  const scale = Math.sqrt(share.reduce((sum, r, k) => sum + r * square(centred[k], k), 0));
  return { rho: share, mu: centred.map((place) => place.map((v) => v / scale)), tau: tau.map((t) => t / scale), part };
}

const MOUTH = Array.from({ length: 7 }, (_, i) => ((200 + (140 / 6) * i) * Math.PI) / 180)
  .map((angle) => [1.3 * Math.cos(angle), 0.2 + 1.3 * Math.sin(angle)]);
export const FACE = standardized({
  rho: [0.2, 0.2, 0.03, ...Array(7).fill(0.57 / 7)],
  mu: [[-0.8, 0.9], [0.8, 0.9], [1.5, 0.45], ...MOUTH],
  tau: [0.16, 0.16, 0.06, ...Array(7).fill(0.13)],
  part: [0, 0, 1, ...Array(7).fill(2)],
});
export const PARTS_OF_FACE = ["eyes", "freckle", "mouth"];

// alpha_bar of both schedules, as `cosine_betas` and `linear_betas` make it.
export function alphaBar(schedule) {
  const f = (t) => Math.cos(((t / NUM_STEPS + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
  const beta = (t) => (schedule === "cosine" ? Math.min(1 - f(t + 1) / f(t), 0.999)
    : 1e-4 + ((0.02 - 1e-4) * t) / (NUM_STEPS - 1));
  let product = 1;
  return Array.from({ length: NUM_STEPS }, (_, t) => (product *= 1 - beta(t)));
}

// x* = E[x_0 | x_t] for points (x, y, x, y, …); with a label the data are the blobs of that part alone.
export function perfect({ rho, mu, tau, part }, points, alphaBarT, label = null) {
  const alpha = Math.sqrt(alphaBarT), noise = 1 - alphaBarT; // sigma squared
  const blobs = rho.map((_, k) => k).filter((k) => label === null || part[k] === label);
  const variance = tau.map((t) => alphaBarT * t * t + noise);
  const guess = new Float64Array(points.length);
  const logs = new Float64Array(blobs.length);
  for (let i = 0; i < points.length; i += 2) {
    let most = -Infinity, total = 0;
    blobs.forEach((k, j) => {
      const dx = points[i] - alpha * mu[k][0], dy = points[i + 1] - alpha * mu[k][1];
      logs[j] = Math.log(rho[k] / (2 * Math.PI * variance[k])) - (dx * dx + dy * dy) / (2 * variance[k]);
      most = Math.max(most, logs[j]);
    });
    for (let j = 0; j < logs.length; j++) total += (logs[j] = Math.exp(logs[j] - most)); // r_k, but for the sum
    blobs.forEach((k, j) => {
      const gain = (alpha * tau[k] ** 2) / variance[k], r = logs[j] / total;
      for (let c = 0; c < 2; c++) guess[i + c] += r * (mu[k][c] + gain * (points[i + c] - alpha * mu[k][c]));
    });
  }
  return guess;
}

// Every x on the way from noise to data, the noise first, and each step's guess. The noise is torch's of that seed.
export async function run({ mixture, count, seed, schedule, steps, sampler, eta, label, scale }) {
  const draws = mersenneTwister(seed), draw = () => Float64Array.from(normalNumbers(draws, 2 * count));
  const noise = draw(), path = [noise], guesses = [], levels = alphaBar(schedule);
  const asked = (x, t) => perfect(mixture, x, levels[t], label), free = (x, t) => perfect(mixture, x, levels[t]);
  const denoise = (x, t) => guided(label === null ? 0 : scale, () => asked(x, t), () => free(x, t));
  await sample({
    description: { alpha_bar: levels, usable_steps: NUM_STEPS, parameterization: "x0" },
    noise, steps, sampler, eta, draw, denoise,
    seen: (_, x0, x) => {
      guesses.push(x0);
      path.push(x);
    },
  });
  return { path, guesses };
}

// Of points asked for a part: the share within three deviations of one of its blobs; of all, spread and mean height.
export function measure({ mu, tau, part }, points, label = null) {
  const blobs = mu.map((_, k) => k).filter((k) => label === null || part[k] === label), n = points.length / 2;
  const near = (i) => blobs.some((k) => Math.hypot(points[i] - mu[k][0], points[i + 1] - mu[k][1]) < 3 * tau[k]);
  const hits = Array.from({ length: n }, (_, i) => near(2 * i)).filter(Boolean).length / n;
  const deviations = [0, 1].map((c) => {
    const values = Array.from({ length: n }, (_, i) => points[2 * i + c]), mean = values.reduce((a, b) => a + b) / n;
    return { mean, deviation: Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1)) };
  });
  return { hits, spread: (deviations[0].deviation + deviations[1].deviation) / 2, height: deviations[1].mean };
}
