"""What isolation this machine gives: by trying it, with the very code that the sandbox runs with."""

from __future__ import annotations

from collections.abc import Sequence

from .launching import Isolation, NotIsolated, Zygote

HOW_TO_ALLOW = (
    "allow user namespaces: sysctl user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); in a container, run it with a seccomp profile that "
    "lets it unshare and mount"
)


def start(packages: Sequence[str] = (), preload: Sequence[str] = (), *, unsafe: bool = False) -> Zygote:
    """A zygote with the best isolation there is. Raises NotIsolated, with the reasons and the ways out."""
    try:
        return Zygote("namespaces", packages, preload)
    except NotIsolated as refused:
        if unsafe:
            return Zygote("unsafe", packages, preload)
        raise NotIsolated(
            f"generated code cannot be isolated on this machine ({refused}); {HOW_TO_ALLOW}; "
            "or ask for it to run without isolation: `sandbox: {unsafe: true}`"
        ) from None


def examine() -> Isolation | str:
    """The isolation that runs get here, or why there is none."""
    try:
        zygote = Zygote("namespaces")
    except NotIsolated as refused:
        return str(refused)
    try:
        return zygote.isolation
    finally:
        zygote.close()
