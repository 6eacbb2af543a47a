import type { Frame } from "./frames.ts";
import { Noise } from "./noise.ts";
import { Program, type StartEvents, type Started, type StartNode } from "./starter.ts";

/** So many programs are on their way to their node at a time. */
const AT_ONCE = 32;

/**
 * Starts a program for each node, a limited number at a time: one that has said its frame, or has ended, makes room for the
 * next.
 *
 * @param argvOf the words for a node, checked before anything is started
 */
export function startEach(
  nodes: readonly StartNode[],
  argvOf: (node: StartNode) => readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  events: StartEvents,
): Started {
  const queue = nodes.map((node) => ({ node, argv: argvOf(node) }));
  const noise = new Noise();
  const programs = new Set<Program>();
  let underWay = 0;
  let stopped = false;

  const next = () => {
    while (!stopped && underWay < AT_ONCE) {
      const entry = queue.shift();
      if (entry === undefined) return;
      underWay++;
      begin(entry.node, entry.argv);
    }
  };
  const begin = ({ index }: StartNode, argv: readonly string[]) => {
    let there = false;
    const arrive = () => {
      if (there) return;
      there = true;
      underWay--;
      next();
    };
    const program = new Program(
      argv,
      { env, noise, node: index },
      {
        onFrame(frame: Frame) {
          if (!stopped) events.onFrame(frame, index);
          arrive();
        },
        onEnd(reason) {
          programs.delete(program);
          if (!stopped) events.onEnd([index], reason);
          arrive();
        },
      },
    );
    programs.add(program);
  };
  next();

  const byIndex = new Map(nodes.map((node) => [node.index, node]));
  return {
    noise: () => noise.text(),
    about(index) {
      const node = byIndex.get(index);
      return node === undefined ? undefined : noise.about(node);
    },
    async stop() {
      stopped = true;
      await Promise.all([...programs].map((program) => program.stop()));
    },
  };
}
