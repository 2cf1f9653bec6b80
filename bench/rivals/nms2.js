// node-media-server 2.7.4 with the values of its own bin/app.js, without its web part: nms2.js FOLDER PORT
"use strict";
const [folder, port] = process.argv.slice(2);
const NodeMediaServer = require(`${folder}/node_modules/node-media-server`);
new NodeMediaServer({
  logType: 1,
  rtmp: { port: Number(port), chunk_size: 60000, gop_cache: true, ping: 30, ping_timeout: 60 },
}).run();
