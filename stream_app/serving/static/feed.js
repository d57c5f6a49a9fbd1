// The connection to the server: EventSource reconnects after a dropped connection by itself, but not after an HTTP
// error, and it cannot notice a peer that fell silent. Both are repaired here.

const RETRY_MS = 3000;
// How much longer than a stale one a silent connection is left alone: a server that is only busy need not serve it twice.
const GRACE_MS = 15_000;

/**
 * Follow the event stream for as long as the page lives.
 *
 * Mutable state: the current source, the build first heard of, and when anything was last heard.
 */
export class Feed {
  #url;
  #listener;
  #source = null;
  #build = null;
  #heardAt;
  #openedAt;
  #patienceMs;

  /** `listener` has `onSnapshot(snapshot)`, `onHeartbeat(atMs)` and `onNewBuild()`. */
  constructor(url, patienceMs, listener) {
    this.#url = url;
    this.#patienceMs = patienceMs;
    this.#listener = listener;
    this.#heardAt = performance.now();
    this.#open();
  }

  /** Milliseconds since the server last said anything. */
  get silenceMs() {
    return performance.now() - this.#heardAt;
  }

  /** Open anew what has been silent for too long. Call it about once a second. */
  watch() {
    const limitMs = this.#patienceMs + GRACE_MS;
    if (this.silenceMs > limitMs && performance.now() - this.#openedAt > limitMs) this.#open();
  }

  #open() {
    this.#source?.close();
    this.#openedAt = performance.now();
    const source = (this.#source = new EventSource(this.#url));
    const on = (name, act) =>
      source.addEventListener(name, (event) => {
        this.#heardAt = performance.now();
        act(JSON.parse(event.data));
      });
    on("hello", ({ build }) => this.#greet(build));
    on("snapshot", (snapshot) => this.#listener.onSnapshot(snapshot));
    on("update", (snapshot) => this.#listener.onSnapshot(snapshot));
    on("heartbeat", ({ at_ms: atMs }) => this.#listener.onHeartbeat(atMs));
    source.addEventListener("error", () => {
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(() => {
        if (source === this.#source) this.#open();
      }, RETRY_MS);
    });
  }

  #greet(build) {
    if (this.#build !== null && build !== this.#build) this.#listener.onNewBuild();
    this.#build = build;
  }
}
