"""Headers by which a host says that a picture is not to be taken: looked at before any of its bytes are read.

X-Robots-Tag: noai, noimageai, noindex (also none, which includes noindex), for everybody or for one user agent
(`X-Robots-Tag: otherbot: noindex`); tdm-reservation: 1 of the TDM Reservation Protocol.
"""

from ml_images.download.transport import Headers

_NO = frozenset(("noai", "noimageai", "noindex", "none"))
_WITH_VALUE = frozenset(("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"))


def is_opted_out(headers: Headers, product: str) -> bool:
    """Do they ask us to leave the picture? `product` is our user agent's name, without its version."""
    if headers.get("tdm-reservation", "").strip() == "1":
        return True
    tag = headers.get("x-robots-tag")
    return tag is not None and _says_no(tag.lower(), product.lower())


def _says_no(tag: str, product: str) -> bool:
    # Repeated fields come joined by commas. A user agent stands before the rules of its field; where that field ends
    # cannot be seen any more, so its rules reach to the next agent: at worst we leave a picture too few.
    agent = ""
    for rule in tag.split(","):
        name, colon, value = (part.strip() for part in rule.partition(":"))
        if colon and name not in _WITH_VALUE:
            agent, name = name, value
        if name in _NO and agent in ("", "*", product):
            return True
    return False
