// A camera of this machine that is watched live.

import { LiveStream } from "./live.js";
import { Tile } from "./tile.js";

const SHORT_SIDE = 320; // pixels of the pictures that are sent
const QUALITY = 0.85;

const DENIED = {
  NotAllowedError: "the browser may not use the camera; allow it for this page and try again",
  NotFoundError: "no camera was found",
  NotReadableError: "another program uses the camera",
  OverconstrainedError: "this camera is not there any more",
};

// Opens a camera; throws an Error that says why that is not possible.
export async function watchCamera(deviceId, token) {
  if (!navigator.mediaDevices) throw new Error("browsers give cameras to pages over https or from this machine only");
  let media;
  try {
    media = await navigator.mediaDevices.getUserMedia({ video: deviceId ? { deviceId: { exact: deviceId } } : true });
  } catch (error) {
    throw new Error(DENIED[error.name] ?? error.message);
  }
  const [track] = media.getVideoTracks();
  new CameraTile(track.label || "Camera", media, token);
}

class CameraTile {
  constructor(name, media, token) {
    this._lost = 0;
    this._stream = new LiveStream(token);
    this._tile = new Tile(name, { onClose: () => this._close(), onReset: () => this._stream.reset() });
    this._tile.showState("connecting");
    this._media = media;
    this._tile.video.srcObject = media;
    this._tile.video.play();
    media.getVideoTracks()[0].onended = () => this._tile.showState("the camera is gone", true);
    const on = (type, take) => this._stream.addEventListener(type, ({ detail }) => take(detail));
    on("state", ({ text, isBad }) => this._tile.showState(text, isBad));
    on("ready", (message) => this._begin(message));
    on("result", (message) => this._result(message));
    on("event", (message) => this._tile.showReport(message));
    on("lost", ({ frames }) => (this._lost += frames));
  }

  _begin({ fps, resumed }) {
    if (resumed?.frame == null) this._tile.begin();
    this._send(fps);
  }

  // Sends pictures at the rate that the model looks at.
  _send(fps) {
    clearInterval(this._timer);
    const canvas = document.createElement("canvas");
    const video = this._tile.video;
    let isBusy = false;
    this._timer = setInterval(async () => {
      if (isBusy || !video.videoWidth) return;
      isBusy = true;
      const scale = Math.min(1, SHORT_SIDE / Math.min(video.videoWidth, video.videoHeight));
      canvas.width = Math.round(scale * video.videoWidth);
      canvas.height = Math.round(scale * video.videoHeight);
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      const seconds = performance.now() / 1000;
      const picture = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
      if (picture) await this._stream.send(seconds, picture);
      isBusy = false;
    }, 1000 / fps);
  }

  _result(message) {
    this._tile.showAnswer(message);
    this._tile.showFigures([
      ["latency", message.age_ms === undefined ? "–" : `${Math.round(message.age_ms)} ms`],
      ["model", `${Math.round(message.timings_ms.model)} ms`],
      ["frames seen", message.num_frames],
      ["frames lost", this._lost],
    ]);
  }

  _close() {
    clearInterval(this._timer);
    this._stream.close();
    for (const track of this._media.getTracks()) track.stop();
  }
}
