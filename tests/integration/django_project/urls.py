"""Views that take an order and confirm it by mail."""

from asgiref.sync import sync_to_async
from django.core.mail import send_mail
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from tests.integration.django_project.shop.models import Order


def order(_: HttpRequest, customer: str) -> HttpResponse:
    made = Order.objects.create(customer=customer)
    send_mail(f"Your {made}", "Thank you.", None, [customer])
    if customer.startswith("broke"):
        raise ValueError("no money")
    return HttpResponse(str(made))


@transaction.non_atomic_requests
async def asynchronous(_: HttpRequest, customer: str) -> HttpResponse:
    count = await sync_to_async(send_mail)("Hello", "Hello.", None, [customer])
    return HttpResponse(str(count))


urlpatterns = [path("order/<customer>", order), path("async/<customer>", asynchronous)]
