import { checkFilter, drop, log, mapOf, pass, Plugin } from "@hookmux/sdk";

// Drops what a client publishes faster than its rate: a bucket of tokens for each
// client, which is kept as long as it is not full again.
export class RateLimit extends Plugin {
  static config = {
    perSecond: positive(10), // messages of one client
    burst: positive(20), // messages at once, after a pause
    topics: ["#"], // filters of the topics that count
    clients: mapOf({ perSecond: positive(10), burst: positive(20) }), // by client id, instead of the above
  };

  /** @type {Map<string, { tokens: number, at: number, dropped: number }>} */
  buckets = new Map();

  topics() {
    return { "message.publish": this.config.topics };
  }

  onStart() {
    this.config.topics.forEach(checkFilter);
    this.sweeper = setInterval(() => this.sweep(), 1000).unref();
  }

  onStop() {
    clearInterval(this.sweeper);
  }

  onMessagePublish(r) {
    const client = r.message.from;
    const { perSecond, burst } = this.limitOf(client);
    const now = this.now();
    const bucket = this.buckets.get(client) ?? { tokens: burst, at: now, dropped: 0 };
    this.buckets.set(client, bucket);
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * perSecond);
    bucket.at = now;
    if (bucket.tokens < 1) {
      if (bucket.dropped++ === 0) log.warn("too many messages: dropped from now on", { client, topic: r.message.topic });
      return drop.final();
    }
    bucket.tokens--;
    return pass;
  }

  // Forgets the clients whose bucket is full again, and says what they lost.
  sweep() {
    const now = this.now();
    for (const [client, bucket] of this.buckets) {
      const { perSecond, burst } = this.limitOf(client);
      if (bucket.tokens + ((now - bucket.at) / 1000) * perSecond < burst) continue;
      if (bucket.dropped) log.info("messages are let through again", { client, dropped: bucket.dropped });
      this.buckets.delete(client);
    }
  }

  limitOf(client) {
    return Object.hasOwn(this.config.clients, client) ? this.config.clients[client] : this.config;
  }

  // Milliseconds; a test has its own clock.
  now() {
    return performance.now();
  }
}

function positive(otherwise) {
  return (value = otherwise) => {
    if (typeof value === "number" && value >= 1) return value;
    throw new Error(`must be a number not below 1, not ${JSON.stringify(value)}`);
  };
}
