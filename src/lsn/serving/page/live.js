// A live stream: frames go to the server, answers come back. A connection that fails is made again, and the stream goes
// on where the server's memory of it stands; frames that came after that are sent again.

const REMEMBERED = 64; // frames that can be sent again
const LONGEST_PAUSE = 10_000; // milliseconds between two tries
const MAX_UNSENT = 1 << 20; // bytes that wait in the browser; frames that come then are left out

export class LiveStream extends EventTarget {
  // Says what happens by events: "ready", "result", "event", "lost" ({frames}), "state" ({text, isBad}).
  constructor(token) {
    super();
    this._token = token;
    this._number = 0;
    this._sent = []; // [number, message]
    this._pause = 500;
    this._connect();
  }

  // Sends a picture (a Blob) and when it was taken, in seconds.
  async send(seconds, picture) {
    const number = this._number++;
    const message = new Uint8Array(16 + picture.size);
    const header = new DataView(message.buffer);
    header.setBigUint64(0, BigInt(number), true);
    header.setFloat64(8, seconds, true);
    message.set(new Uint8Array(await picture.arrayBuffer()), 16);
    this._sent.push([number, message]);
    if (this._sent.length > REMEMBERED) this._sent.shift();
    if (!this._isReady) return;
    if (this._socket.bufferedAmount <= MAX_UNSENT) this._socket.send(message); // the server tells what is missing
  }

  reset() {
    if (this._isReady) this._socket.send('{"type": "reset"}');
  }

  close() {
    this._isClosed = true;
    clearTimeout(this._retry);
    if (this._isReady) this._socket.send('{"type": "end"}');
    else this._socket.close();
  }

  _connect() {
    const address = new URL("v1/live", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = this._socket = new WebSocket(address, this._token ? ["lsn", `bearer.${this._token}`] : ["lsn"]);
    socket.onopen = () => socket.send(JSON.stringify({ type: "start", resume: this._resume }));
    socket.onmessage = ({ data }) => this._take(JSON.parse(data));
    socket.onclose = () => this._failed();
  }

  async _failed() {
    const wasReady = this._isReady;
    this._isReady = false;
    if (this._isClosed) return;
    this._state(wasReady ? "connection lost, trying again" : await reason(this._token), true);
    if (this._isClosed) return;
    this._retry = setTimeout(() => this._connect(), this._pause * (0.75 + 0.5 * Math.random()));
    this._pause = Math.min(2 * this._pause, LONGEST_PAUSE);
  }

  _take(message) {
    if (message.type === "ready") this._begin(message);
    else if (message.type === "saved") this._forget(message.frame);
    else if (message.type === "dropped" || message.type === "missing") this._say("lost", { frames: message.frames });
    else if (message.type === "error") this._state(message.error, true);
    else if (message.type === "ended") this._ended(message);
    else this._say(message.type, message);
  }

  _begin(message) {
    const isAgain = this._resume !== undefined;
    this._resume = message.token;
    this._pause = 500;
    const { frame, error } = message.resumed ?? {};
    if (frame != null) this._forget(frame);
    else this._sent = [];
    this._isReady = true;
    if (error) this._state(`connected again; ${error}`, true);
    else this._state(isAgain ? "connected again, the stream resumes" : "watching", false);
    this._say("ready", message);
    for (const [, bytes] of this._sent) this._socket.send(bytes);
  }

  _ended(message) {
    if (message.error) this._state(message.error, true);
  }

  _forget(frame) {
    this._sent = this._sent.filter(([number]) => number > frame);
  }

  _state(text, isBad) {
    this._say("state", { text, isBad });
  }

  _say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// Why no stream could be opened; browsers do not tell what a WebSocket was answered.
async function reason(token) {
  try {
    const { ready, streams, capacity } = await (await fetch("readyz")).json();
    if (streams >= capacity) return `all ${capacity} streams of the server are taken, trying again`;
    if (!ready) return "the server is not ready, trying again";
    const answer = await fetch("v1/model", { headers: headers(token) });
    if (!answer.ok) return `${(await answer.json()).error}; trying again`;
  } catch {
    return "no connection to the server, trying again";
  }
  return "the server did not take the stream, trying again";
}

export function headers(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}
