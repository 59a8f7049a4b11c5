// Server-sent events with the header for the token, which browsers' own EventSource cannot send.

import { headers } from "./live.js";

// Yields the messages at an address as they come; throws an Error that says why the server refuses.
export async function* messages(address, token, signal) {
  const answer = await fetch(address, { headers: headers(token), signal });
  if (!answer.ok) throw new Error((await answer.json()).error);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (waiting + value).split("\n\n");
      waiting = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").find((line) => line.startsWith("data: "));
        if (data) yield JSON.parse(data.slice(6));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
