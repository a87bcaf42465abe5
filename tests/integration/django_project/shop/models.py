"""What is bought."""

from typing import Any, ClassVar

from django.db import models


class Order(models.Model):
    objects: ClassVar[Any]
    customer: Any = models.CharField(max_length=100)

    def __str__(self) -> str:
        return f"order {self.pk}"
