# websockets with permessage-deflate, through the proxy that the environment names.
import asyncio, json, os, ssl, sys
import websockets

async def main():
    trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    async with websockets.connect("wss://api.example.com/v1/socket", ssl=trust) as socket:
        for number in range(3):
            message = json.dumps({"n": number, "host": sys.argv[1]})
            await socket.send(message)
            assert await socket.recv() == message
    print("fine")

asyncio.run(main())
