// Preloaded: node-media-server 2 listens on every address and asks a registry for its newest version.
"use strict";
const net = require("net");
const tls = require("tls");
const { EventEmitter } = require("events");

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  if (args[0] !== null && typeof args[0] === "object" && !Array.isArray(args[0])) {
    args[0] = { ...args[0], host: "127.0.0.1" };
  } else if (Number.isInteger(Number(args[0]))) {
    const callback = args.find((a) => typeof a === "function");
    return listen.call(this, { port: Number(args[0]), host: "127.0.0.1" }, callback);
  }
  return listen.apply(this, args);
};

for (const module of [require("http"), require("https")]) {
  module.request = module.get = () => {
    const silent = new EventEmitter();
    silent.end = silent.write = silent.destroy = () => silent;
    return silent;
  };
}
tls.connect = () => {
  throw new Error("only loopback traffic is measured");
};
