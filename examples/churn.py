"""Prints customers as CSV, some of whom left: `python3 churn.py ROWS > churn.csv`.

A longer table begins with the rows of a shorter one. After row 4,000 calls no longer drive
customers away, and the price does.
"""

import csv
import datetime
import math
import random
import sys

CHANGE = 4000


def customer(row: int, chance: random.Random) -> list:
    age = None if chance.random() < 0.05 else round(chance.uniform(18, 80), 1)
    calls = round(chance.expovariate(0.2), 2)
    price = chance.randint(10, 40)
    plan = chance.choice(["basic", "plus", "family"])
    drives = calls / 3 if row < CHANGE else price / 5 - 3
    score = drives - (age or 50) / 30 + (1 if plan == "basic" else 0)
    churned = chance.random() < 1 / (1 + math.exp(-score))
    at = datetime.datetime(2026, 1, 1) + datetime.timedelta(minutes=20 * row)
    return [f"c{row}", at.isoformat(), age, calls, price, plan, "yes" if churned else "no"]


def main() -> None:
    chance = random.Random(7)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["id", "at", "age", "calls", "price", "plan", "churned"])
    for row in range(int(sys.argv[1])):
        table.writerow(customer(row, chance))


if __name__ == "__main__":
    main()
