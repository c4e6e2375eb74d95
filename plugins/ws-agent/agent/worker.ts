/// <reference lib="deno.worker" />
import { serveAgent } from "./serve_agent.ts";

serveAgent();
