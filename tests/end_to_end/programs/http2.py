# httpx over HTTP/2: several requests at once on one connection.
import asyncio, sys
import httpx

async def main():
    async with httpx.AsyncClient(http2=True) as client:
        async def one(number):
            body = {"httpx": sys.argv[1], "n": number}
            answer = await client.post("https://api.example.com/v1", json=body)
            assert answer.http_version == "HTTP/2", answer.http_version
            assert answer.json() == body, answer.text
        await asyncio.gather(*(one(number) for number in range(10)))
    print("fine")

asyncio.run(main())
