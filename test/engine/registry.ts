import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";

const MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";

function digestOf(data: Buffer): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

/**
 * The smallest registry there can be: one image of one layer, over HTTP on a loopback port, which Docker takes as
 * trustworthy. It speaks what engines ask for when they pull
 * (github.com/distribution/distribution, docs/spec/api.md) and demands a password.
 */
export class Registry {
  readonly #server: Server;
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifest: Buffer;
  readonly #login: string;
  /** Names and passwords that came, decoded, in order. */
  readonly logins: string[] = [];
  /** Layers are kept back until this is settled. */
  gate: Promise<void> = Promise.resolve();

  /**
   * @param tar the image's only layer
   * @param login "NAME:PASSWORD"
   */
  constructor(tar: Buffer, login: string) {
    this.#login = login;
    const layer = gzipSync(tar);
    const config = Buffer.from(
      JSON.stringify({
        architecture: process.arch === "arm64" ? "arm64" : "amd64",
        os: "linux",
        config: { Env: ["PULLED=yes"] },
        rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
      }),
    );
    for (const blob of [layer, config]) this.#blobs.set(digestOf(blob), blob);
    const part = (mediaType: string, blob: Buffer) => ({ mediaType, size: blob.length, digest: digestOf(blob) });
    this.#manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: part("application/vnd.docker.container.image.v1+json", config),
        layers: [part("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
      }),
    );
    this.#server = createServer((request, response) => {
      void this.#answer(request, response);
    });
  }

  /** @returns "127.0.0.1:PORT" */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get manifestDigest(): string {
    return digestOf(this.#manifest);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const login = Buffer.from((request.headers.authorization ?? "").replace(/^Basic /, ""), "base64").toString();
    if (login !== "") this.logins.push(login);
    if (login !== this.#login) {
      response.writeHead(401, { "WWW-Authenticate": 'Basic realm="test"', "Content-Type": "application/json" });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
      return;
    }
    const [, kind = "", name = ""] = /\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? "") ?? [];
    if (request.url === "/v2/") response.end("{}");
    else if (kind === "manifests" && (name === "1.0" || name === this.manifestDigest)) this.#sendManifest(response);
    else if (kind === "blobs" && this.#blobs.has(name)) await this.#sendBlob(response, name);
    else response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
  }

  #sendManifest(response: ServerResponse): void {
    response.writeHead(200, {
      "Content-Type": MANIFEST,
      "Docker-Content-Digest": this.manifestDigest,
      "Content-Length": String(this.#manifest.length),
    });
    response.end(this.#manifest);
  }

  async #sendBlob(response: ServerResponse, digest: string): Promise<void> {
    const blob = this.#blobs.get(digest);
    response.writeHead(200, {
      "Content-Type": "application/octet-stream",
      "Content-Length": String(blob?.length ?? 0),
    });
    response.flushHeaders();
    await this.gate;
    response.end(blob);
  }
}
