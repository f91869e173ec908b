// Clips on canvases that keep step: play, pause, and a slider that turns the frame.

const PACE = 100; // milliseconds a frame
const REST = 5; // frames that the last one stays

export class Player {
  // canvases: by name; controls: {button, slider, output}.
  constructor(canvases, { button, slider, output }) {
    Object.assign(this, { canvases, button, slider, output, clips: {}, frame: 0, count: 1, rest: 0, timer: null });
    button.addEventListener("click", () => (this.timer ? this.pause() : this.play()));
    slider.addEventListener("input", () => {
      this.pause();
      this.show(Number(slider.value));
    });
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.pause(); });
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
  }

  // frames: ImageData of each; a still is a clip of one.
  set(name, frames) {
    this.clips[name] = frames;
    this.count = Math.max(...Object.values(this.clips).map((clip) => clip.length));
    this.slider.max = this.count - 1;
    this.button.disabled = this.slider.disabled = this.count < 2;
    this.show(Math.min(this.frame, this.count - 1));
  }

  show(frame) {
    this.frame = frame;
    for (const [name, clip] of Object.entries(this.clips)) {
      const canvas = this.canvases[name], image = clip[Math.min(frame, clip.length - 1)];
      if (canvas.width !== image.width) Object.assign(canvas, { width: image.width, height: image.height });
      canvas.getContext("2d").putImageData(image, 0, 0);
    }
    this.slider.value = frame;
    this.slider.setAttribute("aria-valuetext", `frame ${frame} of ${this.count - 1}`);
    this.output.textContent = `frame ${frame}`;
  }

  play() {
    if (this.count < 2) return;
    this.pause();
    this.timer = setInterval(() => {
      const last = this.frame === this.count - 1;
      if (last && this.rest++ < REST) return;
      this.rest = 0;
      this.show(last ? 0 : this.frame + 1);
    }, PACE);
    this.button.textContent = "Pause";
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.button.textContent = "Play";
  }

  // Start by itself, but not for who asked their system for less motion: then a frame in the middle of the motion.
  begin() {
    if (this.calm.matches) this.show(Math.floor((2 * this.count) / 3));
    else this.play();
  }
}
