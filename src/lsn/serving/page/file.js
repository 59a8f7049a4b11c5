// A video file: what happens in it.

import { headers } from "./live.js";
import { Tile } from "./tile.js";

const FIRST_PAUSE = 250, LONGEST_PAUSE = 3_000; // milliseconds between two looks how far the server is
const FULL_PAUSE = 5_000; // before a file is sent again to a server where too many wait

// Sends a file to the server and shows what it says.
export async function showFile(file, token, { maxMegabytes }) {
  const address = URL.createObjectURL(file);
  const asked = new AbortController();
  let job = null;
  const tile = new Tile(file.name, {
    onClose: () => {
      asked.abort();
      URL.revokeObjectURL(address);
      if (job) fetch(`v1/jobs/${job.id}`, { method: "DELETE", headers: headers(token) }).catch(() => {});
    },
  });
  Object.assign(tile.video, { src: address, controls: true });
  if (file.size > maxMegabytes * 2 ** 20) {
    tile.showState(`the server takes at most ${maxMegabytes} MB`, true);
    return;
  }
  try {
    job = await sent(tile, file, token, asked.signal);
    show(tile, await done(tile, job, token, asked.signal), address, token);
  } catch (error) {
    if (error instanceof Refusal) tile.showState(error.message, true);
    else if (error.name !== "AbortError") tile.showState("no connection to the server; drop the video again", true);
  }
}

class Refusal extends Error {}

// Sends a file, once the server has a place for it; returns the job.
async function sent(tile, file, token, signal) {
  for (;;) {
    tile.showState("the server receives it …");
    const request = { method: "POST", body: file, headers: headers(token), signal };
    const answer = await fetch(`v1/jobs?name=${encodeURIComponent(file.name)}`, request);
    const found = await answer.json().catch(() => ({ error: `status ${answer.status}` })); // as a proxy answers
    if (answer.ok) return found;
    if (![429, 502, 503, 504].includes(answer.status)) throw new Refusal(found.error);
    tile.showState(`${found.error} …`);
    await pause(FULL_PAUSE);
    signal.throwIfAborted();
  }
}

// Waits until a job is over, also over lost connections; returns it.
async function done(tile, job, token, signal) {
  for (let wait = FIRST_PAUSE; ; wait = Math.min(1.5 * wait, LONGEST_PAUSE)) {
    await pause(wait);
    let answer, now;
    try {
      answer = await fetch(`v1/jobs/${job.id}`, { headers: headers(token), signal });
      now = await answer.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      tile.showState("connection lost, trying again", true);
      continue;
    }
    if (answer.status === 429) continue;
    if (!answer.ok) throw new Refusal(`${now.error}; drop the video again`);
    if (now.state === "done") return now;
    if (now.error) throw new Refusal(now.error);
    showProgress(tile, now);
  }
}

function pause(milliseconds) {
  return new Promise((over) => setTimeout(over, milliseconds));
}

function showProgress(tile, { state, seconds_done: seen, seconds_total: all }) {
  if (state === "queued") tile.showState("it waits for other videos …");
  else if (state === "running") tile.showState(all ? `${seen} of ${all} seconds seen …` : "the server looks at it …");
}

function show(tile, job, address, token) {
  const found = job.result;
  tile.showState("done");
  if (found.top5) {
    tile.showBars(found.top5);
    tile.showNoEvents("this model says what a clip shows, not when");
    return;
  }
  tile.timeline.showVideo(found.duration_seconds, address);
  tile.showNoEvents("nothing happens in it that the model knows");
  for (const event of found.events) {
    tile.timeline.setEvent(event);
    tile.showEvent(event, {
      isOver: true,
      onClick: () => {
        tile.video.currentTime = event.start_seconds;
        tile.video.play();
      },
    });
  }
  tile.offerFiles(job.formats, (format) => save(tile, `v1/jobs/${job.id}/events?format=${format}`, token));
}

// Has the browser save the events as a file for another tool.
async function save(tile, address, token) {
  let answer;
  try {
    answer = await fetch(address, { headers: headers(token) });
  } catch {
    tile.showState("no connection to the server", true);
    return;
  }
  if (!answer.ok) {
    tile.showState((await answer.json()).error, true);
    return;
  }
  tile.showState("done");
  const name = decodeURIComponent(answer.headers.get("Content-Disposition").split("''")[1]);
  const link = Object.assign(document.createElement("a"), { download: name });
  link.href = URL.createObjectURL(await answer.blob());
  link.click();
  URL.revokeObjectURL(link.href);
}
