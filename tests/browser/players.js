// Each player as its own documentation has it, with no setting but what a live stream needs.
"use strict";

function hlsjs(video, url, lowLatencyMode) {
  // With low latency the player has to make up by its pace for what it was late at the start.
  const player = new Hls({ lowLatencyMode, maxLiveSyncPlaybackRate: lowLatencyMode ? 1.2 : 1 });
  player.on(Hls.Events.ERROR, (_, data) => data.fatal && failed(video, `${data.type} ${data.details}`));
  player.loadSource(url);
  player.attachMedia(video);
  return player;
}

function mpegtsjs(video, url, type, socket) {
  const absolute = new URL(url, location.href);
  if (socket) absolute.protocol = absolute.protocol.replace("http", "ws");
  const player = mpegts.createPlayer(
    { type, isLive: true, url: absolute.href },
    { enableStashBuffer: false, lazyLoad: false, liveSync: true },
  );
  player.on(mpegts.Events.ERROR, (...told) => failed(video, JSON.stringify(told)));
  player.attachMediaElement(video);
  player.load();
  return player;
}

function dashjs_(video, url, low) {
  const player = dashjs.MediaPlayer().create();
  if (low) player.updateSettings({ streaming: { delay: { liveDelay: 1.5 } } });
  player.on("error", (event) => failed(video, JSON.stringify(event.error?.message ?? event.error)));
  player.initialize(video, url, true);
  return player;
}

// Waits until `enough` of the durations of the segments in the list of what has its variants at `url`.
async function listed(url, enough) {
  const variants = await (await fetch(url)).text();
  const playlist = new URL(variants.match(/^[^#].*$/gm).at(-1), new URL(url, location.href));
  for (;;) {
    const text = await (await fetch(playlist)).text();
    if (enough([...text.matchAll(/#EXTINF:([\d.]+)/g)].map(([, seconds]) => Number(seconds)))) return;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

// It loads lists of HLS each target duration, a few milliseconds less each time, and once just before what is new: so it has to begin
// three segments from the end, and is started when the list has as many.
async function shakaPlayer(video, url) {
  if (url.includes(".m3u8")) await listed(url, (durations) => durations.length >= 3);
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  player.addEventListener("error", (event) => failed(video, `shaka ${event.detail.code}`));
  await player.attach(video);
  await player.load(url);
  return player;
}

// Chromium 156's own HLS loads segments until it has 10 s before it plays at all, takes its beginning for the end of a pause, and
// gives up where the list then brings nothing new: "Segment queue never had any data". So it is started when the list has a
// segment more than it loads, and again where it failed all the same. Once it shows pictures nothing may go wrong.
const LOADED = 10.5; // seconds

async function native(video, url) {
  video.addEventListener("error", () => {
    if (video.currentTime < 0.5) setTimeout(() => (video.src = url), 1000);
  });
  if (url.includes(".m3u8")) {
    await listed(url, (durations) => durations.slice(0, -1).reduce((sum, seconds) => sum + seconds, 0) > LOADED);
  }
  video.src = url;
  return null;
}

function failed(video, reason) {
  video.dataset.failed ??= reason;
}

const START = {
  "hls.js ts": (video, url) => hlsjs(video, `${url}.m3u8?variant=ts`, false),
  "hls.js fmp4": (video, url) => hlsjs(video, `${url}.m3u8?variant=fmp4`, false),
  "hls.js ll": (video, url) => hlsjs(video, `${url}.m3u8?variant=ll`, true),
  "native m3u8 ts": (video, url) => native(video, `${url}.m3u8?variant=ts`),
  "native m3u8 fmp4": (video, url) => native(video, `${url}.m3u8?variant=fmp4`),
  "native mp4": (video, url) => native(video, `${url}.mp4`),
  "mpegts.js flv": (video, url) => mpegtsjs(video, `${url}.flv`, "flv", false),
  "mpegts.js flv WebSocket": (video, url) => mpegtsjs(video, `${url}.flv`, "flv", true),
  "mpegts.js ts": (video, url) => mpegtsjs(video, `${url}.ts`, "mpegts", false),
  "mpegts.js ts WebSocket": (video, url) => mpegtsjs(video, `${url}.ts`, "mpegts", true),
  "dash.js": (video, url) => dashjs_(video, `${url}.mpd`, false),
  "shaka mpd": (video, url) => shakaPlayer(video, `${url}.mpd`),
  "shaka m3u8": (video, url) => shakaPlayer(video, `${url}.m3u8?variant=fmp4`),
};

window.watchers = {};

async function start(name, url) {
  const figure = document.createElement("figure");
  const video = document.createElement("video");
  const caption = document.createElement("figcaption");
  caption.textContent = name;
  video.muted = true;
  video.playsInline = true;
  video.autoplay = true;
  figure.append(video, caption);
  document.body.append(figure);
  const watcher = (window.watchers[name] = new Watcher(video));
  try {
    watcher.player = await START[name](video, url);
  } catch (error) {
    failed(video, String(error));
  }
}
