import { GatewayError, messageOf, z } from "../../core/plugin/mod.ts";

/** A value of a config that `parse` takes. The message of a {@link GatewayError} that it throws is told at the value's place. */
export function parsed<In, Out>(
  from: z.ZodType<In, unknown>,
  parse: (value: In) => Out,
): z.ZodType<Out, unknown> {
  return from.transform((value, context) => {
    try {
      return parse(value);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      context.addIssue({ code: "custom", message: messageOf(error) });
      return z.NEVER;
    }
  });
}
