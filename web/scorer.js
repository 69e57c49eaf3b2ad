// A worker that scores: a graph of `ser export onnx` comes in, then waveforms, and scores go out.
import * as ort from "./ort.wasm.min.mjs";

ort.env.logLevel = "error";
const WINDOW = 4; // s, as of `ser predict --timeline`; another begins in the middle of each
let session, model, newest;

// The graph's own metadata, which onnxruntime-web does not give: field 14 of the file's message, pairs of texts.
function metadata(bytes) {
  const found = {}, text = new TextDecoder();
  const fields = function* (from, to) {
    let at = from;
    const number = () => {
      let value = 0, factor = 1, byte;
      do {
        if (at >= to) throw new RangeError("the message ends too early");
        byte = bytes[at++];
        value += (byte & 127) * factor;
        factor *= 128;
      } while (byte & 128);
      return value;
    };
    while (at < to) {
      const tag = number(), kind = tag % 8;
      const size = kind === 2 ? number() : kind === 1 ? 8 : kind === 5 ? 4 : 0;
      if (kind === 0) number();
      else if (!size && kind !== 2 || at + size > to) throw new RangeError("no such field");
      yield [Math.floor(tag / 8), at, at += size];
    }
  };
  for (const [field, from, to] of fields(0, bytes.length)) {
    if (field !== 14) continue;
    const pair = {};
    for (const [part, begin, end] of fields(from, to)) pair[part] = text.decode(bytes.subarray(begin, end));
    found[pair[1]] = pair[2] ?? "";
  }
  return found;
}

async function load(bytes) {
  try {
    const { labels, sampling_rate, longest, license, config } = metadata(bytes);
    const problem = JSON.parse(config).problem_type;
    model = { labels: JSON.parse(labels), rate: Number(sampling_rate), longest: Number(longest), license, problem };
    await session?.release();
    session = undefined;
    session = await ort.InferenceSession.create(bytes);
  } catch (error) {
    throw new Error(`This is no graph that ser export onnx wrote, or a damaged one (${error.message ?? error}).`);
  }
  if (model.problem === "regression") {
    throw new Error(`This model gives values (${model.labels.join(", ")}); the page shows scores of emotions.`);
  }
  return model;
}

async function scoresOf(samples) {
  const { scores } = await session.run({
    input_values: new ort.Tensor("float32", samples, [1, samples.length]),
    lengths: new ort.Tensor("int64", [BigInt(samples.length)], [1]),
  }, ["scores"]);
  return Array.from(scores.data);
}

// Where windows lie, in samples, the last moved back to be whole, and the part that each speaks for.
function windowsOf(count) {
  const length = Math.min(WINDOW * model.rate, model.longest), step = Math.ceil(length / 2);
  if (count <= Math.min(length + step, model.longest)) return []; // what is so short has no course
  const right = Math.ceil((length - step) / 2), starts = [0];
  while (starts.at(-1) + length < count) starts.push(Math.min(starts.at(-1) + step, count - length));
  const windows = starts.map(start => ({ start, end: Math.min(start + length, count) }));
  windows.forEach((one, place) => {
    one.first = place ? windows[place - 1].until : 0;
    one.until = place + 1 < windows.length ? one.end - right : count;
  });
  return windows;
}

// The scores of a recording as `ser predict` gives them; of one that is longer than the graph reads, the mean over
// time of its windows. A task that is no longer the newest ends.
async function score(id, samples, tell) {
  const long = samples.length > model.longest, windows = windowsOf(samples.length), all = windows.length + !long;
  let done = 0, whole;
  const next = async part => {
    await new Promise(resolve => setTimeout(resolve)); // messages come in between
    if (id !== newest) return null;
    const scores = await scoresOf(part);
    tell({ done: ++done, all });
    return scores;
  };
  if (!long && !(whole = await next(samples))) return null;
  for (const one of windows) {
    if (!(one.scores = await next(samples.slice(one.start, one.end)))) return null;
  }
  whole ??= model.labels.map((_, label) =>
    windows.reduce((sum, one) => sum + one.scores[label] * (one.until - one.first), 0) / samples.length);
  return { scores: whole, long, windows };
}

self.onmessage = async ({ data: { id, task, bytes, samples } }) => {
  newest = id;
  if (task === "stop") return;
  try {
    const done = task === "load" ? await load(bytes) : await score(id, samples, told => self.postMessage({ id, told }));
    self.postMessage({ id, done });
  } catch (error) {
    self.postMessage({ id, error: error.message ?? String(error) });
  }
};
