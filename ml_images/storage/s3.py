"""How we speak to S3: which server, with whose keys, and what a user is told when it does not answer.

The server is a part of the location, so that it gets to every worker with it. Keys never are, as locations are written
into reports and manifests: the AWS SDK inside pyarrow finds them, and those of Spark's s3a by the same rules
(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, the role of the machine).
"""

import re
from typing import NamedTuple

from pyarrow import fs

from ml_images.errors import InputError

# A server that says nothing for so long is asked again, up to 3 times. A copy on the server takes longer than the
# SDK's 3 s where it sends nothing before it is done.
_SILENT_S = 10.0

_S3 = re.compile(r"(s3|s3a|s3\+https?)://([^/]*)/*(.*)", re.DOTALL)
_SERVER = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d+)?", re.ASCII)
_OPTIONS = re.compile(r"\?\w+=")  # as pyarrow and others take them


class Place(NamedTuple):
    server: str  # http://host:port or https://host; "" is Amazon
    path: str  # bucket/key, as it is: S3 knows no %20

    @property
    def bucket(self) -> str:
        return self.path.partition("/")[0]


def parse(location: str) -> Place | None:
    """The place that an S3 location names, None for any other location. Raises InputError for one with keys in it, and
    for nonsense."""
    if not (match := _S3.fullmatch(location)):
        return None
    scheme, host, rest = match.groups()
    if "@" in host or (":" in host and "+" not in scheme):
        raise InputError(
            f"a {scheme}:// location is not the place for keys, as it is written into reports: {_WHERE_KEYS_ARE}"
        )
    if _OPTIONS.search(rest) or _OPTIONS.search(host):
        raise InputError(f"a {scheme}:// location has no options after a '?'; {_WHERE_SERVERS_ARE}")
    if "+" not in scheme:
        server, path = "", f"{host}/{rest}"
    elif _SERVER.fullmatch(host):
        server, path = f"{scheme.partition('+')[2]}://{host}", rest
    else:
        raise InputError(f"a {scheme}:// location names no server; {_WHERE_SERVERS_ARE}")
    path = path.rstrip("/")
    if not all(path.split("/")):
        raise InputError(f"location '{location}' has an empty name between two slashes; {_WHERE_SERVERS_ARE}")
    return Place(server, path)


_WHERE_KEYS_ARE = "they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials or the machine's role"
_WHERE_SERVERS_ARE = "give s3://bucket/path for Amazon, s3+http://host:port/bucket/path for another server"


_opened: dict[tuple[str, str], fs.S3FileSystem] = {}  # by server and bucket: a new one connects anew


def open_place(place: Place) -> fs.S3FileSystem:
    """The file system for a place, one for each bucket and process.

    When a process first meets a bucket it sees whether that is there and may be used: InputError of one line, within
    seconds.
    """
    key = place.server, place.bucket
    if key not in _opened:
        filesystem = _connect(place)
        _try(filesystem, place)
        _opened[key] = filesystem
    return _opened[key]


def _connect(place: Place) -> fs.S3FileSystem:
    scheme, _, host = place.server.partition("://")
    return fs.S3FileSystem(
        endpoint_override=host or None,
        scheme=scheme or None,
        region=None if host else _region_of(place.bucket),
        request_timeout=_SILENT_S,
    )


def _region_of(bucket: str) -> str | None:
    """As Amazon tells it; None, so that AWS_REGION or ~/.aws/config says so, where nobody answers. That is the case in
    a network from which only one region can be reached."""
    try:
        return str(fs.resolve_s3_region(bucket))
    except OSError:
        return None


def _try(filesystem: fs.S3FileSystem, place: Place) -> None:
    shown = f"s3+{place.server}/{place.path}" if place.server else f"s3://{place.path}"
    try:
        is_there = filesystem.get_file_info(place.path).type != fs.FileType.NotFound or _has_bucket(filesystem, place)
    except OSError as error:
        raise InputError(f"cannot open '{shown}': {reason(error)}") from error
    if not is_there:
        raise InputError(f"cannot open '{shown}': there is no bucket '{place.bucket}'; {_WHERE_SERVERS_ARE}")


def _has_bucket(filesystem: fs.S3FileSystem, place: Place) -> bool:
    try:
        return bool(filesystem.get_file_info(place.bucket).type != fs.FileType.NotFound)
    except OSError as error:
        if _DENIED.search(str(error)):
            return True  # one may be allowed to see what is below a folder of it only
        raise


def reason(error: OSError) -> str:
    """What an error of S3 says, in one line and with what to do about it."""
    told = " ".join(str(error).split())
    told = told[told.find("AWS Error") :] if "AWS Error" in told else told
    if _DENIED.search(told):
        return f"{told}; keys: {_WHERE_KEYS_ARE}"
    return f"{told}; {_WHERE_SERVERS_ARE}" if "NETWORK_CONNECTION" in told else told


_DENIED = re.compile(
    r"ACCESS_DENIED|SIGNATURE|INVALID_ACCESS_KEY|UNRECOGNIZED_CLIENT|TOKEN|InvalidAccessKeyId|HTTP status 403"
)


def spark_settings(*locations: str) -> dict[str, str]:
    """What Spark's s3a must know to find the servers of `locations`; nothing for Amazon's."""
    settings = dict[str, str]()
    for place in filter(None, map(parse, locations)):
        if place.server:
            prefix = f"spark.hadoop.fs.s3a.bucket.{place.bucket}"
            settings[f"{prefix}.endpoint"] = place.server
            settings[f"{prefix}.path.style.access"] = "true"
            settings[f"{prefix}.connection.ssl.enabled"] = str(place.server.startswith("https://")).lower()
    return settings
