"""Failures of the sandbox itself. None of them is a verdict on the program."""

from __future__ import annotations


class NotIsolated(Exception):
    """This machine refuses a step that isolation needs. The text names it."""


class NotReady(Exception):
    """A zygote is isolated but cannot import a module of ``preload``. The text says why."""


class DidNotStart(Exception):
    """A zygote was too slow to start, was killed before it was ready, or lacked a resource such as memory.

    This does not mean that isolation is missing. The start may be tried again. It is never a reason to run
    code without isolation.
    """


class RunLost(Exception):
    """The sandbox failed during a run, so there is no result. The text says how.

    The process that died shows whether the program caused it. The launcher and the zygote are outside the
    run's namespaces, where the run cannot send signals. The run's first process (the judge, if there is one)
    is process 1 of its PID namespace, which the kernel protects from signals of processes inside. So a run
    cannot end any of these by a signal.

    A run can exhaust the memory of its control group. The kernel's counters then show that the group reached
    its own limit. That is a verdict (``memory``), whichever process the kernel killed. The program can also
    end the processes in which it runs. Their end counts as caused by the program, unless a second run shows
    otherwise; see ``Sandbox``.

    Without namespaces (``unsafe``) and without Landlock ABI 6, which also restricts signals, code that runs
    as this user can end any process of the sandbox. Such a run is lost each time, and there is no verdict on
    it.
    """
