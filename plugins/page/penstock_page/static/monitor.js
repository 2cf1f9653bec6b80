// What can be seen of a <video> while it plays: stalls, frames, how much it has in hand.

const WINDOW_MS = 3000;

export class Monitor {
  #video;
  #frames = [];
  #started = false;
  #dropped = 0;
  #moved = 0;
  #position = -1;
  stalls = 0;

  constructor(video) {
    this.#video = video;
    video.addEventListener("playing", () => (this.#started = true));
    video.addEventListener("waiting", () => {
      // Having nothing before the first picture, or after a jump, is no stall.
      if (this.#started && !video.seeking && !video.paused) this.stalls += 1;
    });
  }

  /** Another source begins. */
  reset() {
    this.#started = false;
    this.#frames = [];
    this.#dropped = this.#video.getVideoPlaybackQuality().droppedVideoFrames;
    this.#moved = performance.now();
    this.#position = -1;
    this.stalls = 0;
  }

  /** To be called about twice a second. */
  look() {
    const now = performance.now();
    const frames = this.#video.getVideoPlaybackQuality().totalVideoFrames;
    // WebRTC's time goes on without pictures.
    const position = this.#video.srcObject && this.#video.videoWidth ? frames : this.#video.currentTime;
    if (position !== this.#position) {
      this.#position = position;
      this.#moved = now;
    }
    this.#frames.push([now, frames]);
    while (now - this.#frames[0][0] > WINDOW_MS) this.#frames.shift();
  }

  /** Seconds for which the picture has not moved. */
  get standing() {
    return (performance.now() - this.#moved) / 1000;
  }

  get started() {
    return this.#started;
  }

  get dropped() {
    return Math.max(0, this.#video.getVideoPlaybackQuality().droppedVideoFrames - this.#dropped);
  }

  get frameRate() {
    if (this.#frames.length < 3) return null;
    const [then, before] = this.#frames[0];
    const [now, after] = this.#frames[this.#frames.length - 1];
    return after > before ? ((after - before) * 1000) / (now - then) : null;
  }

  get inHand() {
    const { buffered, currentTime } = this.#video;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime <= buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }
}
