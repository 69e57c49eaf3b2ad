// The page: sounds in by file or microphone, decoded by the browser, scored by scorer.js, and shown.

// As of the timeline's picture in Python: Okabe and Ito's colors.
const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442"];
const NO_SPEECH = "no_speech", GRAY = "#999999";
const MOST_SECONDS = 3600, MOST_BYTES = 1e9, MOST_LOST = 0.75;
const $ = id => document.getElementById(id);

const worker = new Worker(new URL("scorer.js", import.meta.url), { type: "module" });
const waiting = new Map();
let model, graph, loading = Promise.resolve(), tasks = 0, shown, recorder;
let newest; // the recording that is being scored, if any: what else is still under way says nothing

worker.onmessage = ({ data: { id, told, done, error } }) => {
  const asked = waiting.get(id);
  if (told) return asked.tell(told);
  waiting.delete(id);
  if (error) asked.reject(new Error(error));
  else asked.resolve(done);
};
worker.onerror = event => {
  const error = new Error(`This browser cannot score: ${event.message ?? "its worker does not start"}.`);
  for (const { reject } of waiting.values()) reject(error);
  waiting.clear();
};

function ask(message, tell, transfer = []) {
  return new Promise((resolve, reject) => {
    const id = ++tasks;
    waiting.set(id, { resolve, reject, tell });
    worker.postMessage({ id, ...message }, transfer);
  });
}

function say(text, done, all) {
  $("status").textContent = text;
  $("progress").hidden = !all;
  if (all) Object.assign($("progress"), { max: all, value: done });
}

function percent(score) {
  return `${(100 * score).toFixed(1)} %`;
}

function clock(seconds) {
  const whole = Math.round(seconds * 10) / 10, rest = (whole % 60).toFixed(whole % 1 ? 1 : 0);
  return `${Math.floor(whole / 60)}:${rest.padStart(whole % 1 ? 4 : 2, "0")}`;
}

function colorOf(label) {
  const place = model.labels.filter(one => one !== NO_SPEECH).indexOf(label);
  return place < 0 ? GRAY : COLORS[place % COLORS.length];
}

function element(name, text, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  if (text instanceof Node) made.append(text);
  else if (text !== undefined) made.textContent = text;
  return made;
}

// The model: fetched with the first recording, or a file of one's own.

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`The model ${url} is not there (${response.status}).`);
  const all = Number(response.headers.get("Content-Length")), parts = [];
  let done = 0;
  for (const reader = response.body.getReader(); ;) {
    const { value } = await reader.read();
    if (!value) break;
    parts.push(value);
    done += value.length;
    if (newest) say(all ? `Loading the model, ${(all / 1e6).toFixed(0)} MB` : "Loading the model", done, all);
  }
  return new Blob(parts).arrayBuffer();
}

async function loaded() {
  if (model) return;
  const bytes = new Uint8Array(await (graph ? graph.arrayBuffer() : fetched("model.onnx")));
  if (newest) say("Preparing the model");
  model = await ask({ task: "load", bytes }, undefined, [bytes.buffer]);
  const terms = model.license ? ` Its terms: ${model.license}.` : "";
  $("model").textContent = `${graph?.name ?? "The one of this page"} knows ${model.labels.join(", ")}.${terms}`;
}

// Sound: any file that the browser decodes, at the model's rate, as one channel.

async function decoded(bytes, name) {
  if (!bytes.byteLength) throw new Error(`${name} is empty.`);
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, model.rate).decodeAudioData(bytes);
  } catch {
    throw new Error(`${name} is no sound that this browser can decode; convert it, to WAV or MP3 perhaps.`);
  }
  if (!sound.length) throw new Error(`${name} holds no samples.`);
  if (sound.duration > MOST_SECONDS) throw new Error(`${name} is longer than an hour; cut it.`);
  return mixed(Array.from({ length: sound.numberOfChannels }, (_, channel) => sound.getChannelData(channel)));
}

// The average, or the loudest channel where the average loses most of the sound, as in `ChannelMix` in Python.
function mixed(channels) {
  if (channels.length === 1) return channels[0].slice();
  const mean = new Float32Array(channels[0].length);
  for (const channel of channels) channel.forEach((value, place) => { mean[place] += value; });
  mean.forEach((value, place) => { mean[place] = value / channels.length; });
  const swings = [...channels, mean].map(track => {
    let sum = 0, squares = 0;
    for (const value of track) {
      sum += value;
      squares += value * value;
    }
    const power = squares / track.length, swing = power - (sum / track.length) ** 2;
    return swing < 1e-5 * power ? 0 : swing;
  });
  const left = swings.pop(), common = (1 - MOST_LOST) * swings.reduce((a, b) => a + b) / channels.length ** 2;
  if (left >= common) return mean;
  const most = Math.max(...swings);
  return channels[swings.findIndex(swing => swing >= 0.99 * most)].slice();
}

async function score(file, name) {
  const own = newest = Symbol(name);
  const now = () => own === newest;
  $("error").textContent = "";
  $("result").hidden = true;
  $("stop").hidden = false;
  worker.postMessage({ id: ++tasks, task: "stop" });
  try {
    if (file.size > MOST_BYTES) throw new Error(`${name} has more than ${MOST_BYTES / 1e9} GB; cut it.`);
    await (loading = loading.catch(() => {}).then(loaded)); // once, however many ask
    if (!now()) return;
    say(`Decoding ${name}`);
    const samples = await decoded(await file.arrayBuffer(), name);
    if (!now()) return;
    say(`Scoring ${name}`);
    const tell = ({ done, all }) => { if (now()) say(`Scoring ${name}`, done, all); };
    const found = await ask({ task: "score", samples }, tell);
    if (now() && found) show(file, name, samples, found);
  } catch (error) {
    if (now()) {
      say("");
      $("error").textContent = error.message;
    }
  } finally {
    if (now()) {
      newest = undefined;
      $("stop").hidden = true;
    }
  }
}

function stop(text) {
  newest = undefined;
  worker.postMessage({ id: ++tasks, task: "stop" });
  $("stop").hidden = true;
  say(text);
}

// What was found: bars, the timeline, and all of it as CSV.

function show(file, name, samples, found) {
  if (shown) URL.revokeObjectURL(shown.url);
  shown = { name, samples, ...found, url: URL.createObjectURL(file), seconds: samples.length / model.rate };
  const order = found.scores.map((_, place) => place).sort((a, b) => found.scores[b] - found.scores[a]);
  const best = model.labels[order[0]];
  $("name").textContent = `${best}, ${percent(found.scores[order[0]])}`;
  $("about").textContent = found.long
    ? `${name}, ${clock(shown.seconds)}: scores are the mean over time of windows of 4 s`
    : `${name}, ${clock(shown.seconds)}`;
  $("sound").src = shown.url;
  $("scores").tBodies[0].replaceChildren(...order.map((place, rank) => {
    const bar = element("div", undefined, { className: "bar" });
    bar.style.width = `${100 * found.scores[place]}%`;
    bar.style.background = colorOf(model.labels[place]);
    const row = element("tr", undefined, { className: rank ? "" : "best" });
    row.append(element("th", model.labels[place], { scope: "row" }),
      element("td", percent(found.scores[place]), { className: "number" }), element("td", bar, { ariaHidden: "true" }));
    return row;
  }));
  $("result").hidden = false;
  $("timeline").hidden = !found.windows.length;
  if (found.windows.length) showTimeline();
  URL.revokeObjectURL($("save").href);
  $("save").href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  $("save").download = `${name.replace(/\.[^.]*$/, "")}.csv`;
  say(`${name}: ${best}, ${percent(found.scores[order[0]])}`);
}

function bestOf(scores) {
  return model.labels[scores.indexOf(Math.max(...scores))];
}

function showTimeline() {
  const runs = [];
  for (const { first, until, scores } of shown.windows) {
    const label = bestOf(scores);
    if (runs.at(-1)?.label !== label) runs.push({ label, first, sum: 0 });
    const run = runs.at(-1);
    run.until = until;
    run.sum += scores[model.labels.indexOf(label)] * (until - first);
  }
  $("runs").tBodies[0].replaceChildren(...runs.map(({ label, first, until, sum }) => {
    const from = clock(first / model.rate), to = clock(until / model.rate), row = element("tr");
    const play = element("button", `${from} – ${to}`, { type: "button", ariaLabel: `Play from ${from} to ${to}` });
    play.onclick = () => {
      $("sound").currentTime = first / model.rate;
      $("sound").play();
    };
    row.append(element("td", play), element("td", label),
      element("td", percent(sum / (until - first)), { className: "number" }));
    return row;
  }));
  $("legend").replaceChildren(...model.labels.map(label => {
    const item = element("li"), swatch = element("span", undefined, { className: "swatch" });
    swatch.style.background = colorOf(label);
    item.append(swatch, label);
    return item;
  }));
  draw();
}

// The course of the scores in so many equal steps at most: the means of the windows, of more than an eye tells apart.
function course(steps) {
  const { windows, samples: { length } } = shown;
  if (windows.length <= steps) return windows;
  const made = Array.from({ length: steps }, (_, step) => (
    { first: step * length / steps, until: (step + 1) * length / steps, scores: model.labels.map(() => 0) }));
  for (const { first, until, scores } of windows) {
    for (let step = Math.floor(first * steps / length); step < steps && made[step].first < until; step++) {
      const share = (Math.min(until, made[step].until) - Math.max(first, made[step].first)) * steps / length;
      scores.forEach((score, label) => { made[step].scores[label] += share * score; });
    }
  }
  return made;
}

function draw() {
  if (!shown?.windows.length || $("result").hidden) return;
  const width = $("picture").clientWidth, high = 50, low = 130, bottom = high + 10 + low;
  const svg = (name, attributes, ...parts) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...parts);
    return made;
  };
  const x = sample => (sample / shown.samples.length * width).toFixed(1);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${bottom + 20}`, role: "img",
    "aria-label": "The waveform, and under it the scores over time; the table below says the same" });

  // The waveform: the lowest and the highest sample of each column of the picture.
  const forth = [], back = [], per = shown.samples.length / width;
  const columns = Array.from({ length: width }, (_, column) => {
    let least = 0, most = 0;
    const end = Math.min((column + 1) * per, shown.samples.length); // which rounding may pass
    for (let place = Math.floor(column * per); place < end; place++) {
      least = Math.min(least, shown.samples[place]);
      most = Math.max(most, shown.samples[place]);
    }
    return [least, most];
  });
  const reach = columns.reduce((most, [low, high]) => Math.max(most, -low, high), 1e-3);
  const y = value => (high / 2 * (1 - value / reach)).toFixed(1);
  columns.forEach(([least, most], column) => {
    forth.push(`${column},${y(most)}`);
    back.unshift(`${column},${y(least)}`);
  });
  picture.append(svg("polygon", { class: "wave", points: [...forth, ...back].join(" ") }));

  // The scores: areas that lie on each other, in the order of the labels from below, no speech uppermost.
  const order = model.labels.map((_, place) => place)
    .sort((a, b) => (model.labels[a] === NO_SPEECH) - (model.labels[b] === NO_SPEECH));
  const parts = course(Math.ceil(width / 5));
  $("course").textContent = parts === shown.windows ? "Over time"
    : `Over time, means of ${(shown.seconds / parts.length).toFixed(1)} s`;
  const total = Math.max(1, ...parts.map(one => one.scores.reduce((a, b) => a + b)));
  const below = parts.map(() => 0);
  for (const place of order) {
    const above = [], under = [];
    parts.forEach(({ first, until, scores }, index) => {
      const levels = [below[index], below[index] += scores[place]].map(sum => (bottom - sum / total * low).toFixed(1));
      under.unshift(`${x(until)},${levels[0]}`, `${x(first)},${levels[0]}`);
      above.push(`${x(first)},${levels[1]}`, `${x(until)},${levels[1]}`);
    });
    const [label, points] = [model.labels[place], [...above, ...under].join(" ")];
    picture.append(svg("polygon", { points, fill: colorOf(label) }, svg("title", {}, label)));
  }

  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900].find(one => one >= shown.seconds / width * 70) ?? 1800;
  for (let second = 0; second < shown.seconds; second += step) {
    const at = x(second * model.rate);
    picture.append(svg("line", { class: "tick", x1: at, x2: at, y1: bottom, y2: bottom + 5 }),
      svg("text", { x: at, y: bottom + 17 }, clock(second)));
  }
  const now = svg("line", { class: "now", y1: 0, y2: bottom });
  const follow = () => {
    const at = $("sound").currentTime / shown.seconds * width;
    now.setAttribute("x1", at);
    now.setAttribute("x2", at);
  };
  $("sound").ontimeupdate = follow;
  follow();
  picture.append(now);
  picture.onclick = event => {
    const { left, width: drawn } = picture.getBoundingClientRect();
    $("sound").currentTime = (event.clientX - left) / drawn * shown.seconds;
  };
  $("picture").replaceChildren(picture);
}

// Rows as of `ser predict --timeline --format csv`.
function csv() {
  const text = word => /[",\r\n]/.test(word) ? `"${word.replaceAll('"', '""')}"` : word;
  const name = /^[=+\-@]/.test(shown.name) ? `./${shown.name}` : shown.name; // which spreadsheets take for a formula
  const row = (part, start, end, scores) => [text(name), part, (start / model.rate).toFixed(3),
    (end / model.rate).toFixed(3), text(bestOf(scores)), ...scores.map(score => score.toFixed(6))].join(",");
  return [
    ["file", "part", "start", "end", "prediction", ...model.labels.map(text)].join(","),
    row("whole", 0, shown.samples.length, shown.scores),
    ...shown.windows.map(({ start, end, scores }) => row("window", start, end, scores)),
    "",
  ].join("\r\n");
}

// The microphone, as it is: what makes telephone calls pleasant would change the voice.

async function record() {
  $("error").textContent = "";
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia(
      { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  } catch (error) {
    $("error").textContent = navigator.mediaDevices
      ? `There is no microphone, or the page may not use it (${error.message}).`
      : "Browsers give the microphone only to pages at https:// or localhost.";
    return;
  }
  const mimeType = ["audio/webm;codecs=pcm", "audio/webm;codecs=opus", "audio/mp4"]
    .find(kind => MediaRecorder.isTypeSupported(kind));
  recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: 256000 });
  const parts = [], begun = Date.now();
  const tick = setInterval(() => {
    const seconds = (Date.now() - begun) / 1000;
    $("record").textContent = `Stop recording, ${clock(Math.floor(seconds))}`;
    if (seconds >= MOST_SECONDS - 1) recorder.stop();
  }, 250);
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = () => {
    clearInterval(tick);
    for (const track of stream.getTracks()) track.stop();
    $("record").textContent = "Record";
    recorder = undefined;
    score(new Blob(parts, { type: mimeType }), "recording");
  };
  recorder.start();
  $("record").textContent = "Stop recording";
  say("Recording");
}

$("record").onclick = () => recorder ? recorder.stop() : record();
$("stop").onclick = () => stop("Stopped.");
$("file").onchange = ({ target }) => {
  const [file] = target.files;
  if (file) score(file, file.name);
  target.value = ""; // so that the same file can be chosen again
};
$("graph").onchange = ({ target }) => {
  [graph] = target.files;
  model = undefined;
  stop("");
  $("result").hidden = true;
  $("model").textContent = graph ? `${graph.name} is loaded with the next recording.` : "";
};
document.ondragover = event => {
  event.preventDefault();
  document.body.classList.add("over");
};
document.ondragleave = () => document.body.classList.remove("over");
document.ondrop = event => {
  event.preventDefault();
  document.body.classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) score(file, file.name);
};
addEventListener("resize", draw);
