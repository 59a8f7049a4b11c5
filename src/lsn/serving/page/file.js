// A video file: what happens in it.

import { headers } from "./live.js";
import { Tile } from "./tile.js";

// Sends a file to the server and shows what it says.
export async function showFile(file, token, { maxMegabytes }) {
  const address = URL.createObjectURL(file);
  const tile = new Tile(file.name, {
    onClose: () => {
      asked.abort();
      URL.revokeObjectURL(address);
    },
  });
  const asked = new AbortController();
  Object.assign(tile.video, { src: address, controls: true });
  if (file.size > maxMegabytes * 2 ** 20) {
    tile.showState(`the server takes at most ${maxMegabytes} MB`, true);
    return;
  }
  tile.showState("the server looks at it …");
  try {
    const answer = await fetch(`v1/predict?name=${encodeURIComponent(file.name)}`, {
      method: "POST",
      body: file,
      headers: headers(token),
      signal: asked.signal,
    });
    const found = await answer.json();
    if (answer.ok) show(tile, found, address);
    else tile.showState(found.error, true);
  } catch (error) {
    if (error.name !== "AbortError") tile.showState("no connection to the server; drop the video again", true);
  }
}

function show(tile, found, address) {
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
}
