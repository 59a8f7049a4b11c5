// Events and the likeliest class over time: the last half minute of a stream, or a whole video.

const STREAM_SECONDS = 30;
const LONGEST_HOLD = 1; // seconds; then an answer is not drawn on until the next
const NOTHING = "#97a3ae"; // the colour of the background
const COLOURS = ["#2b8aa3", "#c25b34", "#7a6bb5", "#4f8f4f", "#b8902f", "#b25584", "#5b7fa6", "#8a7358"];

const known = []; // labels in the order of their colours, the same in all tiles
let background = null;

// Gives the labels of the model their colours; `nothing` is the label of the background, if there is one.
export function setLabels(labels, nothing) {
  background = nothing;
  known.splice(0, known.length, ...labels.filter((label) => label !== nothing));
}

export class Timeline {
  constructor(element, video) {
    this._canvas = element.querySelector("canvas");
    this._video = video;
    this._points = []; // {seconds, label, probability}, oldest first
    this._events = new Map();
    this._duration = null; // of a video; null for a stream
    this._hover = element.querySelector(".hover");
    new ResizeObserver(() => this.draw()).observe(this._canvas);
  }

  addPoint(seconds, { label, probability }) {
    this._points.push({ seconds, label, probability });
    while (this._points[0].seconds < seconds - STREAM_SECONDS) this._points.shift();
    for (const [id, event] of this._events) if (event.end_seconds < seconds - STREAM_SECONDS) this._events.delete(id);
    this.draw();
  }

  clear() {
    this._points = [];
    this._events.clear();
    this.draw();
  }

  setEvent(event) {
    this._events.set(event.id, event);
    this.draw();
  }

  // Shows a whole video, with the picture under the cursor and a click that jumps there.
  showVideo(duration, address) {
    this._duration = duration;
    const canvas = this._canvas;
    const film = Object.assign(document.createElement("video"), { muted: true, src: address, preload: "auto" });
    const picture = this._hover.querySelector("canvas");
    film.onseeked = () => {
      picture.width = 280;
      picture.height = (280 * film.videoHeight) / film.videoWidth || 1;
      picture.getContext("2d").drawImage(film, 0, 0, picture.width, picture.height);
      this._hover.dataset.seconds = film.currentTime;
    };
    const under = (event) => duration * (event.offsetX / canvas.clientWidth);
    canvas.onpointermove = (event) => {
      this._hover.hidden = false;
      this._hover.style.left = `${Math.min(Math.max(event.offsetX, 75), canvas.clientWidth - 75)}px`;
      this._hover.querySelector("figcaption").textContent = clock(under(event));
      if (!film.seeking) film.currentTime = under(event);
    };
    canvas.onpointerleave = () => (this._hover.hidden = true);
    canvas.onclick = (event) => (this._video.currentTime = under(event));
    this._video.ontimeupdate = () => this.draw();
    this.draw();
  }

  draw() {
    const canvas = this._canvas;
    const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
    if (!width) return;
    Object.assign(canvas, { width: width * scale, height: height * scale });
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const isVideo = this._duration !== null;
    const end = isVideo ? this._duration : Math.max(STREAM_SECONDS, this._points.at(-1)?.seconds ?? 0);
    const start = isVideo ? 0 : end - STREAM_SECONDS;
    const x = (seconds) => (width * (seconds - start)) / (end - start);
    const ground = height - 16;
    this._points.forEach((point, place) => {
      const next = Math.min(this._points[place + 1]?.seconds ?? point.seconds + 0.1, point.seconds + LONGEST_HOLD);
      context.fillStyle = colour(point.label);
      context.globalAlpha = 0.45;
      const tall = (ground - 26) * point.probability;
      context.fillRect(x(point.seconds), ground - tall, Math.max(1, x(next) - x(point.seconds)), tall);
    });
    context.globalAlpha = 1;
    context.font = "12px sans-serif";
    for (const event of this._events.values()) {
      const [left, right] = [x(event.start_seconds), x(event.end_seconds)];
      context.fillStyle = colour(event.label);
      context.fillRect(left, 4, Math.max(3, right - left), 18);
      context.fillStyle = "#fff";
      context.save();
      context.beginPath();
      context.rect(left, 4, Math.max(3, right - left), 18);
      context.clip();
      context.fillText(event.label, Math.max(left, 0) + 4, 17);
      context.restore();
    }
    context.fillStyle = getComputedStyle(canvas).color;
    for (let part = 0; part <= 4; part++) {
      context.textAlign = ["left", "center", "center", "center", "right"][part];
      context.fillText(clock(Math.max(0, start + ((end - start) * part) / 4)), (width * part) / 4, height - 3);
    }
    context.textAlign = "left";
    if (isVideo) context.fillRect(x(this._video.currentTime), 0, 2, ground);
    canvas.setAttribute("aria-label", this._described());
  }

  _described() {
    const said = [...this._events.values()].map((event) => `${event.label} from ${clock(event.start_seconds)}`);
    return `Timeline: ${said.join(", ") || "no events"}`;
  }
}

function colour(label) {
  return label === background ? NOTHING : COLOURS[known.indexOf(label) % COLOURS.length];
}

export function clock(seconds) {
  const tenths = Math.round(10 * seconds);
  const [hours, minutes] = [Math.floor(tenths / 36_000), Math.floor(tenths / 600) % 60];
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
