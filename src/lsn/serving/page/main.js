// The page: what the server has, and what to watch.

import { watchCamera } from "./camera.js";
import { showFile } from "./file.js";
import { headers } from "./live.js";
import { watchPulled } from "./pulled.js";
import { setLabels } from "./timeline.js";

const find = (id) => document.getElementById(id);
let token = sessionStorage.getItem("lsn-token") ?? "";
let maxMegabytes = Infinity;

async function begin() {
  find("door").hidden = true;
  let answer;
  try {
    answer = await fetch("v1/model", { headers: headers(token) });
  } catch {
    find("model").textContent = "no connection to the server; load the page again when it runs";
    return;
  }
  if (answer.status === 401) {
    find("model").textContent = "";
    find("door").hidden = false;
    find("door-problem").textContent = token ? "the server does not know this token" : "";
    find("token").focus();
    return;
  }
  const about = await answer.json();
  if (!answer.ok) {
    find("model").textContent = about.error;
    return;
  }
  maxMegabytes = about.max_megabytes;
  setLabels(about.labels, about.background);
  find("model").textContent = `${about.model}: ${about.labels.join(", ")}`;
  find("start").hidden = false;
  find("cameras").hidden = about.fps === null;
  if (about.fps !== null) watchPulled(token);
  await listCameras();
}

// Browsers tell the names of cameras once one of them was allowed.
async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const cameras = devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
  if (!cameras.length) return;
  find("camera").replaceChildren(...cameras.map(({ label, deviceId }, place) =>
    new Option(label || `camera ${place + 1}`, deviceId)));
}

async function orSayWhy(work) {
  find("problem").textContent = "";
  try {
    await work();
  } catch (error) {
    find("problem").textContent = error.message;
  }
}

find("door").onsubmit = (event) => {
  event.preventDefault();
  token = find("token").value.trim();
  sessionStorage.setItem("lsn-token", token);
  begin();
};
find("cameras").onsubmit = (event) => {
  event.preventDefault();
  orSayWhy(async () => {
    await watchCamera(find("camera").value, token);
    await listCameras();
  });
};
find("file").onchange = ({ target }) => {
  for (const file of target.files) showFile(file, token, { maxMegabytes });
  target.value = "";
};
const drop = find("drop");
document.ondragover = (event) => {
  event.preventDefault();
  drop.classList.add("over");
};
document.ondragleave = () => drop.classList.remove("over");
document.ondrop = (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (find("start").hidden) return;
  for (const file of event.dataTransfer.files) showFile(file, token, { maxMegabytes });
};

begin();
