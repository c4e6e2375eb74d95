/// <reference lib="deno.worker" />
import { serveAgent } from "../agent/serve_agent.ts";
import { startInspector } from "./inspector.ts";

/*
 * The entry of an agent's worker that is to be inspected. It may listen on the inspector's address beside what any agent's worker may;
 * no byte of a request leaves it but to the page.
 */

serveAgent(startInspector);
