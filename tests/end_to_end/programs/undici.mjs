import { createRequire } from "node:module";
const { ProxyAgent, fetch } = createRequire(process.cwd() + "/")("undici");
const dispatcher = new ProxyAgent(process.env.HTTPS_PROXY);
const body = JSON.stringify({ undici: process.argv[1] });
const headers = { "content-type": "application/json" };
const answer = await fetch("https://api.example.com/v1", { method: "POST", headers, body, dispatcher });
console.log(await answer.text());
process.exit(0);
