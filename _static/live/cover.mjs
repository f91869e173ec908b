// The cover: a film that can be stopped and turned by hand, and that rests for who asked for less motion.
// Without scripts, on paper, and until the film is there, the picture of the page stands in its place.

import { h } from "./controls.mjs";
import { Player } from "./player.mjs";

const HERE = new URL(".", import.meta.url);

// All frames stand one below the other in one picture.
async function frames(width, height) {
  const sheet = new Image();
  sheet.src = new URL("cover.webp", HERE);
  await sheet.decode();
  const copy = h("canvas", { width, height: sheet.naturalHeight }).getContext("2d", { willReadFrequently: true });
  copy.drawImage(sheet, 0, 0);
  const tops = Array.from({ length: sheet.naturalHeight / height }, (_, i) => i * height);
  return tops.map((top) => copy.getImageData(0, top, width, height));
}

async function start(place) {
  const still = place.querySelector("img");
  await still.decode();
  const { naturalWidth: width, naturalHeight: height } = still;
  const clip = await frames(width, height);
  const canvas = h("canvas", { width, height, role: "img", "aria-label": still.alt });
  const controls = {
    button: h("button", { type: "button" }, "Play"),
    slider: h("input", { type: "range", min: 0, value: 0, "aria-label": "frame of the cover" }),
    output: h("output"),
  };
  place.player = new Player({ video: canvas }, controls);
  place.player.set("video", clip);
  still.replaceWith(canvas, h("div", { class: "live-row live-player" }, ...Object.values(controls)));
  place.player.begin();
}

const place = document.getElementById("cover");
if (place) start(place).catch(() => {}); // the still picture stays
