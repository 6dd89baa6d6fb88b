import type { Access, Awaitable, Hooks, MessageAnswer, PluginClass, PluginObject, Shape, Topics } from "./index.js";

/** Some of a request; what is left out has its zero value. A payload may be a string. */
export type Some<T> =
  T extends Buffer ? string | Uint8Array
  : T extends (infer E)[] ? Some<E>[]
  : T extends Record<string, string> ? T
  : T extends object ? { [K in keyof T]?: Some<T[K]> }
  : T;

/** What a test may say of a call. */
export interface CallOptions {
  /** Milliseconds that the method has; no limit without it. */
  timeout?: number;
  /** Stands for a broker that does not wait any longer. */
  signal?: AbortSignal;
}

type Method<F> = F extends (r: infer R, call: any) => Awaitable<infer A> ? (request?: Some<R>, options?: CallOptions) => Promise<A> : never;

/** A plugin under test: its methods, called as hookmux calls them. */
export type Tested = { [K in Exclude<keyof Hooks, "onStart" | "onStop">]-?: Method<NonNullable<Hooks[K]>> } & {
  /** The plugin itself. */
  readonly plugin: any;
  /** The hooks that it answers, as the broker names them. */
  readonly hooks: string[];
  readonly topics: Topics;
  /** Calls its onStop. */
  stop(): Promise<void>;
};

/**
 * Starts a plugin in this process, with all checks that serve makes of it and of its
 * config, and calls its onStart. Answers are checked as hookmux would: compare them with
 * those of the SDK, assert.deepEqual(await p.onClientAuthenticate(), deny.final()).
 */
export function start<S extends Shape>(plugin: PluginClass | PluginObject<S>, options?: { config?: object }): Promise<Tested>;

export type { Access, MessageAnswer };
