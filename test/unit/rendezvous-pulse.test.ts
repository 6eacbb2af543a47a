import { describe, expect, it } from "vitest";
import { Pulse, type PulseClock } from "../../src/rendezvous/pulse.ts";

/** A clock that goes as it is told. */
class ToldClock implements PulseClock {
  time = 1000;
  readonly calls = new Set<() => void>();
  now(): number {
    return this.time;
  }
  every(_milliseconds: number, call: () => void): () => void {
    this.calls.add(call);
    return () => this.calls.delete(call);
  }
  /** So much time passes, and then the process runs. */
  pass(milliseconds: number): void {
    this.time += milliseconds;
    for (const call of this.calls) call();
  }
}

function pulse() {
  const clock = new ToldClock();
  const told: number[] = [];
  const member = { onPulse: (now: number) => told.push(now) };
  return { clock, told, member, pulse: new Pulse({ beatMs: 50, silentMs: 200 }, clock) };
}

describe("the heartbeat's clock", () => {
  it("goes in fifths of a beat", () => {
    const { clock, told, member, pulse: beat } = pulse();
    beat.add(member);
    for (let n = 0; n < 3; n++) clock.pass(10);
    expect(told).toEqual([10, 20, 30]);
  });

  it("does not count the time in which the process itself was stopped", () => {
    const { clock, told, member, pulse: beat } = pulse();
    beat.add(member);
    clock.pass(10);
    clock.pass(3_600_000);
    clock.pass(10);
    expect(told).toEqual([10, 30, 40]);
  });

  it("is one timer for all, that runs while there is anybody", () => {
    const { clock, member, pulse: beat } = pulse();
    const other = { onPulse: () => undefined };
    expect(clock.calls.size).toBe(0);
    beat.add(member);
    beat.add(other);
    expect(clock.calls.size).toBe(1);
    beat.remove(member);
    expect(clock.calls.size).toBe(1);
    beat.remove(other);
    expect(clock.calls.size).toBe(0);
    clock.time += 5000;
    beat.add(member);
    clock.pass(10);
    expect(beat.now).toBe(10);
  });
});
