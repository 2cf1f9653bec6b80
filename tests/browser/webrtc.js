// A page that plays by WHEP and publishes by WHIP, as their own documents have it.
"use strict";

// The server's own TURN servers, as its answer to OPTIONS has them (RFC 9725 4.6), over one transport.
async function turnServers(url, transport) {
  const links = (await fetch(url, { method: "OPTIONS" })).headers.get("Link");
  const found = [];
  for (const [, urls, rest] of links.matchAll(/<([^>]*)>([^<]*)/g)) {
    const value = (name) => new RegExp(`${name}="([^"]*)"`).exec(rest)[1];
    if (urls.endsWith(`transport=${transport}`)) {
      found.push({ urls, username: value("username"), credential: value("credential") });
    }
  }
  return found;
}

// `way` is "udp", "tcp", where nothing comes through over UDP, "relay udp" or "relay tcp", by TURN alone, or "via" and a
// UDP port that stands for the server's.
async function exchange(pc, url, way = "udp") {
  const [kind, transport] = way.split(" ");
  if (kind === "relay") {
    pc.setConfiguration({ iceServers: await turnServers(url, transport), iceTransportPolicy: "relay" });
  }
  await pc.setLocalDescription();
  const begun = performance.now();
  const offer = pc.localDescription.sdp;
  const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: offer });
  let sdp = await response.text();
  if (kind === "via") {
    sdp = sdp.replace(/a=candidate:\S+ 1 tcp .*\r\n/g, "");
    sdp = sdp.replace(/(a=candidate:\S+ 1 udp \d+ \S+) \d+/g, `$1 ${transport}`);
  }
  if (way === "tcp") sdp = sdp.replace(/a=candidate:\S+ 1 udp .*\r\n/g, "");
  const told = { status: response.status, sdp, begun, offer };
  if (response.status === 201) {
    await pc.setRemoteDescription({ type: "answer", sdp });
    told.resource = new URL(response.headers.get("Location"), url).href;
    told.etag = response.headers.get("ETag");
  }
  return told;
}

// What was gathered since the offer, or an ICE restart, is told by PATCH (RFC 9725 4.3); what was answered.
async function patch(peer, restart) {
  const { pc, told } = peer;
  if (restart) pc.restartIce();
  if (restart) await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") {
    await new Promise((done) => pc.addEventListener("icegatheringstatechange", done, { once: true }));
  }
  const lines = pc.localDescription.sdp.split("\r\n");
  const kinds = ["a=ice-options:", "a=group:BUNDLE ", "m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:"];
  const first = kinds.map((kind) => lines.find((line) => line.startsWith(kind)));
  const candidates = [...new Set(lines.filter((line) => line.startsWith("a=candidate:")))];
  const response = await fetch(told.resource, {
    method: "PATCH",
    headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": restart ? "*" : told.etag },
    body: [...first, ...candidates, "a=end-of-candidates", ""].join("\r\n"),
  });
  const found = { status: response.status, fragment: await response.text(), candidates: candidates.length };
  found.etag = response.headers.get("ETag");
  if (restart && response.ok) {
    for (const name of ["ice-ufrag", "ice-pwd"]) {
      const [line] = new RegExp(`a=${name}:.*`).exec(found.fragment);
      told.sdp = told.sdp.replace(new RegExp(`a=${name}:.*`, "g"), line);
    }
    await pc.setRemoteDescription({ type: "answer", sdp: told.sdp });
  }
  return found;
}
window.patch = patch;

// Which ICE session of the server's its packets go by.
async function sessionOf(pc) {
  const reports = await pc.getStats();
  const transport = [...reports.values()].find((report) => report.type === "transport");
  const pair = reports.get(transport.selectedCandidatePairId);
  return `"${reports.get(pair.remoteCandidateId).usernameFragment}"`;
}
window.sessionOf = sessionOf;

// What the packets of a peer go by: the kind of its own candidate, and the protocol on the wire.
async function wayOf(pc) {
  const reports = await pc.getStats();
  const transport = [...reports.values()].find((report) => report.type === "transport");
  const own = reports.get(reports.get(transport.selectedCandidatePairId).localCandidateId);
  return `${own.candidateType} ${own.relayProtocol ?? own.protocol}`;
}
window.wayOf = wayOf;

// A peer that plays: `video` shows it, and what is heard goes into an analyser.
class Playing {
  constructor(name, codec, way, data = false) {
    this.way = way;
    this.pc = new RTCPeerConnection();
    if (data) this.channel = this.pc.createDataChannel("data");
    this.stream = new MediaStream();
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, autoplay: true, playsInline: true, srcObject: this.stream });
    document.body.append(this.video);
    const picture = this.pc.addTransceiver("video", { direction: "recvonly" });
    if (codec) {
      const { codecs } = RTCRtpReceiver.getCapabilities("video");
      picture.setCodecPreferences(codecs.filter((c) => c.mimeType === codec || c.mimeType === "video/rtx"));
    }
    this.pc.addTransceiver("audio", { direction: "recvonly" });
    this.pc.addEventListener("track", ({ track }) => {
      this.stream.addTrack(track);
      if (track.kind === "audio") this.listen(track);
    });
    this.first = null;
    this.video.requestVideoFrameCallback(() => (this.first = performance.now() - this.told.begun));
    Playing.all[name] = this;
  }

  async play(url) {
    this.told = await exchange(this.pc, url, this.way);
    return this.told;
  }

  async listen(track) {
    const audio = (Playing.audio ??= new AudioContext());
    await audio.resume();
    this.analyser = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0 });
    audio.createMediaStreamSource(new MediaStream([track])).connect(this.analyser);
    const quiet = new GainNode(audio, { gain: 0 });
    this.analyser.connect(quiet).connect(audio.destination);
  }

  heard() {
    return this.analyser ? strongest(this.analyser) : null;
  }

  async stats() {
    const found = { way: await wayOf(this.pc) };
    for (const report of (await this.pc.getStats()).values()) {
      if (report.type === "inbound-rtp") found[report.kind] = { ...report };
      if (report.type === "transport") found.transport = { ...report };
    }
    return found;
  }
}
Playing.all = {};
window.Playing = Playing;

// A peer that publishes: the picture of `picture.py`, drawn as it is sent and `scale` times larger, and a tone. It sends it
// once for each of `layers`, which are RTP stream ids and by how much each is smaller. With `noise` pictures are hard to
// compress, below what is read of them.
class Publishing {
  constructor(name, codec, tone, way, scale = 1, layers = null, noise = false) {
    Object.assign(this, { way, noise });
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, { width: LAYOUT.width * scale, height: LAYOUT.height * scale });
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.context.scale(scale, scale);
    this.number = 0;
    this.timer = setInterval(() => this.draw(), 40);
    this.draw();
    const audio = (Playing.audio ??= new AudioContext());
    const sound = new OscillatorNode(audio, { frequency: tone });
    const microphone = new MediaStreamAudioDestinationNode(audio, { channelCount: 1 });
    sound.connect(new GainNode(audio, { gain: 0.5 })).connect(microphone);
    sound.start();
    audio.resume();
    this.pc = new RTCPeerConnection();
    const [picture] = this.canvas.captureStream(25).getTracks();
    const [tones] = microphone.stream.getTracks();
    const sendEncodings = layers
      ? Object.entries(layers).map(([rid, scaleResolutionDownBy]) => ({ rid, scaleResolutionDownBy }))
      : [{ maxBitrate: 1500000 }];
    const sender = this.pc.addTransceiver(picture, { direction: "sendonly", sendEncodings });
    if (noise) {
      // Where the processor is busy there are fewer pictures, and not smaller ones.
      const parameters = sender.sender.getParameters();
      sender.sender.setParameters({ ...parameters, degradationPreference: "maintain-resolution" });
    }
    const { codecs } = RTCRtpSender.getCapabilities("video");
    sender.setCodecPreferences(codecs.filter((c) => c.mimeType === codec || c.mimeType === "video/rtx"));
    this.pc.addTransceiver(tones, { direction: "sendonly" });
    Playing.all[name] = this;
  }

  draw() {
    const { width, height, block, rows, columns, bars, epoch } = LAYOUT;
    const { context } = this;
    bars.forEach(([r, g, b], index) => {
      context.fillStyle = `rgb(${r} ${g} ${b})`;
      context.fillRect((index * width) / bars.length, 0, width / bars.length, height);
    });
    const value = (BigInt(this.number & 0xffff) << 40n) | BigInt(Date.now() - epoch);
    const bytes = [];
    for (let shift = 56n; shift >= 0n; shift -= 8n) bytes.push(Number((value >> shift) & 255n));
    const coded = (value << 8n) | BigInt(crc32(bytes) & 255);
    for (let bit = 0; bit < rows * columns; bit += 1) {
      context.fillStyle = (coded >> BigInt(rows * columns - 1 - bit)) & 1n ? "#fff" : "#000";
      context.fillRect((bit % columns) * block, Math.floor(bit / columns) * block, block, block);
    }
    for (let n = this.noise ? 80 : 0; n > 0; n -= 1) {
      const [x, y, colour] = [Math.random() * width, height - Math.random() * (height - rows * block), Math.random() * 360];
      context.fillStyle = `hsl(${colour} 80% 50%)`;
      context.fillRect(x, y, 7, 5);
    }
    this.number += 1;
  }

  async publish(url) {
    this.told = await exchange(this.pc, url, this.way);
    return this.told;
  }

  async stats() {
    const found = {};
    for (const report of (await this.pc.getStats()).values()) {
      if (report.type === "outbound-rtp" || report.type === "remote-inbound-rtp")
        found[`${report.type} ${report.kind}`] = { ...report };
    }
    return found;
  }
}
window.Publishing = Publishing;
