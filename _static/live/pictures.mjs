// Pictures as tensors and back: the central square of a picture, the colours of a flow.

// RGBA bytes of a square -> Float32Array (3, size, size) in [0, 1]: bilinear, and anti-aliased where it shrinks; as
// lfdm_lite's crop_resize does it.
export function resizeSquare(rgba, side, size) {
  const weights = triangles(side, size);
  const rows = new Float32Array(3 * side * size), image = new Float32Array(3 * size * size);
  for (let c = 0; c < 3; c++) {
    for (let y = 0; y < side; y++) {
      weights.forEach(({ first, share }, x) => {
        let sum = 0;
        share.forEach((w, k) => { sum += w * rgba[4 * (y * side + first + k) + c]; });
        rows[(c * side + y) * size + x] = sum / 255;
      });
    }
    weights.forEach(({ first, share }, y) => {
      for (let x = 0; x < size; x++) {
        let sum = 0;
        share.forEach((w, k) => { sum += w * rows[(c * side + first + k) * size + x]; });
        image[(c * size + y) * size + x] = Math.min(1, Math.max(0, sum));
      }
    });
  }
  return image;
}

// For each of `size` pixels which of `side` it is made of, and how much of each: a triangle around its centre.
function triangles(side, size) {
  const scale = side / size, reach = Math.max(scale, 1);
  return Array.from({ length: size }, (_, i) => {
    const centre = scale * (i + 0.5);
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0), end = Math.min(Math.trunc(centre + reach + 0.5), side);
    const height = (k) => Math.max(0, 1 - Math.abs(first + k - centre + 0.5) / reach);
    const share = Array.from({ length: end - first }, (_, k) => height(k));
    const sum = share.reduce((a, b) => a + b, 0);
    return { first, share: share.map((w) => w / sum) };
  });
}

// A file or the answer to a fetch as a blob -> what the encoder takes; transparent parts lie over white.
export async function readPicture(blob, size) {
  const bitmap = await createImageBitmap(blob);
  const side = Math.min(bitmap.width, bitmap.height);
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, side, side);
  context.drawImage(bitmap, -Math.floor((bitmap.width - side) / 2), -Math.floor((bitmap.height - side) / 2));
  bitmap.close();
  return resizeSquare(context.getImageData(0, 0, side, side).data, side, size);
}

// The Middlebury colour wheel: from corner to corner one channel rises or falls.
const CORNERS = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], STEPS = [15, 6, 4, 11, 13, 6];
const WHEEL = CORNERS.flatMap((here, k) => Array.from({ length: STEPS[k] }, (_, i) =>
  here.map((value, c) => value + (i / STEPS[k]) * (CORNERS[(k + 1) % 6][c] - value))));

// Hue is the direction, depth of colour the length; no motion is white. Longer than `longest` turns darker.
export function flowColour(x, y, longest) {
  const depth = Math.hypot(x, y) / longest;
  const turn = (Math.atan2(y, x) / (2 * Math.PI) + 1) % 1; // 0 = right, then clockwise on the screen
  const place = turn * WHEEL.length, below = Math.floor(place) % WHEEL.length;
  const part = place - Math.floor(place);
  return WHEEL[below].map((value, c) => {
    const hue = (1 - part) * value + part * WHEEL[(below + 1) % WHEEL.length][c];
    return depth <= 1 ? 1 - depth * (1 - hue) : 0.75 * hue;
  });
}

// One frame as ImageData, from a function of the place of a pixel in a channel that gives three numbers in [0, 1].
function frameOf(size, colour) {
  const image = new ImageData(size, size);
  for (let i = 0; i < size * size; i++) {
    colour(i).forEach((value, c) => { image.data[4 * i + c] = Math.round(255 * value); });
    image.data[4 * i + 3] = 255;
  }
  return image;
}

// Frames of a clip (channels, frames, size, size).
export const videoFrames = (video, frames, size) => Array.from({ length: frames }, (_, f) =>
  frameOf(size, (i) => [0, 1, 2].map((c) => video[(c * frames + f) * size * size + i])));
export const flowFrames = (flow, frames, size, longest) => Array.from({ length: frames }, (_, f) =>
  frameOf(size, (i) => flowColour(flow[f * size * size + i], flow[(frames + f) * size * size + i], longest)));
export const greyFrames = (maps, frames, size) => Array.from({ length: frames }, (_, f) =>
  frameOf(size, (i) => Array(3).fill(maps[f * size * size + i])));
