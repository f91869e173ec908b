// What one can turn, press and look at on the live page, as elements with names; what happens then is in page.mjs.

// An element with attributes and children; what begins with "on" listens.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

let ids = 0;

// A control with its label before it, and whatever stands behind it.
export function labelled(text, control, ...more) {
  control.id = `live-${ids++}`;
  return h("div", { class: "live-field" }, h("label", { for: control.id }, text), control, ...more);
}

// A list to choose from: [value, text] each.
export function choice(entries, chosen, attributes = {}) {
  const options = entries.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("select", attributes, ...options);
}

// A slider with its value beside it; with `any`, a box that leaves the number to the model: then the value is NaN.
export function dial(text, { low, high, step, value, any = false }) {
  const slider = h("input", { type: "range", min: low, max: high, step, value, disabled: any });
  const shown = h("output"), box = any && h("input", { type: "checkbox", checked: true });
  const isAny = () => Boolean(box && box.checked);
  const show = () => {
    slider.disabled = isAny();
    shown.textContent = isAny() ? "" : Number(slider.value).toFixed(step < 1 ? 2 : 0);
  };
  slider.addEventListener("input", show);
  const field = labelled(text, slider, shown);
  if (box) {
    box.addEventListener("change", show);
    box.setAttribute("aria-label", `any ${text}`);
    field.append(h("label", { class: "live-any" }, box, " any"));
  }
  show();
  return {
    field,
    get value() { return isAny() ? NaN : Number(slider.value); },
    set disabled(yes) { slider.disabled = yes; },
  };
}

// The pictures that come with the book, and a reader's own; `chosen` is told a name or a file.
export function pictureChoice(names, root, chosen) {
  const radio = (name, i) => h("label", {},
    h("input", { type: "radio", name: "live-picture", value: name, checked: i === 0, onchange: () => chosen(name) }),
    h("img", { src: new URL(`pictures/${name}`, root), alt: `drawn face ${i + 1}`, width: 64, height: 64 }));
  const own = h("input", { type: "file", accept: "image/*", onchange: () => own.files[0] && chosen(own.files[0]) });
  return h("fieldset", { class: "live-pictures" }, h("legend", {}, "Picture"), ...names.map(radio),
    labelled("or one of your own", own));
}

// The three canvases by name, with their captions, and the player's controls below the first.
export function stage(facts) {
  const canvases = {};
  const figure = (name, caption) => {
    canvases[name] = h("canvas", { width: 64, height: 64, role: "img", "aria-label": caption });
    return h("figure", { class: `live-${name}` }, canvases[name], h("figcaption", {}, caption));
  };
  const controls = {
    button: h("button", { type: "button", disabled: true }, "Play"),
    slider: h("input", { type: "range", min: 0, max: 15, value: 0, disabled: true, "aria-label": "frame" }),
    output: h("output"),
  };
  const player = h("div", { class: "live-row live-player" }, ...Object.values(controls));
  const element = h("div", { class: "live-stage" },
    h("div", { class: "live-main" }, figure("video", "the given picture"), player, facts),
    figure("flow", "flow"), figure("occlusion", "occlusion map"));
  return { element, canvases, controls };
}

// What stands in for the live model where it cannot run; for who wants less motion, behind one more press.
export function recorded(place, root, why) {
  const videos = h("img", {
    src: new URL("recorded.webp", root), width: 768, loading: "lazy",
    alt: "Two drawn people, six times each, in a row of short clips. Each starts at rest and becomes angry, disgusted, "
      + "afraid, happy, sad, or surprised.",
  });
  const open = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  place.replaceChildren(
    h("p", { class: "live-status", role: "status" }, `${why} Here are recorded videos of the same model instead.`),
    h("details", { open }, h("summary", {}, "Recorded videos"), videos));
}
