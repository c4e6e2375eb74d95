/** The version of the gateway, as `--version` and `/api/v1/status` show it. */
export const VERSION = "0.1.0";
