import type { Kind } from "./kinds.ts";

/** A flag of `gangway run`. */
export interface Flag {
  /** Without dashes. */
  readonly name: string;
  readonly short?: string;
  /** What `--no-NAME` stands for; without it there is no such form. */
  readonly negated?: string;
  /** `--NAME` alone, without an argument, says true. */
  readonly bare?: boolean;
}

export interface Setting<T> {
  readonly kind: Kind<T>;
  readonly default: T;
  /** The default in words, where it is no value. */
  readonly defaultText?: string;
  readonly flag?: Flag;
  /** Only the site file may say it: no flag, no variable, not the user's file. */
  readonly siteOnly?: boolean;
  /** One line. */
  readonly doc: string;
}

/** The kind alone decides the type: else a default of "missing" would make any text of it. */
export function setting<T>(given: Omit<Setting<T>, "default"> & { readonly default: NoInfer<T> }): Setting<T> {
  return given;
}
