// Figures as people read them, as penstock_page/text.py writes them.

export function bitRate(bits) {
  return bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${(bits / 1e3).toFixed(0)} kbit/s`;
}

export function duration(seconds) {
  const whole = Math.floor(seconds);
  if (whole >= 2 * 86400) return `${Math.floor(whole / 86400)} days`;
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export function track(t) {
  const parts = [t.name];
  if (t.width) parts.push(`${t.width}×${t.height}`);
  if (t.frame_rate) parts.push(`${Number(t.frame_rate.toPrecision(4))} fps`);
  if (t.sample_rate) {
    parts.push(`${t.sample_rate / 1000} kHz`);
    parts.push({ 1: "mono", 2: "stereo" }[t.channels] ?? `${t.channels} channels`);
  }
  return parts.join(" ");
}

export function tracks(list) {
  return list.filter((t) => t.kind !== "data").map(track).join(" · ");
}

export function seconds(value) {
  if (value > 0 && value < 0.1) return `${Math.ceil(value * 1000)} ms`;
  return `${value.toFixed(value < 9.95 ? 1 : 0)} s`;
}
