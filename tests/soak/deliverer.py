"""A process that delivers, with workers that come and go, until its standard input is closed: or killed."""

import asyncio
import logging
import sys
from random import Random

from tests.soak.load import CONFIG, Moody, work

from moxlib.queue import Queue


async def main(url: str, schema: str, seed: str) -> None:
    random = Random(seed)
    async with Queue.open(url, schema=schema, config=CONFIG, transports={"moody": Moody(random)}) as queue:
        working = asyncio.create_task(work(queue, random))
        await asyncio.to_thread(sys.stdin.read)
        assert not working.done(), working
        working.cancel()
        await asyncio.wait([working])


if __name__ == "__main__":
    logging.getLogger("moxlib.queue").setLevel(logging.CRITICAL)  # it is told of transports that raise
    asyncio.run(main(*sys.argv[1:]))
