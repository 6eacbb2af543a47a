import { object, text, texts } from "./json.ts";
import type { Transport } from "./transport.ts";
import type { ImageInfo } from "./types.ts";

/** The engine's record of an image, by reference or id; undefined: it has none. */
export async function inspectImage(transport: Transport, reference: string): Promise<ImageInfo | undefined> {
  // Slashes stay as they are: both engines match the rest of the path as the name.
  const path = `/images/${encodeURI(reference)}/json`;
  const { status, value } = await transport.json(
    { method: "GET", path, action: `inspect image "${reference}"` },
    [200, 404],
  );
  if (status === 404) return undefined;
  const image = object(value);
  const config = object(image.Config);
  const id = text(image.Id);
  return {
    id: id.includes(":") ? id : `sha256:${id}`,
    architecture: text(image.Architecture),
    os: text(image.Os),
    env: texts(config.Env),
    entrypoint: texts(config.Entrypoint),
    cmd: texts(config.Cmd),
    workdir: text(config.WorkingDir),
    user: text(config.User),
    volumes: Object.keys(object(config.Volumes)),
    layers: texts(object(image.RootFS).Layers),
  };
}
