// Prints what AsyncAPI's parser objects to in a document, errors and warnings, one a line: node asyncapi.mjs FILE
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const { severity, path, message } of diagnostics) if (severity < 2) console.log(path.join("/"), message);
