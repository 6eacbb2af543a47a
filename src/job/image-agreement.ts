import { required } from "./host.ts";
import { NodesLostError } from "./nodes-lost.ts";

/**
 * Sees to it that one name of an image means the same on all nodes.
 *
 * @param name of the image, as it was asked for
 * @param images what each node has, by its digest
 * @throws NodesLostError naming those that have another than most
 */
export function requireOneImage(
  name: string,
  images: readonly { readonly node: string; readonly image: string }[],
): void {
  const groups = new Map<string, string[]>();
  for (const { node, image } of images) {
    const names = groups.get(image) ?? [];
    names.push(node);
    groups.set(image, names);
  }
  if (groups.size < 2) return;
  const [usual, ...others] = [...groups].sort(([, one], [, other]) => other.length - one.length);
  const odd = others.flatMap(([, names]) => names);
  const ids = [usual, others[0]].map((group) => required(group)[0].slice(0, 19)).join(", ");
  throw new NodesLostError(odd, `image "${name}" is another than on the other nodes (${ids})`, {
    hint: "load the same image on every node, name it by its digest, or allow it: --images-may-differ",
  });
}
