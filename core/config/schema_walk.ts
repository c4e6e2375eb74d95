import type { z } from "zod";
import type { ConfigPath } from "./path.ts";

/** Any schema, seen through the part of zod's core that describes it. */
type Schema = z.core.$ZodType;
type Def = z.core.$ZodTypes["_zod"]["def"];

/**
 * The keys that an object schema knows at `path` of `value`; several alternatives of a union add up.
 *
 * @returns Nothing where any key may stand, as in a record.
 */
export function knownKeys(schema: Schema, path: ConfigPath, value?: unknown): string[] {
  let reached = alternatives(schema, value);
  let inside = value;
  for (const segment of path) {
    const input = child(inside, segment);
    reached = reached.flatMap((one) => step(one, segment)).flatMap((one) => alternatives(one, input));
    inside = input;
  }
  return [...new Set(reached.flatMap((one) => Object.keys(shapeOf(one) ?? {})))];
}

/** A key that a schema knows. */
export interface SchemaKey {
  /** `listeners[].address`; `*` stands for any name. */
  readonly path: string;
  /** As it would be written in the config; absent when there is none. */
  readonly default?: unknown;
  readonly required: boolean;
}

/** Every key below `schema`, those of nested mappings and lists included: for the reference in docs. */
export function schemaKeys(schema: Schema, prefix = ""): SchemaKey[] {
  return alternatives(schema).flatMap((one) => {
    const def = defOf(one);
    if (def.type === "array") return schemaKeys(def.element, `${prefix}[]`);
    if (def.type === "record") return schemaKeys(def.valueType, `${prefix}.*`);
    return Object.entries(shapeOf(one) ?? {}).flatMap(([key, inner]) => {
      const path = prefix === "" ? key : `${prefix}.${key}`;
      return [{ path, ...presence(inner) }, ...schemaKeys(inner, path)];
    });
  });
}

function presence(schema: Schema): { required: boolean; default?: unknown } {
  const def = defOf(schema);
  if (def.type === "default" || def.type === "prefault") {
    return { required: false, default: def.defaultValue };
  }
  return { required: def.type !== "optional" };
}

/** The value at one step of a path, own properties only. */
export function child(value: unknown, segment: string | number): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, segment)) return undefined;
  return (value as Record<string | number, unknown>)[segment];
}

function step(schema: Schema, segment: string | number): Schema[] {
  const def = defOf(schema);
  switch (def.type) {
    case "object": {
      const shape: Readonly<Record<string, Schema>> = def.shape;
      const inner = Object.hasOwn(shape, segment) ? shape[segment] : undefined;
      return inner === undefined ? [] : [inner];
    }
    case "array":
      return [def.element];
    case "record":
      return [def.valueType];
    default:
      return [];
  }
}

/** What `schema` comes down to without wrappers: itself, or the options of a union (those that fit `value`). */
function alternatives(schema: Schema, value?: unknown): Schema[] {
  const def = defOf(schema);
  switch (def.type) {
    case "optional":
    case "nullable":
    case "nonoptional":
    case "default":
    case "prefault":
    case "catch":
    case "readonly":
      return alternatives(def.innerType, value);
    case "pipe": // a `preprocess` has its schema behind the transform, everything else has it in front
      return alternatives(defOf(def.in).type === "transform" ? def.out : def.in, value);
    case "lazy":
      return alternatives(def.getter(), value);
    case "union":
      return fitting(def, value).flatMap((option) => alternatives(option, value));
    default:
      return [schema];
  }
}

/** Of a discriminated union only the option that the value's own discriminator names. */
function fitting(def: Extract<Def, { type: "union" }>, value: unknown): readonly Schema[] {
  const { options } = def;
  const discriminator = "discriminator" in def ? String(def.discriminator) : undefined;
  if (discriminator === undefined) return options;
  const chosen = options.filter((option) => {
    const kind = shapeOf(option)?.[discriminator];
    const kindDef = kind && defOf(kind);
    return kindDef?.type === "literal" && kindDef.values.includes(child(value, discriminator) as string);
  });
  return chosen.length > 0 ? chosen : options;
}

function shapeOf(schema: Schema): Readonly<Record<string, Schema>> | undefined {
  const def = defOf(schema);
  return def.type === "object" ? def.shape : undefined;
}

function defOf(schema: Schema): Def {
  return schema._zod.def as Def;
}
