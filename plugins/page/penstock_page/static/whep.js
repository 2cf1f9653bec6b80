// WebRTC by WHEP: the least delay, where the browser has the codecs and the server is reached by UDP.

const NTP_MS = 2208988800000; // from 1900, where RTCP's times begin, to 1970

const capabilities = (kind) => window.RTCRtpReceiver?.getCapabilities?.(kind)?.codecs ?? [];

/** Whether this browser has WebRTC. */
export const supported = "RTCPeerConnection" in window && capabilities("video").length > 0;

/** Whether it plays `track` by WebRTC. Sound of another codec is made anew by a server that can, pictures where `made` says so. */
export function plays(track) {
  const names = [track.codec, ...(track.made ?? [])].map((codec) => `video/${codec}`);
  return track.kind !== "video" || capabilities("video").some((codec) => names.includes(codec.mimeType.toLowerCase()));
}

export async function whep(video, url, report, { kinds }) {
  const pc = new RTCPeerConnection();
  const stream = new MediaStream();
  let resource = null;
  let stopped = false;
  const leave = () => resource && fetch(resource, { method: "DELETE", keepalive: true }).catch(() => {});
  const stop = () => {
    stopped = true;
    window.removeEventListener("pagehide", leave);
    pc.close();
    leave();
    resource = null;
    if (video.srcObject === stream) video.srcObject = null;
  };
  pc.addEventListener("track", ({ track }) => stream.addTrack(track));
  pc.addEventListener("connectionstatechange", () => {
    if (pc.connectionState === "failed" || pc.connectionState === "closed") report.fail("the connection is gone");
  });
  for (const kind of kinds) pc.addTransceiver(kind, { direction: "recvonly" });
  try {
    await pc.setLocalDescription();
    // Opus is mono unless it is asked for.
    const offer = pc.localDescription.sdp.replace(/(a=fmtp:\d+ .*useinbandfec=1)/g, "$1;stereo=1");
    const headers = { "Content-Type": "application/sdp" };
    const response = await fetch(url, { method: "POST", headers, body: offer });
    const answer = await response.text();
    // A proxy in between answers with a page.
    const worded = response.headers.get("Content-Type")?.startsWith("text/plain");
    const explained = worded && (response.status === 422 || response.status === 503);
    if (!response.ok) throw new Error(explained ? answer.trim() : `the server answers ${response.status}`);
    resource = new URL(response.headers.get("Location"), response.url).href;
    window.addEventListener("pagehide", leave);
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    const missing = pc.getTransceivers().find((each) => each.currentDirection !== "recvonly");
    if (missing) throw new Error(`it would have no ${missing.receiver.track.kind}`);
    report.wanted();
    // The server says goodbye by DTLS, and the connection's own state does not tell: another codec was published, say.
    const [{ transport }] = pc.getReceivers();
    transport?.addEventListener("statechange", () => transport.state === "closed" && report.ended());
  } catch (error) {
    stop();
    throw error;
  }
  video.srcObject = stream;
  let delay = null;
  const ask = async (later) => {
    // What is shown now has this time on the clock of the server's sender reports.
    for (const told of (await pc.getStats()).values()) {
      if (told.type === "inbound-rtp" && told.kind === "video" && told.estimatedPlayoutTimestamp) {
        delay = told.timestamp + later - (told.estimatedPlayoutTimestamp - NTP_MS);
      }
    }
  };
  return {
    pc,
    delay(now, _origin, ahead) {
      if (!stopped) ask(now + ahead - (performance.timeOrigin + performance.now())).catch(() => {});
      return delay;
    },
    edge: () => video.currentTime,
    stop,
  };
}
