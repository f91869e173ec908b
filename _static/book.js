// What every page does besides showing itself: it goes onto paper whole, and its films can be stopped.

{
  // For paper everything unfolds, and a dark page is printed light. Afterwards the page is as it was.
  const restore = [];

  addEventListener("beforeprint", () => {
    const root = document.documentElement, { theme } = root.dataset;
    root.dataset.theme = "light";
    restore.push(() => { root.dataset.theme = theme; });
    for (const fold of document.querySelectorAll("details:not([open])")) {
      fold.open = true;
      restore.push(() => { fold.open = false; });
    }
    for (const fold of document.querySelectorAll(".toggle-hidden")) {
      fold.classList.remove("toggle-hidden");
      restore.push(() => { fold.classList.add("toggle-hidden"); });
    }
  });

  addEventListener("afterprint", () => {
    while (restore.length) restore.pop()();
  });

  // A picture that moves by itself has a button that stops it; who asked for less motion sees it stand.
  const still = (film) => {
    const { naturalWidth: width, naturalHeight: height } = film;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(film, 0, 0);
    return canvas.toDataURL();
  };

  const stoppable = async (output) => {
    const films = Array.from(output.querySelectorAll("img[src^='data:image/gif']"));
    const sources = films.map((film) => film.src);
    await Promise.all(films.map((film) => film.decode()));
    const button = Object.assign(document.createElement("button"), { type: "button", className: "book-films" });
    const play = (yes) => {
      films.forEach((film, i) => { film.src = yes ? sources[i] : still(film); });
      button.textContent = yes ? "Pause" : "Play";
    };
    button.addEventListener("click", () => play(button.textContent === "Play"));
    output.prepend(button);
    play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  };

  // What became too wide for its window can be scrolled by keys as well; the theme looks at that once, at tables.
  const SCROLLABLE = ".pst-scrollable-table-container, .bd-article :is(p, figure):has(> img[src$='.svg'])";
  const scrollable = () => {
    for (const box of document.querySelectorAll(SCROLLABLE)) {
      box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
    }
  };
  addEventListener("resize", scrollable);
  addEventListener("load", scrollable);

  // A figure that had to shrink, as on a phone, opens alone at a touch, where it can be seen in its own size.
  const SHRUNK = 1.3;
  addEventListener("load", () => {
    for (const figure of document.querySelectorAll(".bd-article img[src$='.png']")) {
      if (figure.closest("a") || figure.naturalWidth < SHRUNK * figure.clientWidth) continue;
      const link = Object.assign(document.createElement("a"), { className: "book-whole", href: figure.src });
      figure.replaceWith(link);
      link.append(figure);
    }
  });

  addEventListener("DOMContentLoaded", () => {
    // "To turn the dials, run this cell" is for notebooks. A dial takes it away when its first picture is there, and
    // misses it where the page is still arriving.
    for (const hint of document.querySelectorAll(".lfdm-hint")) hint.remove();
    document.querySelectorAll(".cell_output:has(img[src^='data:image/gif'])").forEach(stoppable);
  });
}
