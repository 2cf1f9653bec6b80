// What mp4box and mediabunny find in the files named: one line of JSON for each file.
// NODE_PATH is where they are installed.
const fs = require("node:fs");
const { createFile, Log, MP4BoxBuffer } = require("mp4box");
const { ALL_FORMATS, BufferSource, EncodedPacketSink, Input } = require("mediabunny");

function byMp4box(data) {
  const said = [];
  for (const level of ["warn", "error"]) Log[level] = (where, what) => said.push(`${where}: ${what}`);
  const file = createFile(true);
  const found = { said, tracks: {} };
  file.onError = (where, what) => said.push(`${where}: ${what}`);
  file.onReady = (info) => {
    for (const track of info.tracks) {
      found.tracks[track.id] = { codec: track.codec, samples: [] };
      file.setExtractionOptions(track.id, null, { nbSamples: 1 });
    }
    found.brands = info.brands;
    file.start();
  };
  file.onSamples = (id, _, samples) => {
    for (const s of samples) {
      found.tracks[id].samples.push([s.dts, s.cts, s.duration, s.size, s.is_sync]);
      file.releaseUsedSamples(id, s.number + 1);
    }
  };
  file.appendBuffer(MP4BoxBuffer.fromArrayBuffer(data, 0), true);
  file.flush();
  return found;
}

async function byMediabunny(data) {
  const input = new Input({ source: new BufferSource(data), formats: ALL_FORMATS });
  const found = { mime: await input.getMimeType(), tracks: {} };
  for (const track of await input.getTracks()) {
    const packets = [];
    for await (const packet of new EncodedPacketSink(track).packets()) {
      packets.push([packet.timestamp, packet.data.byteLength, packet.type === "key"]);
    }
    found.tracks[track.id] = { codec: await track.getCodecParameterString(), packets };
  }
  return found;
}

(async () => {
  for (const name of process.argv.slice(2)) {
    const bytes = fs.readFileSync(name);
    const copy = () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    console.log(JSON.stringify({ mp4box: byMp4box(copy()), mediabunny: await byMediabunny(copy()) }));
  }
})();
