// The streams that the server reads itself.

import { headers } from "./live.js";
import { messages } from "./messages.js";
import { Tile } from "./tile.js";

const LOOK = 5_000; // milliseconds between two looks which streams there are and how they are
const STATES = { connecting: "connecting", running: "watching", stalled: "no pictures come", reconnecting: "connecting again" };
const BAD = ["stalled", "reconnecting", "failed"];

const tiles = new Map(); // by the name of the stream; null for one whose tile was closed

// Shows a tile for each of them, from now on.
export async function watchPulled(token) {
  try {
    const answer = await fetch("v1/streams", { headers: headers(token) });
    if (answer.ok) show((await answer.json()).streams, token);
  } catch {
    for (const tile of tiles.values()) tile?.showState("no connection to the server, trying again", true);
  }
  setTimeout(() => watchPulled(token), LOOK);
}

function show(streams, token) {
  for (const stream of streams) {
    if (!tiles.has(stream.name)) tiles.set(stream.name, new PulledTile(stream.name, token));
    tiles.get(stream.name)?.show(stream);
  }
  const names = streams.map(({ name }) => name);
  for (const [name, tile] of tiles) {
    if (names.includes(name)) continue;
    tile?.remove();
    tiles.delete(name);
  }
}

class PulledTile {
  constructor(name, token) {
    this._path = `v1/streams/${encodeURIComponent(name)}`;
    this._token = token;
    this._tile = new Tile(name, {
      onClose: () => {
        this._asked?.abort();
        tiles.set(name, null);
      },
      onReset: () => fetch(`${this._path}/reset`, { method: "POST", headers: headers(token) }).catch(() => {}),
    });
    this._tile.video.hidden = true; // until there is a picture in its place
  }

  show({ state, error, events, frames_dropped: dropped, num_frames: seen }) {
    this._tile.showState(error ?? STATES[state] ?? state, BAD.includes(state));
    this._tile.showFigures([["frames seen", seen], ["frames lost", dropped]]);
    if (!this._isListening) this._listen(events);
  }

  showState(text, isBad) {
    this._tile.showState(text, isBad);
  }

  remove() {
    this._asked?.abort();
    this._tile.remove();
  }

  async _listen(events) {
    this._isListening = true;
    this._asked = new AbortController();
    if (events.length) this._tile.startAt(events[0].start_seconds);
    for (const event of events) this._tile.showReport(event);
    try {
      for await (const message of messages(`${this._path}/events?pictures=true`, this._token, this._asked.signal)) {
        if (message.picture) this._tile.showPicture(message.picture);
        if (message.type === "result") this._tile.showAnswer(message);
        if (message.type === "event") this._tile.showReport(message);
      }
    } catch (error) {
      if (error.name === "AbortError") return;
    }
    this._isListening = false; // the next look begins again
  }
}
