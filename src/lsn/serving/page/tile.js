// One camera or video: its picture, what is said of it, and its events.

import { clock, Timeline } from "./timeline.js";

const MAX_EVENTS = 500; // in the list of a stream that goes on for days

export class Tile {
  constructor(name, { onClose, onReset }) {
    this.element = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.video = this._find("video");
    this.timeline = new Timeline(this._find(".timeline"), this.video);
    this._items = new Map(); // of events by id
    this._part = 0; // tells events apart whose numbers began again
    this._first = null; // when the clock of a stream began
    this._last = -Infinity; // when it was answered last
    this._find("h2").textContent = name;
    this._find(".close").onclick = () => {
      this.remove();
      onClose();
    };
    this._find(".reset").onclick = onReset;
    this._find(".reset").hidden = !onReset;
    document.getElementById("tiles").prepend(this.element);
  }

  remove() {
    this.element.remove();
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

  // A stream that begins again: its clock and the numbers of its events do too.
  begin() {
    this._part++;
    this._first = null;
    this.timeline.clear();
  }

  // An answer of a stream.
  showAnswer({ seconds, top5 }) {
    if (seconds < this._last) this.begin();
    this._last = seconds;
    this._first ??= seconds;
    this.showBars(top5);
    this.timeline.addPoint(seconds - this._first, top5[0]);
  }

  // What is reported of an event of a stream.
  showReport({ report, ...event }) {
    this._first ??= event.start_seconds;
    const [start, end] = [event.start_seconds - this._first, event.end_seconds - this._first];
    const shown = { ...event, id: `${this._part}/${event.id}`, start_seconds: Math.max(0, start), end_seconds: end };
    this.showEvent(shown, { isOver: report === "end" });
    this.timeline.setEvent(shown);
  }

  // A picture (its address) in place of the video.
  showPicture(address) {
    this._picture ??= Object.assign(document.createElement("img"), { alt: "" });
    if (this._picture.parentElement === null) this.video.replaceWith(this._picture);
    this._picture.src = address;
  }

  // Formats that the events can be saved in; `onChoose` is called with one.
  offerFiles(formats, onChoose) {
    const choice = this._find(".save");
    choice.append(...formats.map((format) => new Option(format, format)));
    choice.hidden = false;
    choice.onchange = () => {
      onChoose(choice.value);
      choice.selectedIndex = 0;
    };
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
