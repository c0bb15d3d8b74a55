"""What isolation this machine gives: by trying it, with the very code that the sandbox runs with."""

from __future__ import annotations

from collections.abc import Sequence

from .bubblewrap import BubblewrapCalls
from .launching import Isolation, NotIsolated, Zygote

HOW_TO_ALLOW = (
    "allow user namespaces: sysctl user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); or install bubblewrap, which may be allowed what others "
    "are not; in a container, run it with a seccomp profile that lets it unshare and mount"
)


def start(
    packages: Sequence[str] = (), preload: Sequence[str] = (), *, unsafe: bool = False
) -> Zygote | BubblewrapCalls:
    """The best isolation there is: our own namespaces, which are warm; else bubblewrap, a call a run.

    Raises NotIsolated, with the reasons, where there is none and ``unsafe`` is not asked for; and NotReady.
    """
    try:
        return Zygote("namespaces", packages, preload)
    except NotIsolated as refused:
        reasons = [str(refused)]
    try:
        return BubblewrapCalls(packages, preload)
    except NotIsolated as refused:
        reasons.append(str(refused))
    if unsafe:
        return Zygote("unsafe", packages, preload)
    raise NotIsolated("; ".join(reasons))


def examine() -> Isolation | str:
    """The isolation that runs get here, or why there is none."""
    try:
        zygote = start()
    except NotIsolated as refused:
        return str(refused)
    try:
        return zygote.isolation
    finally:
        zygote.close()
