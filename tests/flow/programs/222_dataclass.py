"""A dataclass at module level updated field by field."""

import dataclasses
import time

FUNCTIONAL = ["price", "tax"]
ARGS = (5,)
CALLS, IDEAL = 10, 2


@dataclasses.dataclass
class Item:
    name: str
    price: float = 0.0
    tax: float = 0.0


def price(n):
    time.sleep(0.02)
    return len(n) * 1.5


def tax(p):
    time.sleep(0.02)
    return p * 0.2


def main(n):
    items = [Item("x" * (i + 1)) for i in range(n)]
    for it in items:
        it.price = price(it.name)
        it.tax = tax(it.price)
    return items, sum(i.price + i.tax for i in items)
