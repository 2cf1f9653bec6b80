// What plays: each engine puts a URL into the <video> and tells the same few things of it.
//
// report.fail(reason)   it cannot go on
// report.ended()        the stream is over
// report.wanted()       throws where another way was chosen while this one waited: it may not take the <video>
// engine.delay(now, origin, ahead)   ms between the server's getting a frame and our showing it, null where it is not known
// engine.edge()         the position to jump to for the newest picture
// engine.stop()

const EDGE_SECONDS = 0.8; // of FLV in the buffer that a jump leaves: less stalls at the next hiccup

export const mediaSource = window.ManagedMediaSource ?? window.MediaSource;

// What the browser says of it is for who debugs it.
function undecodable(said) {
  console.warn("penstock:", said);
  return "this browser cannot decode it";
}

const loading = new Map();

function library(file, name) {
  // Only what is used is loaded: together they are 900 KB.
  if (!loading.has(file)) {
    loading.set(
      file,
      new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = new URL(file, import.meta.url);
        script.onload = () => resolve(window[name]);
        script.onerror = () => {
          loading.delete(file);
          reject(new Error(`${file} cannot be loaded`));
        };
        document.head.append(script);
      }),
    );
  }
  return loading.get(file);
}

export async function hls(video, url, report, { lowLatency }) {
  const Hls = await library("hls.min.js", "Hls");
  report.wanted();
  if (!Hls.isSupported()) throw new Error("this browser has no Media Source Extensions");
  const player = new Hls({
    lowLatencyMode: lowLatency,
    maxLiveSyncPlaybackRate: lowLatency ? 1.1 : 1.04,
    backBufferLength: 20,
    liveDurationInfinity: true,
    enableInterstitialPlayback: false,
  });
  let recovered = 0;
  player.on(Hls.Events.ERROR, (_, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && performance.now() - recovered > 5000) {
      recovered = performance.now();
      player.recoverMediaError();
      return;
    }
    report.fail(hlsReason(data));
  });
  player.loadSource(url);
  player.attachMedia(video);
  return {
    player,
    delay: (now) => (player.playingDate ? now - player.playingDate.getTime() : null),
    edge: () => player.liveSyncPosition,
    stop: () => player.destroy(),
  };
}

function hlsReason(data) {
  const status = data.response?.code;
  if (status >= 400) return `the server answers ${status}`;
  if (data.type === "mediaError") return undecodable(`${data.details} ${data.error?.message ?? ""}`);
  return data.details.replace(/([A-Z])/g, " $1").toLowerCase();
}

export async function flv(video, url, report, { socket, tracks }) {
  const mpegts = await library("mpegts.js", "mpegts");
  report.wanted();
  if (!mpegts.isSupported()) throw new Error("this browser has no Media Source Extensions");
  mpegts.LoggingControl.enableAll = false;
  const absolute = new URL(url, window.location.href);
  if (socket) absolute.protocol = absolute.protocol.replace("http", "ws");
  const kinds = tracks.map((track) => track.kind);
  const player = mpegts.createPlayer(
    {
      type: "flv",
      isLive: true,
      url: absolute.href,
      hasAudio: kinds.includes("audio"),
      hasVideo: kinds.includes("video"),
    },
    {
      enableStashBuffer: false,
      lazyLoad: false,
      autoCleanupSourceBuffer: true,
      autoCleanupMaxBackwardDuration: 30,
      autoCleanupMinBackwardDuration: 15,
      // A long group of pictures, with which it begins, is made up by a jump.
      liveBufferLatencyChasing: true,
      liveBufferLatencyMaxLatency: 4,
      liveBufferLatencyMinRemain: EDGE_SECONDS,
    },
  );
  player.on(mpegts.Events.ERROR, (type, detail, info) => {
    const status = info?.code > 0 ? `the server answers ${info.code}` : "";
    if (type === mpegts.ErrorTypes.MEDIA_ERROR) report.fail(undecodable(`${detail} ${info?.msg ?? ""}`));
    else report.fail(status || info?.msg || detail);
  });
  player.on(mpegts.Events.LOADING_COMPLETE, () => report.ended());
  // Between too much in hand and too little, which stalls at the next hiccup, it is steered by the pace.
  const steer = () => {
    const { buffered, currentTime, playbackRate } = video;
    const hand = buffered.length ? buffered.end(buffered.length - 1) - currentTime : EDGE_SECONDS;
    if (hand > 1.5) video.playbackRate = 1.1;
    else if (hand < 0.3) video.playbackRate = 0.95;
    else if (playbackRate > 1 ? hand < EDGE_SECONDS : hand > 0.6) video.playbackRate = 1;
  };
  video.addEventListener("timeupdate", steer);
  player.attachMediaElement(video);
  player.load();
  return {
    player,
    delay(now, origin) {
      // It moves times so that the first is 0, and keeps to itself by how much.
      const base = player._player_engine?._transmuxer?._controller?._remuxer?.getTimestampBase?.();
      return base === undefined || origin === null ? null : now - (origin + base + video.currentTime * 1000);
    },
    edge: () => (video.buffered.length ? video.buffered.end(video.buffered.length - 1) - EDGE_SECONDS : null),
    stop() {
      video.removeEventListener("timeupdate", steer);
      player.destroy();
      video.playbackRate = 1;
    },
  };
}

export async function native(video, url, report) {
  const failed = () => {
    const { code, message } = video.error ?? {};
    report.fail(code === MediaError.MEDIA_ERR_NETWORK ? "it cannot be loaded" : undecodable(message));
  };
  video.addEventListener("error", failed);
  video.src = url;
  return {
    delay(now) {
      const start = video.getStartDate?.().getTime();
      return start > 0 ? now - (start + video.currentTime * 1000) : null;
    },
    edge: () => (video.seekable.length ? video.seekable.end(video.seekable.length - 1) - EDGE_SECONDS : null),
    stop() {
      video.removeEventListener("error", failed);
      video.removeAttribute("src");
      video.load();
    },
  };
}
