r"""The webapi in a FastAPI application: programs in any language send mail through it, with HTTP and JSON.

WEBAPI_ADDRESS=mjl@example.org WEBAPI_PASSWORD=open-sesame RELAY_PORT=25 uvicorn --factory webapi_server:application

curl --user mjl@example.org:open-sesame --data-urlencode \
  'request={"To": [{"Address": "ann@example.com"}], "Subject": "Hello", "Text": "Hello, Ann."}' \
  http://127.0.0.1:8000/webapi/v0/Send
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from moxlib.queue import Queue, SMTPTransport
from moxlib.webapi import ConfiguredAccounts, Service, SQLiteMailbox, asgi_app, hash_password


def application() -> FastAPI:
    """Make the application. What it sends is on disk when it answers, and goes to the relay in the background."""
    relay = SMTPTransport("127.0.0.1", int(os.environ.get("RELAY_PORT", "25")), security="none")
    queue = Queue.open("mail.db", transports={"relay": relay})
    mailbox = SQLiteMailbox("mailbox.db")  # for copies of what was sent, if a request asks for them
    password = hash_password(os.environ["WEBAPI_PASSWORD"])  # a configuration file would have the hash
    account = {"password": password, "addresses": [os.environ["WEBAPI_ADDRESS"]]}
    accounts = ConfiguredAccounts.read({"accounts": {"mjl": account}})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with queue, mailbox, queue.worker():
            yield
        accounts.close()

    app = FastAPI(lifespan=lifespan)
    app.mount("/webapi", asgi_app(Service(queue, accounts, mailbox=mailbox)))
    return app


if __name__ == "__main__":
    print(__doc__)
