"""Loading a model without what its libraries say about themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

#: Asks on some CPUs for a package of kernels that are not used here, whenever it is imported.
_ASKS_FOR_KERNELS = "bitsandbytes.backends.cpu.ops"


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Import model libraries and load models in this block: no progress bar, which transformers draws even
    without a terminal, and no request to install kernels.
    """
    logging.getLogger(_ASKS_FOR_KERNELS).setLevel(logging.ERROR)
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
