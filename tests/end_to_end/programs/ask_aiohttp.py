import asyncio
import sys

import aiohttp


async def main():
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.get(sys.argv[1]) as answer:
            print(await answer.text())


asyncio.run(main())
