// Send a video or a camera to `lsn serve` frame by frame and print what it says, from Node.js 22 or a browser:
//
//     lsn serve starter:gestures
//     ffmpeg -v error -re -i clip.mp4 -vf fps=8 -f image2pipe -c:v mjpeg - | node live_client.mjs ws://127.0.0.1:8000/v1/live
//
// A third argument is the token, where the server asks for one. A connection that fails is made again, and the stream
// resumes behind the last frame that the server's memory has seen. (Node.js 20 needs --experimental-websocket.)

const [, , address, token] = process.argv;
const RATE = 8; // frames a second of the pictures that come
const KEPT = 64; // frames that can be sent again

let socket, resume, isReady = false, isWhole = false, isOver = false, number = 0, kept = [];

function connect() {
  socket = new WebSocket(address, token ? ["lsn", `bearer.${token}`] : ["lsn"]);
  socket.onopen = () => socket.send(JSON.stringify({ type: "start", resume }));
  socket.onmessage = ({ data }) => take(JSON.parse(data));
  socket.onclose = () => {
    isReady = false;
    if (!isOver) setTimeout(connect, 500 + 500 * Math.random());
  };
}

function take(message) {
  if (message.type === "ready") {
    resume = message.token;
    const seen = message.resumed?.frame ?? -1;
    kept = kept.filter((frame) => frame.number > seen);
    isReady = true;
    for (const frame of kept) socket.send(frame.message);
    if (isWhole) socket.send('{"type": "end"}');
  } else if (message.type === "saved") {
    kept = kept.filter((frame) => frame.number > message.frame);
  } else if (message.type === "result") {
    console.log(`${message.seconds.toFixed(2)} s  ${message.label}  ${Math.round(100 * message.top5[0].probability)}%`);
  } else {
    isOver = message.type === "ended" && isWhole && !message.error;
    console.log(JSON.stringify(message)); // events, frames that were dropped, errors, the end
  }
}

// A frame: its number (uint64) and its time in seconds (float64), little-endian, then a JPEG, WebP or PNG.
function send(picture) {
  const message = new Uint8Array(16 + picture.length);
  const header = new DataView(message.buffer);
  header.setBigUint64(0, BigInt(number), true);
  header.setFloat64(8, number / RATE, true);
  message.set(picture, 16);
  kept.push({ number: number++, message });
  if (kept.length > KEPT) kept.shift();
  if (isReady) socket.send(message);
}

connect();
let rest = Buffer.alloc(0);
for await (const piece of process.stdin) {
  rest = Buffer.concat([rest, piece]);
  for (let end; (end = rest.indexOf("ffd9", 0, "hex")) >= 0; rest = rest.subarray(end + 2)) send(rest.subarray(0, end + 2));
}
isWhole = true;
if (isReady) socket.send('{"type": "end"}');
