// Buttons, keys and gestures on the picture.

const IDLE_MS = 2600;

export function control(stage, video, actions) {
  const get = (id) => document.getElementById(id);
  const icon = (button, name) => button.querySelector("use").setAttribute("href", `#i-${name}`);
  const volume = get("volume");
  let idle = 0;

  const toggle = () => (video.paused ? actions.play() : video.pause());
  const sound = () => {
    video.muted = !video.muted;
    if (!video.muted && video.volume === 0) video.volume = 1;
  };
  const full = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (stage.requestFullscreen) stage.requestFullscreen().catch(() => {});
    else video.webkitEnterFullscreen?.();
  };
  const awake = () => {
    stage.classList.remove("idle");
    clearTimeout(idle);
    idle = setTimeout(() => stage.classList.toggle("idle", !video.paused), IDLE_MS);
  };

  get("play").addEventListener("click", toggle);
  get("big").addEventListener("click", () => actions.play());
  get("mute").addEventListener("click", sound);
  get("unmute").addEventListener("click", sound);
  get("edge").addEventListener("click", () => actions.jump());
  get("full").addEventListener("click", full);
  get("retry").addEventListener("click", () => actions.retry());
  volume.addEventListener("input", () => {
    video.volume = Number(volume.value);
    video.muted = video.volume === 0;
  });
  if (document.pictureInPictureEnabled) {
    get("pip").hidden = false;
    get("pip").addEventListener("click", () => {
      if (document.pictureInPictureElement) document.exitPictureInPicture();
      else video.requestPictureInPicture().catch(() => {});
    });
  }

  video.addEventListener("pointerup", (event) => {
    // A finger brings up the buttons; a mouse, which shows them anyway, stops the picture.
    if (event.pointerType === "mouse" && event.button === 0) toggle();
  });
  video.addEventListener("dblclick", full);
  for (const event of ["pointermove", "pointerdown", "keydown"]) document.addEventListener(event, awake);
  stage.addEventListener("pointerleave", () => stage.classList.toggle("idle", !video.paused));
  document.addEventListener("fullscreenchange", () => {
    icon(get("full"), document.fullscreenElement ? "small" : "full");
    get("full").setAttribute("aria-label", document.fullscreenElement ? "Leave full screen" : "Full screen");
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, button, a, code") || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = { " ": toggle, k: toggle, m: sound, f: full }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  const shown = () => {
    icon(get("play"), video.paused ? "play" : "pause");
    get("play").setAttribute("aria-label", video.paused ? "Play" : "Pause");
    icon(get("mute"), video.muted ? "muted" : "sound");
    get("mute").setAttribute("aria-label", video.muted ? "Sound on" : "Sound off");
    volume.value = video.muted ? 0 : video.volume;
    if (!video.muted) get("unmute").hidden = true;
    if (video.paused) stage.classList.remove("idle");
  };
  for (const event of ["play", "pause", "volumechange"]) video.addEventListener(event, shown);
  video.addEventListener("playing", awake);
  shown();
}
