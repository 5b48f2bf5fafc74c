"""img2dataset over a list of URLs, in its own environment, with options for the work that ours does.

    PEER/bin/python benchmarks/engines/img2dataset_download.py URLS.parquet OUTPUT SHORT_SIDE QUALITY PROCESSES THREADS

keep_ratio with resize_only_if_bigger is our rule for sizes; sha256 and the X-Robots-Tag check are its defaults. Over
TLS it trusts the authorities in SSL_CERT_FILE.
"""

import sys

from clock import Clock
from img2dataset import download


def main(urls: str, output: str, short_side: str, quality: str, processes: str, threads: str) -> None:
    clock = Clock()
    clock.ready()
    download(
        url_list=urls,
        input_format="parquet",
        url_col="url",
        output_folder=output,
        output_format="parquet",
        image_size=int(short_side),
        resize_mode="keep_ratio",
        resize_only_if_bigger=True,
        encode_quality=int(quality),
        processes_count=int(processes),
        thread_count=int(threads),
        number_sample_per_shard=1000,
        extract_exif=False,
        enable_wandb=False,
    )
    clock.done()


if __name__ == "__main__":
    main(*sys.argv[1:])
