"""Headers by which a host says that a picture is not to be taken: looked at before any of its bytes are read.

X-Robots-Tag: noai, noimageai, noindex (also none, which includes noindex), for everybody or for one user agent
(`X-Robots-Tag: otherbot: noindex`, to the end of that field or to the next agent); tdm-reservation: 1 of the TDM
Reservation Protocol. Whatever is not clearly meant for somebody else counts: at worst we leave a picture too few.
"""

import re

from ml_images.download.header import FIELD_END
from ml_images.download.transport import Headers

_NO = frozenset(("noai", "noimageai", "noindex", "none"))
_WITH_VALUE = frozenset(("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"))
_RULES = _NO | _WITH_VALUE | frozenset(("all", "index", "follow", "nofollow", "noarchive", "nocache", "nosnippet"))
_RULES |= frozenset(("noimageindex", "notranslate", "indexifembedded", "nositelinkssearchbox", "noodp", "noydir"))
# A product's name, with its version or without. Dates have colons too, but begin with a digit or hold blanks.
_AGENT = re.compile(r"[a-z][!#$%&'*+.^_`|~0-9a-z/-]*")


def is_opted_out(headers: Headers, product: str) -> bool:
    """Do they ask us to leave the picture? `product` is our user agent's name, without its version."""
    reservations = headers.get("tdm-reservation", "").split(",")  # of several fields, one is enough
    if any(one.partition(";")[0].strip(' \t"') == "1" for one in reservations):
        return True
    tags = headers.get("x-robots-tag")
    return tags is not None and any(_says_no(tag, product.lower()) for tag in tags.lower().split(FIELD_END))


def _says_no(tag: str, product: str) -> bool:
    agent = ""
    for rule in re.split("[,;]", tag):
        name, colon, rest = (part.strip() for part in rule.partition(":"))
        bot, said = name.partition("/")[0], rule
        if colon and (bot in ("*", product) or _is_agent(name, rest)):
            agent, said = bot, rest
        if agent in ("", "*", product) and not _NO.isdisjoint(_words(said)):
            return True
    return False


def _words(said: str) -> list[str]:
    """Without the value of a rule that has one: `max-image-preview: none` is about previews."""
    name, _, rest = said.partition(":")
    return [name.strip(), *rest.split()[1:]] if name.strip() in _WITH_VALUE else [*name.split(), *rest.split()]


def _is_agent(name: str, rest: str) -> bool:
    """Only what a rule follows is taken for somebody else, and no rule is one."""
    rule = rest.partition(":")[0].split()[:1]
    return name not in _RULES and _AGENT.fullmatch(name) is not None and bool(rule) and rule[0] in _RULES
