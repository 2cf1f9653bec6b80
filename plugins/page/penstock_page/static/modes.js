// The ways to play a stream, the best first, and which of them this browser has for these tracks.
import { flv, hls, mediaSource, native } from "./engines.js";
import { plays, supported, whep } from "./whep.js";

const IN_FLV = new Set(["h264", "h265", "av1", "aac", "mp3", "opus"]); // that mpegts.js takes

export const MODES = [
  { id: "rtc", media: "whep", label: "WebRTC", engine: whep, options: {}, patience: 5 },
  { id: "ll", media: "ll", label: "Low-latency HLS", engine: hls, options: { lowLatency: true }, patience: 15 },
  { id: "flv", media: "flv", label: "FLV", engine: flv, options: { socket: false }, patience: 15 },
  { id: "ws", media: "flv", label: "FLV over WebSocket", engine: flv, options: { socket: true }, patience: 15 },
  { id: "hls", media: "hls", label: "HLS", engine: hls, options: { lowLatency: false }, patience: 30 },
  { id: "native", media: "hls", label: "Browser’s own HLS", engine: native, options: {}, patience: 30 },
];

/** Whether this browser decodes `track`. */
export function decodes(track) {
  if (!mediaSource || !track.codecs) return true;
  if (track.codec === "mp3") return mediaSource.isTypeSupported("audio/mpeg");
  return mediaSource.isTypeSupported(`${track.kind}/mp4; codecs="${track.codecs}"`);
}

/** What of `tracks` an FLV player gets: sound that it cannot play is no reason to have no picture (G.711 of cameras). */
export function playedAsFlv(tracks) {
  return tracks.filter((track) => IN_FLV.has(track.codec) && decodes(track));
}

/** Why `mode` cannot play `tracks`, or "". */
export function obstacle(mode, tracks) {
  const shown = tracks.filter((track) => track.kind !== "data");
  if (mode.engine === native) {
    const video = document.createElement("video");
    if (!video.canPlayType("application/vnd.apple.mpegurl")) return "this browser does not play HLS by itself";
    // It says nothing, and shows nothing: what its Media Source Extensions cannot decode, it cannot here.
    const dark = shown.filter((track) => track.kind === "video" && !decodes(track));
    return dark.length ? `it cannot play ${dark.map((track) => track.name).join(" and ")}` : "";
  }
  if (mode.engine === whep) {
    if (!supported) return "this browser has no WebRTC";
    const odd = shown.filter((track) => !plays(track));
    return odd.length ? `it cannot play ${odd.map((track) => track.name).join(" and ")}` : "";
  }
  if (!mediaSource) return "this browser has no Media Source Extensions";
  const played = mode.engine === flv ? playedAsFlv(shown) : shown.filter(decodes);
  const without = (kind) => shown.some((t) => t.kind === kind) && !played.some((t) => t.kind === kind);
  // hls.js refuses a variant of which it cannot play a part.
  if (without("video") || (without("audio") && (mode.engine === hls || !played.length))) {
    const missing = shown.filter((track) => !played.includes(track));
    return `it cannot play ${missing.map((track) => track.name).join(" and ")}`;
  }
  return "";
}
