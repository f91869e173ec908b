// From noise to motion: the steps of lfdm_lite/samplers.py, in its symbols. alpha_bar: the signal's share of variance.

// Half of a number goes to the even neighbour, as in Python.
function roundHalfEven(x) {
  const down = Math.floor(x), rest = x - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

// `steps` of the steps 0 to numSteps - 1, descending (Lin et al. 2024, trailing spacing): evenly spaced, or with a
// spacing above 1 closer where it is noisy. A stride is at least one step.
export function timesteps(numSteps, steps, spacing = 1) {
  if (!(Number.isInteger(steps) && steps >= 1 && steps <= numSteps)) {
    throw new RangeError(`${steps} steps: expected a whole number from 1 to ${numSteps}`);
  }
  if (!(spacing >= 1)) throw new RangeError(`a spacing of ${spacing}: expected at least 1`);
  const path = [numSteps - 1];
  for (let i = 1; i < steps; i++) {
    path.push(Math.min(roundHalfEven(numSteps - (numSteps * i ** spacing) / steps ** spacing) - 1, path[i - 1] - 1));
  }
  return path;
}

// lambda = log(alpha / sigma)
const logSnr = (alphaBar) => 0.5 * (Math.log(alphaBar) - Math.log1p(-alphaBar));

// Lu et al. 2022: x_s = sigma_s / sigma_t x_t - alpha_s (e^-h - 1) D, with D extrapolated from two estimates of x0.
export function dpmSolverStep(xT, x0, x0Before, alphaBarT, alphaBarS, alphaBarBefore) {
  if (alphaBarS === 1) return x0;
  const h = logSnr(alphaBarS) - logSnr(alphaBarT);
  const extra = x0Before ? h / (2 * (logSnr(alphaBarT) - logSnr(alphaBarBefore))) : 0; // 1 / (2 r)
  const ofNoisy = Math.sqrt((1 - alphaBarS) / (1 - alphaBarT));
  const ofClean = -Math.sqrt(alphaBarS) * Math.expm1(-h);
  return x0.map((value, i) => {
    const D = extra ? (1 + extra) * value - extra * x0Before[i] : value;
    return ofNoisy * xT[i] + ofClean * D;
  });
}

// Song et al. 2021: x_s = alpha_s x0 + sqrt(1 - alpha_bar_s - sigma^2) eps + sigma noise; eta = 0 needs no noise.
export function ddimStep(x0, eps, alphaBarT, alphaBarS, eta = 0, noise = null) {
  const sigma = eta * Math.sqrt((1 - alphaBarS) / (1 - alphaBarT)) * Math.sqrt(1 - alphaBarT / alphaBarS);
  const alpha = Math.sqrt(alphaBarS), ofEps = Math.sqrt(Math.max(1 - alphaBarS - sigma ** 2, 0));
  return x0.map((value, i) => alpha * value + ofEps * eps[i] + (sigma ? sigma * noise[i] : 0));
}

// Ho et al. 2020: a draw from the posterior q(x_s | x_t, x_0).
export function ddpmStep(xT, x0, alphaBarT, alphaBarS, noise) {
  const alpha = alphaBarT / alphaBarS, beta = 1 - alpha;
  const ofClean = (Math.sqrt(alphaBarS) * beta) / (1 - alphaBarT);
  const ofNoisy = (Math.sqrt(alpha) * (1 - alphaBarS)) / (1 - alphaBarT);
  const deviation = Math.sqrt(((1 - alphaBarS) / (1 - alphaBarT)) * beta);
  return x0.map((value, i) => ofClean * value + ofNoisy * xT[i] + deviation * noise[i]);
}

// The x0 and eps that a network's answer at x_t stands for.
export function toX0Eps(xT, answer, alphaBarT, parameterization) {
  const alpha = Math.sqrt(alphaBarT), sigma = Math.sqrt(1 - alphaBarT);
  switch (parameterization) {
    case "x0": return [answer, xT.map((x, i) => (x - alpha * answer[i]) / sigma)];
    case "eps": return [xT.map((x, i) => (x - sigma * answer[i]) / alpha), answer];
    case "v": return [xT.map((x, i) => alpha * x - sigma * answer[i]), xT.map((x, i) => sigma * x + alpha * answer[i])];
  }
  throw new RangeError(`parameterization ${parameterization}: expected x0, eps or v`);
}

// Ho & Salimans 2022: unconditional + s (conditional - unconditional); one pass suffices where s is 0 or 1.
export async function guided(scale, conditional, unconditional) {
  if (scale === 1) return conditional();
  const nothingAsked = await unconditional();
  if (scale === 0) return nothingAsked;
  const asked = await conditional();
  return nothingAsked.map((value, i) => value + scale * (asked[i] - value));
}

// The least noisy step with guidance where it counts in so many of the steps, the noisiest; 0: in all of them.
export function guidedUntil(numSteps, steps, guidedSteps, spacing = 1) {
  return guidedSteps >= steps ? 0 : timesteps(numSteps, steps, spacing)[guidedSteps - 1];
}

// Denoise `noise` in as many steps as asked. `denoise(x, t)` answers; `seen(i, x0, x)` is told of each step's estimate,
// and of x after it, and may end it all by answering true: then there is no result. `draw()` gives noise for samplers
// that throw dice: "ddpm", and "ddim" with an eta above 0.
export async function sample(how) {
  const { description, noise, steps, spacing = 1, sampler = "dpm++", eta = 0, draw, denoise, seen = () => false } = how;
  const alphaBar = (t) => (t < 0 ? 1 : description.alpha_bar[t]); // -1: clean data
  const path = [...timesteps(description.usable_steps, steps, spacing), -1];
  let x = noise, x0Before = null, before = null;
  for (let i = 0; i < steps; i++) {
    const [t, s] = [path[i], path[i + 1]];
    const [x0, eps] = toX0Eps(x, await denoise(x, t), alphaBar(t), description.parameterization);
    if (sampler === "dpm++") x = dpmSolverStep(x, x0, x0Before, alphaBar(t), alphaBar(s), before);
    else if (s < 0) x = x0;
    else if (sampler === "ddpm") x = ddpmStep(x, x0, alphaBar(t), alphaBar(s), draw());
    else x = ddimStep(x0, eps, alphaBar(t), alphaBar(s), eta, eta > 0 ? draw() : null);
    [x0Before, before] = [x0, alphaBar(t)];
    if (await seen(i, x0, x)) return null;
  }
  return x;
}
