"""How the sandbox itself can fail. None of it says anything of the program that it was to run."""

from __future__ import annotations


class NotIsolated(Exception):
    """This machine refuses what isolation takes: says what was refused."""


class NotReady(Exception):
    """A zygote is isolated, but what it was to import beforehand cannot be imported: says why."""


class DidNotStart(Exception):
    """A zygote was too slow to start, was killed before it was ready, or there was no room for it.

    That says nothing about isolation: it may be tried again, and nothing may run without isolation because
    of it.
    """


class RunLost(Exception):
    """The sandbox failed during a run, so that there is no result: says how.

    Who died tells whose doing it is. The launcher and the zygote lie outside of a run's namespaces, where it
    can send no signal. Its first process, the judge if there is one, is process 1 of its PID namespace, which the
    kernel protects from the signals of those inside. So a run cannot end any of them by a signal. It can fill its control group's
    memory: then the kernel's counters say that the group came to its own bound, which is a verdict
    (``memory``), whoever was ended for it. The processes in which the program runs are within its reach: what
    ends them is the program's doing, unless a second run shows something else; see ``Sandbox``.

    Where there are no namespaces (``unsafe``) and no Landlock of ABI 6, which bounds signals too, code that
    runs as this very user can end anything of ours: such a run is lost each time, and no verdict comes of it
    either.
    """
