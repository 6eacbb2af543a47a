import { monotonicMs } from "../config/clock.ts";

/** Who is asked at each step of a {@link Pulse} whether it has been silent for too long. */
export interface PulseMember {
  /** @param now the process's own running time, milliseconds */
  onPulse(now: number): void;
}

/** Time as tests can make it. */
export interface PulseClock {
  /** Milliseconds that only grow, whatever the date is set to. */
  now(): number;
  /** Calls again and again; returns what ends that. */
  every(milliseconds: number, call: () => void): () => void;
}

export interface Heartbeat {
  /** Who says nothing else says that it lives after so long, milliseconds. */
  readonly beatMs: number;
  /** After so long without a word the other is dead, milliseconds. */
  readonly silentMs: number;
}

/** Words that say nothing else: so many in the time after which silence means death. */
const BEATS = 4;

/** @param silentMs the setting `nodeSilence` (docs/internals.md, section 11) */
export function heartbeat(silentMs: number): Heartbeat {
  return { beatMs: silentMs / BEATS, silentMs };
}

/** The setting's default. */
export const HEARTBEAT: Heartbeat = heartbeat(20_000);

const realClock: PulseClock = {
  now: monotonicMs,
  every: (milliseconds, call) => {
    const timer = setInterval(call, milliseconds);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/**
 * One timer for the heartbeats of any number of connections, and the clock that they go by: the time that this process
 * itself has run. A process that was stopped (suspended with its job, or held by a debugger) hears nothing meanwhile;
 * that says nothing about the others, so each step counts for no more than twice its length.
 */
export class Pulse {
  readonly heartbeat: Heartbeat;
  readonly #clock: PulseClock;
  readonly #stepMs: number;
  readonly #members = new Set<PulseMember>();
  #running = 0;
  #last = 0;
  #stop: (() => void) | undefined;

  constructor(heartbeat: Heartbeat = HEARTBEAT, clock: PulseClock = realClock) {
    this.heartbeat = heartbeat;
    this.#clock = clock;
    this.#stepMs = heartbeat.beatMs / 5;
  }

  /** The running time of this process in milliseconds, in steps; for comparing with itself only. */
  get now(): number {
    return this.#running;
  }

  add(member: PulseMember): void {
    this.#members.add(member);
    if (this.#stop !== undefined) return;
    this.#last = this.#clock.now();
    this.#stop = this.#clock.every(this.#stepMs, () => this.#step());
  }

  remove(member: PulseMember): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  #step(): void {
    const now = this.#clock.now();
    this.#running += Math.min(now - this.#last, 2 * this.#stepMs);
    this.#last = now;
    for (const member of this.#members) member.onPulse(this.#running);
  }
}
