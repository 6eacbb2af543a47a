import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, IMAGES } from "../job/harness.ts";
import type { HeldJob } from "../job/held.ts";
import { onTerminal } from "../job/terminal.ts";
import { Client, OURS, quoted, SOCKET, STOCK, startJob, TCP } from "./client.ts";
import { freePort, talk } from "./sockets.ts";

describe.each([
  { image: "bare", way: SOCKET, programs: STOCK },
  { image: "debian", way: TCP, programs: OURS },
  { image: "scratch", way: SOCKET, programs: OURS },
] as const)("$image image, by $way.name, $programs.name", ({ image, way, programs }) => {
  const probe = image === "scratch" ? "/probe" : "probe";
  let job: HeldJob;
  let client: Client;
  beforeAll(async () => {
    job = await startJob({ image: IMAGES[image] });
    client = new Client(job, way, programs);
  });
  afterAll(async () => {
    client.close();
    expect(await job.end()).toBe(0);
  });

  /** `ssh -t` on a terminal of 30 rows and 90 columns. */
  const session = (...words: readonly string[]) => client.argv(["-t", client.host(), ...words]);

  it("SendEnv and SetEnv: what the client sends is in the session, but for LD_*", async () => {
    const env = { FROM_HERE: "two  words\nand $lines", LC_TEST: "Grüße" };
    const words = ["-o", "SendEnv=FROM_HERE LC_*", "-o", 'SetEnv=SET_HERE="a b" LD_PRELOAD=/no.so'];
    const result = await client.ssh([...words, client.host(), `${probe} env`], { env });
    expect(result).toMatchObject({ code: 0, stderr: "" });
    const sent = result.stdout.split("\0").filter((entry) => /^(FROM_HERE|LC_TEST|SET_HERE|LD_PRELOAD)=/.test(entry));
    expect(sent.sort()).toEqual(["FROM_HERE=two  words\nand $lines", "LC_TEST=Grüße", "SET_HERE=a b"]);
  });

  it("the terminal's kind and size are the client's, and its changes reach the program", async () => {
    const { code, output } = await onTerminal(session(`echo "[$TERM]"; stty size; exec ${probe} winch`), [
      { expect: "\\[xterm\\]\n30 90\nsize 30 90\n" },
      { resize: [50, 132] },
      { expect: "size 50 132\n" },
      { resize: [20, 40] },
      { expect: "size 20 40\n" },
      { send: "\u0004" },
    ]);
    expect({ code, output }).toMatchObject({ code: 0 });
  });

  it("^C ends the program in the foreground, not the session", async () => {
    const { code } = await onTerminal(session('trap : INT; echo in; sleep 1000; echo "[$?]"; exit 5'), [
      { expect: "in\n" },
      { pause: 0.3 },
      { send: "\u0003" },
      { expect: "\\[130\\]\n" },
    ]);
    expect(code).toBe(5);
  });

  it("^C and ^\\ end a command without a shell's help, with 128+n", async () => {
    const keys: [string, number][] = [
      ["\u0003", 130],
      ["\u001C", 131],
    ];
    for (const [key, status] of keys) {
      const steps = [{ expect: "in\n" }, { pause: 0.3 }, { send: key }];
      expect((await onTerminal(session(`ulimit -c 0; echo in; exec ${probe} sleep 1000`), steps)).code).toBe(status);
    }
  });

  it("^Z stops a program of a shell, which goes on, and fg wakes it", async () => {
    const { code } = await onTerminal(client.argv(["-t", client.host()]), [
      { send: "PS1='there'\"> \"\n" },
      { expect: "there> " },
      { send: "sleep 2; echo sle''pt\n" },
      { pause: 0.5 },
      { send: "\u001A" },
      { expect: "[Ss]topped" },
      { send: "fg\n" },
      { expect: "there> " },
      { send: "exit 6\n" },
    ]);
    expect(code).toBe(6);
  });

  it("^D ends a program's input", async () => {
    const { code } = await onTerminal(client.argv(["-t", client.host(), "cat; echo over"]), [
      { send: "one\n" },
      { expect: "one\none\n" },
      { send: "\u0004" },
      { expect: "over\n" },
    ]);
    expect(code).toBe(0);
  });

  it("~? and ~~ are understood, and ~. ends the connection", async () => {
    const { code } = await onTerminal(session("cat"), [
      { send: "in\n" },
      { expect: "in\nin\n" },
      { send: "~?" },
      { expect: "Supported escape sequences" },
      { send: "\n~~x\n" },
      { expect: "\n~x\n" },
      { send: "~." },
    ]);
    expect(code).toBe(255);
  });

  it("~C: a forwarding is asked for amid a session, and leads into the container", async () => {
    const port = await freePort();
    // Off by default since OpenSSH 9.2.
    const words = ["-t", "-o", "EnableEscapeCommandline=yes", client.host()];
    const talking = onTerminal(client.argv([...words, `echo in; ${probe} listen 4715; echo met`]), [
      { expect: "in\n" },
      { send: "\n~C" },
      { expect: "ssh> " },
      { send: `-L ${port}:127.0.0.1:4715\n` },
      { expect: "Forwarding port" },
      { expect: "met\n" },
    ]);
    let heard = "";
    await eventually("the forwarded port answers", 20, async () => {
      heard = await talk({ port }, "").catch(() => "");
      return heard !== "";
    });
    expect(heard).toBe("hello from node1\n");
    expect((await talking).code).toBe(0);
  });

  it("-tt where the client has no terminal, and -T where it has", async () => {
    const forced = await client.ssh(["-tt", client.host(), `${probe} tty`]);
    expect(forced.stdout).toContain("isatty.0 1\r\nisatty.1 1\r\nisatty.2 1\r\n");
    const none = await onTerminal(client.argv(["-T", client.host(), `${probe} tty`]), []);
    expect(none.output).toContain("isatty.0 0\r\nisatty.1 0\r\nisatty.2 0\r\n");
  });

  it("a login shell's words are typed, a command's come by -c", async () => {
    const shell = image === "debian" ? "bash" : "sh";
    const { code } = await onTerminal(client.argv(["-tt", client.host()]), [
      { send: 'echo "[$0]" $((6*7)); exit 3\n' },
      { expect: `\\[-${shell}\\] 42\n` },
    ]);
    expect(code).toBe(3);
    const piped = await client.ssh([client.host()], { input: `echo ${quoted("a  b")}; exit 4\n` });
    expect(piped).toMatchObject({ code: 4, stdout: "a  b\n" });
  });
});
