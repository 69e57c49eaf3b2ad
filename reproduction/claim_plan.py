"""What is claimed, compared and aimed at, read from `claims.toml`."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

CLAIMS_FILE = Path(__file__).with_name("claims.toml")
PAPER = "IEMOCAP"  # the family of the conditions that the paper's own tables are of

Expected = Literal["higher", "lower", "little"]


@dataclass(frozen=True)
class Comparison:
    """Two systems compared on one condition; the difference is first − second."""

    condition: str
    first: str
    second: str
    metric: Literal["ua", "wa"]
    expected: Expected = "higher"
    name: str = ""  # short name, unique within its family; empty for what was not planned
    claim: str = ""  # the claim that it is a part of
    family: str = ""  # comparisons whose p values are corrected together
    published: float | None = None  # the paper's difference on the condition that this one stands for, in [-1, 1]
    recipes: bool = False  # whether it is of recipes, which may differ in all, and not of models trained alike
    ear: str = ""  # the network of the linguistic stream, where the claim is judged again with another than the first


@dataclass(frozen=True)
class Claim:
    """What is claimed, by the paper or by this project."""

    name: str
    says: str
    title: str
    ours: bool


@dataclass(frozen=True)
class Aim:
    """A UA that the project aimed at on a condition, and the systems that were to reach it."""

    condition: str
    ua: float  # in [0, 1]
    systems: tuple[str, ...]


@dataclass(frozen=True)
class Claims:
    """All of `claims.toml`."""

    little: float  # a difference of at most this is little
    level: float  # p values above it are told where the interval alone decided
    least_seeds: int  # figures of fewer seeds are provisional
    claims: dict[str, Claim]
    planned: tuple[Comparison, ...]
    beside: dict[str, tuple[Comparison, ...]]  # neither planned nor tested
    aims: tuple[Aim, ...]
    published: dict[str, dict[str, tuple[float, float]]]  # condition → system → WA and UA in the paper, in [0, 1]


@cache
def read_claims(path: Path = CLAIMS_FILE) -> Claims:
    """Read what is claimed, planned and aimed at."""
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    published = {
        condition: {name: (round(row["wa"] / 100, 6), round(row["ua"] / 100, 6)) for name, row in table.items()}
        for condition, table in plan["published"].items()
    }
    claims = {
        (name := entry["name"]): Claim(name, entry["says"], entry.get("title", f"Claim {name}"), "family" in entry)
        for entry in plan["claims"]
    }
    return Claims(
        plan["little"],
        plan["level"],
        plan["least_seeds"],
        claims,
        tuple(_planned(plan, published)),
        {group["name"]: tuple(Comparison(**row) for row in group["comparisons"]) for group in plan["beside"]},
        tuple(Aim(aim["condition"], aim["ua"], tuple(aim["systems"])) for aim in plan["aims"]),
        published,
    )


def _planned(plan: Mapping[str, Any], published: Mapping[str, Any]) -> Iterator[Comparison]:
    """The comparisons of the paper's claims on every family's conditions, with other ears, then of our own claims."""

    def of_paper(
        family: str, conditions: Mapping[str, str], ear: Mapping[str, Any] = MappingProxyType({})
    ) -> Iterator[Comparison]:
        for claim in plan["claims"]:
            for row in claim["comparisons"] if "family" not in claim and (not ear or claim.get("ears")) else ():
                figures = published[plan["families"][PAPER][row["condition"]]]
                place = ("wa", "ua").index(row["metric"])
                difference = round(figures[row["first"]][place] - figures[row["second"]][place], 6)
                found = {"condition": conditions[row["condition"]], "family": family, "published": difference}
                if ear:
                    systems = {which: ear["systems"].get(row[which], row[which]) for which in ("first", "second")}
                    found |= systems | {"name": f"{row['name']}, {ear['title']}", "ear": ear["title"]}
                yield Comparison(**row | found, claim=claim["name"])

    for family, conditions in plan["families"].items():
        yield from of_paper(family, conditions)
    for ear in plan["ears"]:
        yield from of_paper(ear["family"], plan["families"][ear["conditions"]], ear)
    for claim in plan["claims"]:
        for row in claim["comparisons"] if "family" in claim else ():
            yield Comparison(**row, claim=claim["name"], family=claim["family"], recipes=True)
