// What the server says of the stream, and its clock.

export class Refused extends Error {}

export class Info {
  #url;
  #offset = null;
  #error = Infinity;
  stream;

  constructor(url, stream, now) {
    this.#url = url;
    this.stream = stream;
    this.#offset = now - Date.now();
  }

  async ask() {
    const sent = Date.now();
    const answer = await fetch(this.#url, { cache: "no-store" });
    const took = Date.now() - sent;
    if (answer.status === 401 || answer.status === 403) throw new Refused("You may not watch this stream");
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    const { stream, now } = await answer.json();
    // The quickest answer tells the time best; a slow one may have waited on either way.
    this.#error *= 1.1;
    if (took / 2 <= this.#error) {
      this.#error = Math.max(1, took / 2);
      this.#offset = now - (sent + took / 2);
    }
    this.stream = stream;
    return stream;
  }

  /** The server's wall time in ms. */
  get now() {
    return Date.now() + this.#offset;
  }
}
