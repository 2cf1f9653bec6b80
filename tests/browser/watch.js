// Looks at every frame that a <video> shows: reads its number and time from the picture, listens, counts stalls.
"use strict";

const LAYOUT = /*LAYOUT*/ {};

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// The strongest frequency of what is heard, null where all is silent.
function strongest(analyser) {
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  let best = 0;
  bins.forEach((level, index) => (best = level > bins[best] ? index : best));
  return bins[best] > -80 ? (best * analyser.context.sampleRate) / analyser.fftSize : null;
}

class Watcher {
  constructor(video) {
    this.video = video;
    this.canvas = new OffscreenCanvas(LAYOUT.width, LAYOUT.height);
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.first = performance.now();
    this.events = [];
    for (const name of ["waiting", "playing", "seeking", "error", "ended", "ratechange"]) {
      video.addEventListener(name, () => this.events.push([name, performance.now()]));
    }
    this.begin();
    const look = (now, frame) => {
      this.frame(frame);
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  }

  // What came before is forgotten: a player may take its time to begin.
  begin() {
    this.started = performance.now();
    this.frames = [];
    this.unreadable = 0;
    this.colour = 0;
    this.quality = this.video.getVideoPlaybackQuality();
    this.sound = this.video.webkitAudioDecodedByteCount ?? 0;
    this.played = this.length();
    this.events.length = 0;
  }

  // Seconds of the stream that were played so far: more than have gone by where a player makes up for its delay.
  length() {
    const { played } = this.video;
    return Array.from({ length: played.length }, (_, n) => played.end(n) - played.start(n)).reduce((sum, one) => sum + one, 0);
  }

  frame(told) {
    const shown = Date.now() + told.expectedDisplayTime - performance.now();
    // Once a second the whole picture, otherwise what tells the frame: a dozen players share the machine.
    const whole = this.frames.length % 25 === 0;
    const { videoWidth, videoHeight } = this.video;
    const { width, height } = LAYOUT;
    const coded = LAYOUT.block * LAYOUT.rows;
    const part = whole ? 1 : coded / height;
    this.context.drawImage(this.video, 0, 0, videoWidth, videoHeight * part, 0, 0, width, height * part);
    const code = this.read();
    if (code === null) this.unreadable += 1;
    else this.frames.push({ number: code.number, delay: shown - code.time, at: performance.now(), media: told.mediaTime });
    if (whole) this.colour = Math.max(this.colour, this.wrong());
  }

  read() {
    const { block, rows, columns } = LAYOUT;
    const { data, width } = this.context.getImageData(0, 0, LAYOUT.width, block * rows);
    let value = 0n;
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const at = 4 * ((row * block + block / 2) * width + column * block + block / 2);
        value = (value << 1n) | (data[at + 1] > 127 ? 1n : 0n);
      }
    }
    const payload = value >> 8n;
    const bytes = [];
    for (let shift = 56n; shift >= 0n; shift -= 8n) bytes.push(Number((payload >> shift) & 255n));
    if ((crc32(bytes) & 255) !== Number(value & 255n)) return null;
    return { number: Number(payload >> 40n), time: Number(payload & 0xffffffffffn) + LAYOUT.epoch };
  }

  // How far the worst bar is off its colour, in steps of 255.
  wrong() {
    const bar = LAYOUT.width / LAYOUT.bars.length;
    let worst = 0;
    LAYOUT.bars.forEach((colour, index) => {
      for (const y of [60, 120, 170]) {
        const { data } = this.context.getImageData(index * bar + bar / 2, y, 1, 1);
        for (let i = 0; i < 3; i += 1) worst = Math.max(worst, Math.abs(data[i] - colour[i]));
      }
    });
    return worst;
  }

  async listen() {
    if (!this.analyser) {
      const audio = (Watcher.audio ??= new AudioContext());
      await audio.resume();
      this.analyser = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0 });
      // What goes into the context is not heard elsewhere; a muted element gives silence.
      this.video.muted = false;
      audio.createMediaElementSource(this.video).connect(this.analyser);
      const quiet = new GainNode(audio, { gain: 0 });
      this.analyser.connect(quiet).connect(audio.destination);
    }
  }

  heard() {
    return this.analyser ? strongest(this.analyser) : null;
  }

  report() {
    const { frames, video } = this;
    const quality = video.getVideoPlaybackQuality();
    const delays = frames.map((frame) => frame.delay).sort((a, b) => a - b);
    let missing = 0;
    let backwards = 0;
    let longest = frames.length ? frames[0].at - this.started : performance.now() - this.started;
    for (let i = 1; i < frames.length; i += 1) {
      const step = (frames[i].number - frames[i - 1].number) & 0xffff;
      if (step > 0x7fff) backwards += 1;
      else if (step > 1) missing += step - 1;
      longest = Math.max(longest, frames[i].at - frames[i - 1].at);
    }
    if (frames.length) longest = Math.max(longest, performance.now() - frames[frames.length - 1].at);
    const count = (name) => this.events.filter(([event]) => event === name).length;
    return {
      seconds: (performance.now() - this.started) / 1000,
      frames: frames.length,
      unreadable: this.unreadable,
      missing,
      backwards,
      longest,
      stalls: count("waiting"),
      seeks: count("seeking"),
      colour: this.colour,
      dropped: quality.droppedVideoFrames - this.quality.droppedVideoFrames,
      decoded: quality.totalVideoFrames - this.quality.totalVideoFrames,
      played: this.length() - this.played,
      sound: (video.webkitAudioDecodedByteCount ?? 0) - this.sound,
      frequency: this.heard(),
      delay: delays.length ? delays[Math.floor(delays.length / 2)] : null,
      delayMost: delays.length ? delays[delays.length - 1] : null,
      delayLeast: delays.length ? delays[0] : null,
      position: video.currentTime,
      size: [video.videoWidth, video.videoHeight],
      error: video.error?.message ?? null,
    };
  }
}

// How late the page itself is: where the machine gives it no time, that no picture came says nothing of the stream.
const BEAT_MS = 50;
Watcher.late = 0;
let beat = performance.now();
setInterval(() => {
  const now = performance.now();
  Watcher.late = Math.max(Watcher.late, now - beat - BEAT_MS);
  beat = now;
}, BEAT_MS);

window.Watcher = Watcher;
