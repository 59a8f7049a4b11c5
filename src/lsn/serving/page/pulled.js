// The streams that the server reads itself: one request tells what all of them show, as browsers open few to a server.

import { headers } from "./live.js";
import { messages } from "./messages.js";
import { Tile } from "./tile.js";

const LOOK = 5_000; // milliseconds between two looks which streams there are and how they are
const STATES = { running: "watching", stalled: "no pictures come", reconnecting: "connecting again" };
const BAD = ["stalled", "reconnecting", "failed"];

const tiles = new Map(); // by the name of the stream; null for one whose tile was closed
let hasMissed = false; // messages, while the connection was lost

// Shows a tile for each of them, from now on.
export function watchPulled(token) {
  look(token);
  listen(token);
}

async function look(token) {
  try {
    const answer = await fetch("v1/streams", { headers: headers(token) });
    const about = await answer.json();
    if (answer.ok) show(about.streams, token);
    else showProblem(about.error);
  } catch {
    showProblem("no connection to the server, trying again");
  }
  setTimeout(() => look(token), LOOK);
}

async function listen(token) {
  try {
    for await (const message of messages("v1/events?pictures=true", token)) take(message);
  } catch {
    // The next look says why.
  }
  hasMissed = true;
  setTimeout(() => listen(token), LOOK);
}

function show(streams, token) {
  for (const stream of streams) {
    if (!tiles.has(stream.name)) tiles.set(stream.name, newTile(stream, token));
    const tile = tiles.get(stream.name);
    tile?.showState(stream.error ?? STATES[stream.state] ?? stream.state, BAD.includes(stream.state));
    tile?.showFigures([["frames seen", stream.num_frames], ["frames lost", stream.frames_dropped]]);
    if (hasMissed) for (const event of stream.events) tile?.showReport(event);
  }
  hasMissed = false;
  const names = streams.map(({ name }) => name);
  for (const [name, tile] of tiles) {
    if (names.includes(name)) continue;
    tile?.remove();
    tiles.delete(name);
  }
}

function showProblem(text) {
  for (const tile of tiles.values()) tile?.showState(text, true);
}

function newTile({ name, events }, token) {
  const reset = `v1/streams/${encodeURIComponent(name)}/reset`;
  const tile = new Tile(name, {
    onClose: () => tiles.set(name, null),
    onReset: () => fetch(reset, { method: "POST", headers: headers(token) }).catch(() => {}),
  });
  tile.video.hidden = true; // until there is a picture in its place
  for (const event of events) tile.showReport(event);
  return tile;
}

function take({ stream, ...message }) {
  const tile = tiles.get(stream);
  if (!tile) return;
  if (message.picture) tile.showPicture(message.picture);
  if (message.type === "result") tile.showAnswer(message);
  if (message.type === "event") tile.showReport(message);
}
