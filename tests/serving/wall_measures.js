({
  // What a test measures in the page. One object of functions, each of which returns plain values.

  seen() {
    return [...document.querySelectorAll("body *")].filter((e) => e.getClientRects().length && !e.closest(".unseen, option"));
  },

  withText() {
    return this.seen().filter((e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim()));
  },

  name(e) {
    return `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`;
  },

  fit() {
    const page = document.scrollingElement;
    const vh = (e) => (parseFloat(getComputedStyle(e).fontSize) / innerHeight) * 100;
    const boxes = "header, #alert, .card, .tile > p, .stage > *, #waiting, #trend h2, tbody td";
    const isWide = (e) => e.scrollWidth > e.clientWidth + 1;
    // Lines of text are as high as their font says, whatever their box; boxes of boxes must hold what is in them.
    const isHigh = (e) => !e.matches("td, th, p, h2, dt, dd") && e.scrollHeight > e.clientHeight + 1;
    const isOutside = (e) => {
      const box = e.getBoundingClientRect();
      return box.right > innerWidth + 1 || box.left < -1 || box.bottom > innerHeight + 1 || box.top < -1;
    };
    return {
      scrolls: [page.scrollWidth > innerWidth, page.scrollHeight > innerHeight],
      over: this.seen().filter((e) => e.matches(boxes) && (isWide(e) || isHigh(e))).map(this.name),
      outside: this.withText().filter(isOutside).map(this.name),
      cutLabels: this.seen().filter((e) => e.matches(".line-label") && e.getBoundingClientRect().right > e.parentElement.getBoundingClientRect().right).map(this.name),
      small: this.withText().filter((e) => vh(e) < 2.6).map(this.name),
      smallFigures: this.seen().filter((e) => e.matches(".tile .value:not(.absent)") && vh(e) < 9).map(this.name),
    };
  },

  // Relative luminance and contrast: WCAG 2.2, definitions.
  poorContrast() {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const parse = (text) => text.match(/[\d.]+/g).map(Number);
    const ground = (e) => {
      for (let at = e; at; at = at.parentElement) {
        const [r, g, b, alpha = 1] = parse(getComputedStyle(at).backgroundColor);
        if (alpha === 1) return [r, g, b];
      }
      return [255, 255, 255];
    };
    const contrast = (e) => {
      const [high, low] = [parse(getComputedStyle(e).color), ground(e)].map(luminance).sort((a, b) => b - a);
      return (high + 0.05) / (low + 0.05);
    };
    return this.withText().filter((e) => contrast(e) < 7).map((e) => `${contrast(e).toFixed(1)} ${this.name(e)}`);
  },
})
