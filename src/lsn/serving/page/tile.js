// One camera or video: its picture, what is said of it, and its events.

import { clock, Timeline } from "./timeline.js";

const MAX_EVENTS = 500; // in the list of a stream that goes on for days

export class Tile {
  constructor(name, { onClose, onReset }) {
    this.element = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.video = this._find("video");
    this.timeline = new Timeline(this._find(".timeline"), this.video);
    this._items = new Map(); // of events by id
    this._find("h2").textContent = name;
    this._find(".close").onclick = () => {
      this.element.remove();
      onClose();
    };
    this._find(".reset").onclick = onReset;
    this._find(".reset").hidden = !onReset;
    document.getElementById("tiles").prepend(this.element);
  }

  showState(text, isBad = false) {
    const state = this._find(".state");
    if (state.textContent !== text) state.textContent = text;
    state.classList.toggle("bad", isBad);
  }

  // The likeliest classes: [{label, probability}].
  showBars(top) {
    const list = this._find(".bars");
    while (list.children.length > top.length) list.lastElementChild.remove();
    while (list.children.length < top.length) {
      const item = document.createElement("li");
      item.innerHTML = '<div class="name"><span></span><span></span></div><div class="bar"><span></span></div>';
      list.append(item);
    }
    top.forEach(({ label, probability }, place) => {
      const [name, percent, bar] = list.children[place].querySelectorAll("span");
      name.textContent = label;
      percent.textContent = `${Math.round(100 * probability)}%`;
      bar.style.width = `${100 * probability}%`;
    });
    this._find(".now").textContent = `${top[0].label} ${Math.round(100 * top[0].probability)}%`;
  }

  // Pairs of a name and a value.
  showFigures(figures) {
    const list = this._find(".figures");
    list.replaceChildren(...figures.map(([name, value]) => {
      const entry = document.createElement("div");
      entry.append(Object.assign(document.createElement("dt"), { textContent: name }));
      entry.append(Object.assign(document.createElement("dd"), { textContent: value }));
      return entry;
    }));
  }

  // An event as the server reports it; with `onClick`, it can be chosen.
  showEvent(event, { isOver, onClick }) {
    this._find(".none").hidden = true;
    let item = this._items.get(event.id);
    if (!item) {
      item = document.createElement("li");
      item.append(document.createElement(onClick ? "button" : "div"));
      this._items.set(event.id, item);
      if (onClick) this._find(".events").append(item);
      else this._find(".events").prepend(item); // the newest of a stream comes first
      if (this._items.size > MAX_EVENTS) {
        const [oldest, its] = this._items.entries().next().value;
        this._items.delete(oldest);
        its.remove();
      }
    }
    const line = item.firstElementChild;
    const end = isOver ? clock(event.end_seconds) : "now";
    line.innerHTML = "<span></span> <small></small>";
    line.querySelector("span").textContent = event.label;
    line.querySelector("small").textContent =
      `${clock(event.start_seconds)} to ${end}, ${Math.round(100 * event.confidence)}%`;
    line.classList.toggle("on", !isOver);
    if (onClick) line.onclick = onClick;
  }

  showNoEvents(text) {
    const none = this._find(".none");
    none.textContent = text;
    none.hidden = this._items.size > 0;
  }

  _find(selector) {
    return this.element.querySelector(selector);
  }
}
