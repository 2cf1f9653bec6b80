// The player page: plays the stream by the best way that works, says what it does, and waits where nothing is live.
import { control } from "./controls.js";
import { fill, showCopies } from "./copies.js";
import { MODES, decodes, obstacle, playedAsFlv } from "./modes.js";
import { Monitor } from "./monitor.js";
import { Info, Refused } from "./server.js";
import { bitRate, seconds, track } from "./text.js";

const POLL_MS = 4000;
const WAITING_POLL_MS = 1500;
const LOOK_MS = 500;
const PROVEN_MS = 10000; // a way that played for so long is tried again when it breaks
const RETRY_MS = 10000;
const STORED = "penstock.mode";

const state = JSON.parse(document.body.dataset.state);
const get = (id) => document.getElementById(id);
const stage = get("stage");
const video = get("video");
const info = new Info(state.info, state.stream, state.now);
const monitor = new Monitor(video);
const failures = new Map();
let wanted = remembered();
let run = null; // { mode, engine, since, ended }
let retryAt = 0;
let refused = false;
let doubted = ""; // the way that the server has just ended soon after it had begun

// -- which way -------------------------------------------------------------

function remembered() {
  let stored = null;
  try {
    stored = localStorage.getItem(STORED);
  } catch {
    // A frame on another site may have no storage.
  }
  const known = (id) => id === "auto" || MODES.some((mode) => mode.id === id);
  return [state.mode, stored].find(known) ?? "auto";
}

function remember(id) {
  try {
    localStorage.setItem(STORED, id);
  } catch {
    // As above.
  }
}

function hindrance(mode) {
  if (!(mode.media in state.media)) return "the server does not offer it";
  return obstacle(mode, info.stream?.tracks ?? []);
}

function order() {
  const usable = MODES.filter((mode) => !hindrance(mode) && !failures.has(mode.id));
  // The chosen one first; the others are there for when it fails.
  return usable.sort((a, b) => (b.id === wanted) - (a.id === wanted));
}

function showModes() {
  const legend = get("modes").firstElementChild;
  const choices = [{ id: "auto", label: "Automatic" }, ...MODES.filter((mode) => mode.media in state.media)];
  get("modes").replaceChildren(
    legend,
    ...choices.map((choice) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      const reason = choice.id === "auto" ? "" : hindrance(choice);
      Object.assign(input, { type: "radio", name: "mode", value: choice.id });
      input.checked = choice.id === wanted;
      input.disabled = reason !== "";
      label.title = reason;
      label.append(input, choice.label);
      input.addEventListener("change", () => choose(choice.id));
      return label;
    }),
  );
}

function choose(id) {
  wanted = id;
  remember(id);
  retry();
}

// -- playing ---------------------------------------------------------------

function retry() {
  failures.clear();
  get("note").textContent = "";
  stop();
  if (info.stream) play();
  else wait();
}

function stop() {
  const last = run;
  run = null;
  last?.engine?.stop();
}

async function play() {
  const [mode] = order();
  if (!mode) return giveUp();
  phase("loading", "Loading", mode.label);
  monitor.reset();
  const mine = (run = { mode, engine: null, since: performance.now(), ended: false });
  const current = () => run === mine;
  const report = {
    fail: (reason) => current() && failed(reason),
    ended: () => current() && (mine.ended = true),
    wanted: () => {
      if (!current()) throw new Error("another way was chosen");
    },
  };
  try {
    const tracks = info.stream?.tracks ?? [];
    // Of a stream that has just begun, the tracks may not be known yet.
    const kinds = ["video", "audio"].filter((kind) => !tracks.length || tracks.some((track) => track.kind === kind));
    const options = { ...mode.options, tracks: playedAsFlv(tracks), kinds };
    const engine = await mode.engine(video, state.media[mode.media], report, options);
    if (!current()) return engine.stop();
    mine.engine = engine;
  } catch (error) {
    return report.fail(error.message);
  }
  await begin();
}

async function begin() {
  try {
    await video.play();
    get("big").hidden = true;
  } catch (error) {
    // The browser wants a tap first; another source that took this one's place is no refusal.
    get("big").hidden = error.name !== "NotAllowedError";
  }
}

async function failed(reason) {
  const { mode, since } = run;
  const proven = monitor.started && performance.now() - since > PROVEN_MS;
  stop();
  await ask();
  if (run) return;
  if (!info.stream) return wait();
  if (!proven) leaveOut(mode, reason);
  play();
}

function leaveOut(mode, reason) {
  failures.set(mode.id, reason);
  const [next] = order();
  if (next) get("note").textContent = `${mode.label} did not work: ${reason}. Playing by ${next.label} instead.`;
}

function giveUp() {
  const reasons = MODES.filter((mode) => mode.media in state.media).map(
    (mode) => `${mode.label}: ${failures.get(mode.id) ?? hindrance(mode)}`,
  );
  const text = reasons.length ? `${reasons.join(". ")}.` : "The server offers nothing that browsers play.";
  phase("failed", "This stream cannot be played here", text);
  retryAt = failures.size ? performance.now() + RETRY_MS : Infinity;
}

async function follow() {
  // A response ends where the next publisher's codecs are others: the stream may be there all the same.
  const { mode, since, ended } = run;
  const brief = ended && performance.now() - since < PROVEN_MS;
  stop();
  await ask();
  if (run || refused) return;
  const again = brief && doubted === mode.id;
  doubted = brief && info.stream ? mode.id : "";
  if (!info.stream) return wait();
  // Pictures may turn out to be reordered each time, which WebRTC ends at.
  if (again) leaveOut(mode, "the server ends it again and again");
  play();
}

function wait() {
  stop();
  phase("waiting", "Not live at the moment", "It starts here by itself as soon as somebody publishes it.");
}

function phase(name, title = "", text = "") {
  stage.dataset.phase = name;
  get("veil-title").textContent = title;
  get("veil-text").textContent = text;
  get("retry").hidden = name !== "failed" || refused;
}

// -- what is seen ------------------------------------------------------------

async function ask() {
  try {
    const before = info.stream;
    await info.ask();
    if (!before !== !info.stream) showModes();
  } catch (error) {
    if (error instanceof Refused) {
      refused = true;
      stop();
      phase("failed", error.message);
    } else {
      get("note").textContent = `The server cannot be asked: ${error.message}.`;
    }
  }
  showStream();
}

async function poll() {
  if (!document.hidden || !run) {
    await ask();
    if (refused) return;
    if (info.stream && !run && stage.dataset.phase !== "failed") {
      failures.clear();
      get("note").textContent = "";
      play();
    } else if (!info.stream && !run && stage.dataset.phase !== "waiting") wait();
  }
  setTimeout(poll, run ? POLL_MS : WAITING_POLL_MS);
}

function look() {
  monitor.look();
  const { standing } = monitor;
  // A <video> that has played to its end is paused as well.
  if (run && (!video.paused || video.ended)) {
    if (standing < 1) phase("playing");
    else if (monitor.started) phase("stalled");
    if ((run.ended || !info.stream) && standing > 1) follow();
    else if (standing > run.mode.patience) failed(`no picture for ${run.mode.patience} seconds`);
  } else if (run && monitor.started) phase("playing");
  if (stage.dataset.phase === "failed" && performance.now() > retryAt) retry();
  showFigures();
}

function showStream() {
  const { stream } = info;
  const of = (kind) => stream?.tracks.filter((t) => t.kind === kind) ?? [];
  set("readers", stream ? String(stream.readers) : "–");
  set("badge", stream ? "Live" : "Offline");
  get("badge").dataset.on = String(Boolean(stream));
  set("s-rate", stream ? bitRate(stream.bit_rate) : "–");
  set("s-video", of("video").map((t) => t.name).join(", ") || "–");
  set("s-audio", of("audio").map((t) => track(t) + (decodes(t) ? "" : " (not played here)")).join(", ") || "–");
  get("s-video").title = of("video").map((t) => t.codecs ?? t.name).join(", ");
  get("unmute").hidden = !video.muted || !of("audio").some(decodes) || !run;
}

function showFigures() {
  const playing = run?.engine && monitor.started;
  const delay = playing ? run.engine.delay(info.now, info.stream?.origin ?? null, info.stream?.ahead ?? 0) : null;
  const edge = playing ? run.engine.edge() : null;
  set("s-mode", run ? run.mode.label : "–");
  set("s-latency", delay === null ? "–" : seconds(Math.max(0, delay) / 1000));
  set("delay", delay === null ? "" : seconds(Math.max(0, delay) / 1000));
  set("s-size", playing && video.videoWidth ? `${video.videoWidth}×${video.videoHeight}` : "–");
  set("s-fps", playing && monitor.frameRate ? `${monitor.frameRate.toFixed(monitor.frameRate < 10 ? 1 : 0)} fps` : "–");
  set("s-buffer", playing ? seconds(monitor.inHand) : "–");
  set("s-dropped", playing ? String(monitor.dropped) : "–");
  set("s-stalls", playing ? String(monitor.stalls) : "–");
  get("edge").dataset.live = String(edge !== null && edge - video.currentTime < 2.5);
}

function set(id, text) {
  if (get(id).textContent !== text) get(id).textContent = text;
}

// -- start -------------------------------------------------------------------

control(stage, video, {
  play: () => begin(),
  retry: () => retry(),
  jump() {
    const edge = run?.engine?.edge();
    if (edge) video.currentTime = Math.max(edge, 0);
    begin();
  },
});
video.addEventListener("ended", () => run && (run.ended = true));
showCopies(
  get("copies"),
  state.addresses.map(({ name, url }) => ({ name, text: fill(url) })),
);
showModes();
showStream();
// For tests and for whoever looks into it by hand.
window.penstock = { info, monitor, video, get run() { return run; } };
if (info.stream) play();
else wait();
setInterval(look, LOOK_MS);
setTimeout(poll, WAITING_POLL_MS);
