"""FastAPI and SQLAlchemy: an order and its mail commit, or roll back, together. It sends itself three requests.

On PostgreSQL it is the same program: `create_async_engine("postgresql+psycopg://...")`, and `Queue.open` with the same
URL without `+psycopg`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import httpx
from fastapi import FastAPI, HTTPException
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from moxlib.queue import Queue

FILE = "shop.db"
engine = create_async_engine(f"sqlite+aiosqlite:///{FILE}")
new_session = async_sessionmaker(engine, expire_on_commit=False)
queue = Queue.open(FILE)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with queue:  # it only submits here; another process delivers, by `queue.run_worker()`
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=201)
async def place_order(customer: str, stock: int) -> int:
    async with new_session.begin() as session:  # commits at the end, or rolls back
        order = Order(customer=customer)
        session.add(order)
        await session.flush()
        await queue.submit(confirmation(order), connection=session)
        if stock == 0:
            raise HTTPException(409, "sold out")
    return order.id


def confirmation(order: Order) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Bluebell Books <shop@example.org>"
    message["To"] = order.customer
    message["Subject"] = f"Your order {order.id}"
    message.set_content("Thank you. It is on its way.\n")
    return message


async def main() -> None:
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.example")
    async with lifespan(app), client:  # a server does this: uvicorn fastapi_sqlalchemy:app
        for customer, stock in (("ann@example.com", 2), ("bob@example.com", 0), ("carol@example.com", 1)):
            response = await client.post("/orders", params={"customer": customer, "stock": stock})
            print(f"{customer}: {response.status_code} {response.text}")

        async with new_session() as session:
            print("ordered by:", *await session.scalars(select(Order.customer)))
        print("queued for:", *[message.recipient for message in (await queue.list_messages()).items])


if __name__ == "__main__":
    asyncio.run(main())
