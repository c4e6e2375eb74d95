import process from "node:process";

/*
 * For a worker without permission to see the environment: libraries for Node.js list it when they are loaded, which would
 * end the worker. They find it empty. To be imported before them.
 */
Object.defineProperty(process, "env", { value: {}, configurable: true });
