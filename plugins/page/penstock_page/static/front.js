// The front page: the list of live streams, kept up to date.
import { fill, showCopies } from "./copies.js";
import { bitRate, duration, tracks } from "./text.js";

const POLL_MS = 3000;
const FILTER_FROM = 9; // below that, one sees them all

const state = JSON.parse(document.body.dataset.state);
const cards = document.getElementById("cards");
const blank = document.getElementById("card").content.firstElementChild;
const filter = document.getElementById("filter");
const note = document.getElementById("note");
const here = window.location.pathname.replace(/\/$/, "");

showCopies(
  document.getElementById("publish"),
  state.addresses
    .filter(({ url }) => /^(rtmp|rtsp):/.test(url))
    .map(({ name, url }) => ({ name, text: command(name, fill(url)) })),
);

function command(name, url) {
  const format = name === "RTSP" ? "rtsp" : "flv";
  return `ffmpeg -re -i input.mp4 -c:v libx264 -c:a aac -f ${format} ${url}`;
}

function show(streams) {
  const old = new Map([...cards.children].map((card) => [card.dataset.path ?? pathOf(card), card]));
  const wanted = streams.map((stream) => update(old.get(stream.path) ?? blank.cloneNode(true), stream));
  // Those that stay are not touched, so that neither focus nor a click under way is lost.
  for (const card of [...cards.children]) if (!wanted.includes(card)) card.remove();
  wanted.forEach((card, index) => {
    if (cards.children[index] !== card) cards.insertBefore(card, cards.children[index] ?? null);
  });
  document.getElementById("count").textContent = streams.length;
  filter.hidden = streams.length < FILTER_FROM;
  sift();
}

function pathOf(card) {
  return card.querySelector("[data-field=path]").textContent;
}

function update(card, stream) {
  card.dataset.path = stream.path;
  const set = (name, text) => {
    const field = card.querySelector(`[data-field=${name}]`);
    if (field.textContent !== text) field.textContent = text;
  };
  set("path", stream.path);
  set("tracks", tracks(stream.tracks));
  set("bit_rate", bitRate(stream.bit_rate));
  set("uptime", duration(stream.uptime));
  set("readers", String(stream.readers));
  const path = stream.path.split("/").map(encodeURIComponent).join("/");
  card.querySelector("a").href = `${here}/${path}${window.location.search}`;
  return card;
}

function sift() {
  const words = filter.hidden ? "" : filter.value.trim().toLowerCase();
  for (const card of cards.children) card.hidden = !pathOf(card).toLowerCase().includes(words);
}

async function poll() {
  if (!document.hidden) {
    try {
      const answer = await fetch(state.streams, { cache: "no-store" });
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      show((await answer.json()).streams);
      note.textContent = "";
    } catch (error) {
      note.textContent = `This list is not up to date: ${error.message}.`;
    }
  }
  setTimeout(poll, POLL_MS);
}

filter.addEventListener("input", sift);
if (state.listed) poll();
