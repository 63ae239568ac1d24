const body = JSON.stringify({ fetch: process.argv[1] });
const headers = { "content-type": "application/json" };
const answer = await fetch("https://api.example.com/v1", { method: "POST", headers, body });
console.log(await answer.text());
