/** Counts the calls under way, so that stopping can wait for them. */
export class Calls {
  #n = 0;
  closed = false;
  /** @type {(() => void)[]} */
  #waiting = [];

  enter() {
    this.#n++;
  }

  leave(n = 1) {
    this.#n -= n;
    if (this.#n === 0) for (const idle of this.#waiting.splice(0)) idle();
  }

  /**
   * Takes no new calls, and waits for those under way, no longer than that many
   * milliseconds.
   * @param {number} within
   * @returns {Promise<void>}
   */
  drain(within) {
    this.closed = true;
    if (this.#n === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, within);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
