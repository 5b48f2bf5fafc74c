"""How an archive ends before its end."""


class Damaged(Exception):
    """Nothing can be read from here on. `kind` is truncated, corrupt, bomb or unsupported; `detail` says more."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
