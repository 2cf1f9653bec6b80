// node-media-server 4.4.3 with the values of its own bin/config.json, without its pages: nms4.js FOLDER PORT STORE HTTP-PORT
"use strict";
const [folder, port, store, http] = process.argv.slice(2);
const NodeMediaServer = require(`${folder}/node_modules/node-media-server`);
new NodeMediaServer(
  {
    bind: "127.0.0.1",
    notify: { url: "" },
    store: { path: store, maxHistory: 10000 },
    auth: { play: false, publish: false, secret: "" },
    rtmp: { port: Number(port) },
    http: { port: Number(http) },
    webadmin: { enable: false },
    record: { auto: false, path: store },
  },
  `${store}/config.json`,
).run();
