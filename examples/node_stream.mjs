// Follow a video with an exported network in Node.js, frame by frame:
//
//     npm install onnxruntime-node
//     ffmpeg -v error -i clip.mp4 -vf "fps=8,scale=256:256:force_original_aspect_ratio=increase:flags=bilinear,crop=224:224" -f rawvideo -pix_fmt rgb24 - | node node_stream.mjs runs/mine/onnx
//
// Rate, sizes and labels are in export.json (frame_rates.median, input.short_side: 256, input.size: 224, labels). One line of JSON a
// frame: the logits, whose mean over the last frames is the answer.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-node";

const folder = process.argv[2];
const about = JSON.parse(readFileSync(join(folder, "export.json"), "utf-8"));
if (!about.step) throw new Error(`${about.name} looks ahead, so it has no step; it answers clips alone`);
const session = await ort.InferenceSession.create(join(folder, about.step.file));
const side = about.input.size;
const pixels = side * side;

function zeros({ shape, dtype }) {
  const count = shape.reduce((product, length) => product * length, 1);
  const data = dtype === "int64" ? new BigInt64Array(count) : new Float32Array(count);
  return new ort.Tensor(dtype, data, [1, ...shape]); // the first dimension is the streams of a batch
}

function planes(rgb) {
  const chw = new Uint8Array(3 * pixels);
  for (let i = 0; i < pixels; i++) for (let c = 0; c < 3; c++) chw[c * pixels + i] = rgb[3 * i + c];
  return new ort.Tensor("uint8", chw, [1, 3, side, side]);
}

let states = Object.fromEntries(about.states.map((state) => [state.input, zeros(state)]));
let waiting = Buffer.alloc(0);
for await (const bytes of process.stdin) {
  waiting = Buffer.concat([waiting, bytes]);
  for (; waiting.length >= 3 * pixels; waiting = waiting.subarray(3 * pixels)) {
    const found = await session.run({ frames: planes(waiting), ...states });
    states = Object.fromEntries(about.states.map((state) => [state.input, found[state.output]]));
    const logits = Array.from(found.logits.data);
    const label = about.labels[logits.indexOf(Math.max(...logits))];
    console.log(JSON.stringify({ label, logits }));
  }
}
